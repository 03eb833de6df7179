{{- define "judged.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "judged.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "judged.labels" -}}
{{ include "judged.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "judged.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "judged.hasTokens" -}}
{{- if or .Values.tokens.secret .Values.tokens.list }}yes{{ end -}}
{{- end }}

{{- define "judged.tokensSecret" -}}
{{ .Values.tokens.secret | default (printf "%s-tokens" (include "judged.name" .)) }}
{{- end }}

{{/* As the daemon itself: beyond the loopback nobody unknown is let in, unless somebody says so. */}}
{{- define "judged.guarded" -}}
{{- if and .Values.tls.clientCertificates (not .Values.tls.secret) }}
{{- fail "tls.clientCertificates needs TLS: set tls.secret" }}
{{- end }}
{{- if and .Values.tokens.secret .Values.tokens.list }}
{{- fail "tokens.secret and tokens.list are both set: leave one of them out" }}
{{- end }}
{{- $guard := or .Values.tls.clientCertificates (include "judged.hasTokens" .) }}
{{- if not (or .Values.insecure (and .Values.tls.secret $guard)) }}
{{- fail "whoever reaches the pods could read and ask: set tls.secret, and tokens or tls.clientCertificates; or insecure=true if that is meant" }}
{{- end }}
{{- end }}

{{/* A probe by grpc.health.v1. The kubelet knows no TLS: then judged itself asks. */}}
{{- define "judged.probe" -}}
{{- if .root.Values.tls.secret -}}
exec:
  command: [judged, health, --addr, "https://localhost:50551", --service, {{ .service | quote }}]
{{- else -}}
grpc:
  port: 50551
  service: {{ .service | quote }}
{{- end }}
{{- end }}

{{/* Whether the process is alive, asked where operators ask: callers may hold every connection of
the other listener. */}}
{{- define "judged.alive" -}}
exec:
  command: [judged, health, --addr, "http{{ if .Values.tls.secret }}s{{ end }}://localhost:50552", --service, ""]
periodSeconds: 10
timeoutSeconds: 5
{{- end }}

{{- define "judged.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
