{{/* Prefix of all names. */}}
{{- define "turnpike.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "turnpike" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-turnpike" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of all objects. */}}
{{- define "turnpike.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: turnpike
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Labels that select the pods of a component: (dict "root" . "component" "operator"). */}}
{{- define "turnpike.selector" -}}
app.kubernetes.io/name: turnpike
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Image of a component: (dict "root" . "image" .Values.operator.image). */}}
{{- define "turnpike.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{/* What the Pod Security Standard "restricted" asks of a pod. */}}
{{- define "turnpike.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What it asks of a container, and a root that cannot be written. */}}
{{- define "turnpike.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}


{{/* turnpike.yaml: what the chart decides, and the rest as the values say. */}}
{{- define "turnpike.proxyConfig" -}}
{{- range $field := list "listen" "admin" "audit" -}}
{{- if hasKey $.Values.proxy.config $field -}}
{{- fail (printf "proxy.config.%s: the chart writes it; set proxy.port, proxy.adminPort and proxy.audit instead" $field) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (.Values.proxy.config.tls | default dict) "caDir" -}}
{{- fail "proxy.config.tls.caDir: the chart writes it; set proxy.issuingCaSecret instead" -}}
{{- end -}}
{{- $audit := dict "dir" "/var/lib/turnpike" "spoolMib" (int .Values.proxy.audit.spoolMib) "sink" "Local" -}}
{{- with .Values.proxy.audit.topic -}}
{{- $audit = merge (dict "sink" "PubSub" "topic" .) $audit -}}
{{- end -}}
{{- $own := dict
      "listen" (printf "0.0.0.0:%d" (int .Values.proxy.port))
      "admin" (printf "0.0.0.0:%d" (int .Values.proxy.adminPort))
      "tls" (dict "caDir" "/etc/turnpike/ca")
      "audit" $audit -}}
{{- mergeOverwrite (deepCopy .Values.proxy.config) $own | toYaml -}}
{{- end -}}
