{{/* What nodes and the migration have in common. */}}

{{/* A secret's key as a variable. */}}
{{- define "freshet.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}

{{/*
The URLs from their Secrets, and the [[database]] entries that name them: the kubelet puts the one into the other, so that
neither a manifest nor the ConfigMap shows a URL. TOML's '...' takes every character but the quote as it is.
*/}}
{{- define "freshet.databases" -}}
{{- $entries := list }}
{{- range $at, $database := .Values.databases }}
{{- $own := dict }}
{{- if $.migrates }}{{ $own = $database.migration | default dict }}{{ end }}
{{- $url := printf "DATABASE_%d_URL" $at }}
{{ include "freshet.secret" (dict "name" $url "secret" ($own.existingSecret | default $database.existingSecret) "key" ($own.urlKey | default $database.urlKey | default "url")) }}
{{- $keys := list (printf "url = '$(%s)'" $url) }}
{{- if or (gt (len $.Values.databases) 1) $database.name }}
{{- $keys = append $keys (printf "name = %s" ($database.name | quote)) }}
{{- end }}
{{- if $database.shards }}{{ $keys = append $keys (printf "shards = %s" ($database.shards | quote)) }}{{ end }}
{{- if not $.migrates }}
{{- $replicas := list }}
{{- range $place, $key := $database.replicaKeys }}
{{- $name := printf "DATABASE_%d_REPLICA_%d" $at $place }}
{{ include "freshet.secret" (dict "name" $name "secret" $database.existingSecret "key" $key) }}
{{- $replicas = append $replicas (printf "'$(%s)'" $name) }}
{{- end }}
{{- if $replicas }}{{ $keys = append $keys (printf "replicas = [%s]" (join ", " $replicas)) }}{{ end }}
{{- end }}
{{- range $key, $value := $database.settings }}{{ $keys = append $keys (printf "%s = %s" $key (toJson $value)) }}{{ end }}
{{- $entries = append $entries (printf "{%s}" (join ", " $keys)) }}
{{- end }}
{{- if $entries }}
- name: FRESHET__DATABASE
  value: {{ printf "[%s]" (join ", " $entries) | quote }}
{{- end }}
{{- end }}

{{- define "freshet.redis" -}}
{{- with .Values.redis }}
{{- if .existingSecret }}
{{ include "freshet.secret" (dict "name" "REDIS_URL" "secret" .existingSecret "key" .urlKey) }}
- name: FRESHET__REDIS__URLS
  value: "['$(REDIS_URL)']"
{{- if .passwordKey }}
{{ include "freshet.secret" (dict "name" "REDIS_PASSWORD" "secret" .existingSecret "key" .passwordKey) }}
- name: FRESHET__REDIS__PASSWORD
  value: "'''$(REDIS_PASSWORD)'''"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "freshet.container" -}}
image: {{ include "freshet.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{- define "freshet.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
# A Service named freshet would put FRESHET_... variables into each pod.
enableServiceLinks: false
automountServiceAccountToken: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
