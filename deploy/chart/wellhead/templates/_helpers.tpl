{{- define "wellhead.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "wellhead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "wellhead.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "wellhead.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wellhead.resolver.fullname" -}}
{{- printf "%s-resolver" (include "wellhead.fullname" .) -}}
{{- end -}}

{{/* Labels that say which release something is of; a workload's selector never changes. */}}
{{- define "wellhead.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wellhead.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wellhead.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "wellhead.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wellhead
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without the chart's version: a new chart that changes nothing about a pod leaves it alone. */}}
{{- define "wellhead.podLabels" -}}
{{ include "wellhead.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wellhead
{{- with merge (dict) .Values.podLabels .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wellhead.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "wellhead.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "wellhead.resolver.serviceAccountName" -}}
{{- with .Values.resolver.serviceAccount -}}
{{- if .create -}}
{{- default (include "wellhead.resolver.fullname" $) .name -}}
{{- else -}}
{{- default "default" .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "wellhead.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a switch of the configuration is on. An unquoted `on` has become a boolean on its way here. */}}
{{- define "wellhead.isOn" -}}
{{- if has (. | toString | lower) (list "on" "true") -}}true{{- end -}}
{{- end -}}

{{/* Whether the agent talks to the API server; "" or "true". */}}
{{- define "wellhead.asksKubernetes" -}}
{{- $mode := dig "kubernetes" "mode" "auto" .Values.config | toString -}}
{{- if not (has $mode (list "off" "false")) -}}true{{- end -}}
{{- end -}}

{{/* The configuration file: the values', and what other parts of the values ask of it. */}}
{{- define "wellhead.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.spill.enabled -}}
{{- $spill := dict "spill" (dict "directory" "/var/lib/wellhead/spill") -}}
{{- $config = merge $config (dict "otlp" $spill) -}}
{{- end -}}
{{- if .Values.resolver.enabled -}}
{{- $tls := .Values.resolver.tls -}}
{{- if and $tls.agentSecretName (not $tls.secretName) -}}
{{- fail "resolver.tls.agentSecretName needs resolver.tls.secretName" -}}
{{- end -}}
{{- $address := printf "%s://%s.%s.svc:%v" (ternary "https" "http" (ne $tls.secretName "")) (include "wellhead.resolver.fullname" .) .Release.Namespace .Values.resolver.port -}}
{{- $kubernetes := dict "resolver" $address -}}
{{- if $tls.secretName -}}
{{- $files := dict "ca_file" "/etc/wellhead-resolver/ca.crt" -}}
{{- if $tls.agentSecretName -}}
{{- $files = merge $files (dict "cert_file" "/etc/wellhead-agent/tls.crt" "key_file" "/etc/wellhead-agent/tls.key") -}}
{{- end -}}
{{- $kubernetes = merge $kubernetes (dict "resolver_tls" $files) -}}
{{- end -}}
{{- $config = merge $config (dict "kubernetes" $kubernetes) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What the kernel asks for, no more. `program_stats` alone takes CAP_SYS_ADMIN, programs at the root of the cgroup tree CAP_NET_ADMIN. */}}
{{- define "wellhead.capabilities" -}}
{{- $capabilities := concat (list "BPF" "PERFMON") .Values.extraCapabilities -}}
{{- $udp := include "wellhead.isOn" (dig "features" "udp" "on" .Values.config) -}}
{{- $dns := include "wellhead.isOn" (dig "features" "dns" "on" .Values.config) -}}
{{- if or $udp $dns -}}
{{- $capabilities = append $capabilities "NET_ADMIN" -}}
{{- end -}}
{{- if include "wellhead.isOn" (dig "program_stats" "off" .Values.config) -}}
{{- $capabilities = append $capabilities "SYS_ADMIN" -}}
{{- end -}}
{{- toYaml ($capabilities | uniq | sortAlpha) -}}
{{- end -}}
