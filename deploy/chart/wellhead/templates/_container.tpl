{{/* Parts of the agent's container. */}}

{{- define "wellhead.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
# For values that refer to it, such as http://$(HOST_IP):4318.
- name: HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
# The pod's own address; with the host's network the node's.
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: WELLHEAD_PROMETHEUS_LISTEN
  value: {{ printf "%s:%v" (ternary "[$(POD_IP)]" "$(POD_IP)" .Values.metrics.ipv6) .Values.metrics.port | quote }}
- name: WELLHEAD_RUNTIME_DIRECTORY
  value: /run/wellhead
# Rather than an argument: so `kubectl exec` of doctor, events and config has it, too.
- name: WELLHEAD_CONFIG
  value: /etc/wellhead/wellhead.yaml
{{- if not .Values.mounts.bpffs }}
- name: WELLHEAD_PINS_KEEP
  value: "off"
{{- end }}
{{- with .Values.otlp }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol }}
{{- end }}
{{- if .headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name }}
      key: {{ .headersSecret.key }}
{{- end }}
{{- if .caSecret.name }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/wellhead-otlp/ca.crt
{{- end }}
{{- if .clientSecret.name }}
- name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
  value: /etc/wellhead-otlp-client/tls.crt
- name: OTEL_EXPORTER_OTLP_CLIENT_KEY
  value: /etc/wellhead-otlp-client/tls.key
{{- end }}
{{- end }}
{{- with include "wellhead.metricsEnv" . | trim }}
{{ . }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wellhead.securityContext" -}}
# Files of the kernel's are root's. What root may do beyond reading them is up to the capabilities.
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
{{- if .Values.privileged }}
privileged: true
{{- else }}
privileged: false
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add:
    {{- include "wellhead.capabilities" . | nindent 4 }}
seccompProfile:
  {{- toYaml .Values.seccompProfile | nindent 2 }}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
appArmorProfile:
  type: {{ .Values.appArmorProfile }}
{{- end }}
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The ports of all endpoints that telemetry goes to, as a JSON list. The value `otlp.endpoint` wins over the configuration's. */}}
{{- define "wellhead.otlpPorts" -}}
{{- $otlp := dig "otlp" dict .Values.config -}}
{{- $endpoints := list (default (dig "endpoint" "" $otlp) .Values.otlp.endpoint) -}}
{{- range list "metrics" "traces" "logs" -}}
{{- $endpoints = append $endpoints (dig . "endpoint" "" $otlp) -}}
{{- end -}}
{{- range .Values.env -}}
{{- if and (regexMatch "^(OTEL_EXPORTER|WELLHEAD)_OTLP_([A-Z]+_)?ENDPOINT$" .name) .value -}}
{{- $endpoints = append $endpoints .value -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range compact $endpoints -}}
{{- $ports = append $ports (include "wellhead.port" . | int) -}}
{{- end -}}
{{- toJson ($ports | uniq) -}}
{{- end -}}

{{/* The port of a URL, or of its scheme. */}}
{{- define "wellhead.port" -}}
{{- $port := regexFind ":[0-9]+([/?]|$)" . | trimPrefix ":" | trimSuffix "/" | trimSuffix "?" -}}
{{- if $port -}}
{{- $port -}}
{{- else if hasPrefix "https://" . -}}
443
{{- else if hasPrefix "http://" . -}}
80
{{- else -}}
4317
{{- end -}}
{{- end -}}
