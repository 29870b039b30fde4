{{/* The configuration's sizes and durations as numbers, to derive what Kubernetes has to allow. */}}

{{/* Bytes of a size such as 128MiB. Numbers may be floating point ones on their way here. */}}
{{- define "wellhead.bytes" -}}
{{- $text := ternary (. | int64) . (kindIs "float64" .) | toString -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $units := dict "" 1 "B" 1 "kB" 1000 "MB" 1000000 "GB" 1000000000 "TB" 1000000000000 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 "TiB" 1099511627776 -}}
{{- mul $number (get $units (regexFind "[a-zA-Z]*$" $text)) -}}
{{- end -}}

{{/* Seconds of a duration such as 1m30s, rounded up to whole ones. */}}
{{- define "wellhead.seconds" -}}
{{- $units := dict "d" 86400000000 "h" 3600000000 "m" 60000000 "s" 1000000 "ms" 1000 "us" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" (. | toString) -1 -}}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- div (add $sum 999999) 1000000 -}}
{{- end -}}

{{/*
Resources of the agent. Kernel maps and rings are charged to the container as well, and pages of the program too: the limit is
half as much again as `memory_budget`, and 64 MiB. A limit of the user's own has to leave some of that room.
*/}}
{{- define "wellhead.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- $budget := include "wellhead.bytes" (dig "memory_budget" "128MiB" .Values.config) | int64 -}}
{{- $mebibytes := div (add $budget 1048575) 1048576 -}}
{{- $limit := dig "limits" "memory" "" $resources | toString -}}
{{- if $limit -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $bytes := mul (regexFind "^[0-9]+" $limit | int64) (get $units (regexFind "[a-zA-Z]*$" $limit)) -}}
{{- if lt $bytes (div (mul $budget 5) 4) -}}
{{- fail (printf "resources.limits.memory: %s is too little for config.memory_budget: kernel maps are charged to the container too, so at least %dMi is needed. Leave it out to have it derived" $limit (div (mul $mebibytes 5) 4)) -}}
{{- end -}}
{{- end -}}
{{- $derived := dict "requests" (dict "memory" (printf "%dMi" $mebibytes)) "limits" (dict "memory" (printf "%dMi" (add $mebibytes (div $mebibytes 2) 64))) -}}
{{- toYaml (merge $resources $derived) -}}
{{- end -}}

{{/* A moment above `shutdown_grace`, in which the last export is sent. */}}
{{- define "wellhead.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add (include "wellhead.seconds" (dig "shutdown_grace" "5s" .Values.config)) 10 -}}
{{- else -}}
{{- .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}
