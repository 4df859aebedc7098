{{- define "freshet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "freshet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "freshet.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "freshet.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "freshet.selector" -}}
app.kubernetes.io/name: {{ include "freshet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "freshet.nodes" -}}
{{ include "freshet.selector" . }}
app.kubernetes.io/component: node
{{- end }}

{{- define "freshet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "freshet.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "freshet.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "freshet.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "freshet.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* What the node's own drain may take: the limits of its phases (docs/operations.md, "Drain"), in seconds. */}}
{{- define "freshet.drainSeconds" -}}
{{- $clients := 5 }}{{ $phase := 10 }}
{{- /* clients, requests, last clients, writes and store, tasks, operations listener */}}
{{- add $clients $phase $clients $phase $phase $phase }}
{{- end }}

{{- define "freshet.graceSeconds" -}}
{{- add .Values.drain.preStopSeconds (include "freshet.drainSeconds" .) .Values.drain.marginSeconds }}
{{- end }}

{{/* The names in `Host` that nodes serve, as a TOML list: those of the Services, of ingress and gateway, and `hosts`. */}}
{{- define "freshet.hosts" -}}
{{- $names := list }}
{{- range $service := list (include "freshet.fullname" .) (printf "%s-operations" (include "freshet.fullname" .)) }}
{{- $long := printf "%s.%s.svc" $service $.Release.Namespace }}
{{- $names = concat $names (list $service (printf "%s.%s" $service $.Release.Namespace) $long (printf "%s.cluster.local" $long)) }}
{{- end }}
{{- if .Values.ingress.enabled }}{{ $names = concat $names .Values.ingress.hosts }}{{ end }}
{{- if .Values.gateway.enabled }}{{ $names = concat $names .Values.gateway.hostnames }}{{ end }}
{{- concat $names .Values.hosts | uniq | toJson }}
{{- end }}

{{/* Refuses values that cannot work, before anything is changed. */}}
{{- define "freshet.check" -}}
{{- $configured := regexMatch "(?m)^\\s*\\[\\[\\s*database\\s*\\]\\]" .Values.config }}
{{- if and (not .Values.databases) (not $configured) }}
{{- fail "no database is named: list it in `databases` with the Secret that holds its URL, or write [[database]] into `config`" }}
{{- end }}
{{- if and .Values.databases $configured }}
{{- fail "`databases` and [[database]] in `config` exclude each other: the former would silently replace the latter" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*(hosts|listen|operations)\\s*=" .Values.config }}
{{- fail "`config` sets gateway.hosts, listen or operations: the chart does; use `hosts` and `listenAddress`" }}
{{- end }}
{{- if regexMatch "://[^@/\\s\"']*:[^@/\\s\"']+@" .Values.config }}
{{- fail "`config` holds a URL with a password, and would stand in a ConfigMap: put it in a Secret, see `databases` and `redis`" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) }}
{{- fail "autoscaling.maxReplicas is below minReplicas" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.connections) (not .Values.autoscaling.cpu) }}
{{- fail "autoscaling has nothing to go by: set autoscaling.connections, autoscaling.cpu or both" }}
{{- end }}
{{- end }}
