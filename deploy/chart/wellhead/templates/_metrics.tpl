{{/* Parts of whoever serves metrics, agents and resolvers: who may read them. */}}

{{- define "wellhead.metricsEnv" -}}
{{- with .Values.metrics -}}
{{- if and .tls.clientCaSecret.name (not .tls.secretName) -}}
{{- fail "metrics.tls.clientCaSecret needs metrics.tls.secretName" -}}
{{- end -}}
{{- if .tls.secretName }}
- name: WELLHEAD_PROMETHEUS_TLS_CERT_FILE
  value: /etc/wellhead-metrics-tls/tls.crt
- name: WELLHEAD_PROMETHEUS_TLS_KEY_FILE
  value: /etc/wellhead-metrics-tls/tls.key
{{- end }}
{{- if .tls.clientCaSecret.name }}
- name: WELLHEAD_PROMETHEUS_TLS_CLIENT_CA_FILE
  value: /etc/wellhead-metrics-ca/ca.crt
{{- end }}
{{- if .tokenSecret.name }}
- name: WELLHEAD_PROMETHEUS_BEARER_TOKEN_FILE
  value: /etc/wellhead-metrics-token/token
{{- end }}
{{- end }}
{{- end -}}

{{- define "wellhead.metricsMounts" -}}
{{- with .Values.metrics }}
{{- if .tls.secretName }}
- name: metrics-tls
  mountPath: /etc/wellhead-metrics-tls
  readOnly: true
{{- end }}
{{- if .tls.clientCaSecret.name }}
- name: metrics-ca
  mountPath: /etc/wellhead-metrics-ca
  readOnly: true
{{- end }}
{{- if .tokenSecret.name }}
- name: metrics-token
  mountPath: /etc/wellhead-metrics-token
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "wellhead.metricsVolumes" -}}
{{- with .Values.metrics }}
{{- if .tls.secretName }}
- name: metrics-tls
  secret:
    secretName: {{ .tls.secretName }}
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- with .tls.clientCaSecret }}
{{- if .name }}
- name: metrics-ca
  secret:
    secretName: {{ .name }}
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .tokenSecret }}
{{- if .name }}
- name: metrics-token
  secret:
    secretName: {{ .name }}
    items:
      - key: {{ .key }}
        path: token
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What a probe asks, by its path. It needs neither a certificate nor a token. */}}
{{- define "wellhead.httpGet" -}}
{{- $values := index . 0 -}}
path: {{ index . 1 }}
port: metrics
{{- if $values.metrics.tls.secretName }}
scheme: HTTPS
{{- end }}
{{- end -}}
