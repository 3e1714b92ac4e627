{{- define "osqueue.name" -}}
{{- $name := default "osqueue" .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "osqueue.brokers" -}}{{ include "osqueue.name" . }}-brokers{{- end -}}
{{- define "osqueue.gateway" -}}{{ include "osqueue.name" . }}-gateway{{- end -}}

{{- define "osqueue.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "osqueue.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "osqueue.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "osqueue.selector" -}}
app.kubernetes.io/name: osqueue
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "osqueue.labels" -}}
{{ include "osqueue.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Where each broker is: what gateways are given, and what a leader tells others. */}}
{{- define "osqueue.addresses" -}}
{{- $addresses := list -}}
{{- range $number := until (int .Values.brokers.replicas) -}}
{{- $addresses = append $addresses (printf "%s://%s-%d.%s.%s.svc:8081" (ternary "grpcs" "grpc" (ne $.Values.brokers.tlsSecret "")) (include "osqueue.brokers" $) $number (include "osqueue.brokers" $) $.Release.Namespace) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}

{{- define "osqueue.token" -}}
- name: OSQUEUE_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.token.secret }}
      key: {{ .Values.token.key }}
{{- end -}}

{{- define "osqueue.settings" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "osqueue.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "osqueue.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* On machines and in zones of their own, as far as there are any. */}}
{{- define "osqueue.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "osqueue.selector" $.root | nindent 6 }}
      app.kubernetes.io/component: {{ $.component }}
{{- end }}
{{- end -}}
