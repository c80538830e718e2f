{{/* Whether Helm renders with access to a cluster. Offline, Helm knows groups and versions but no kinds. */}}
{{- define "scoretap.online" -}}
{{- if .Capabilities.APIVersions.Has "v1/Pod" }}true{{ end }}
{{- end }}

{{/* How pods get the sidecar. The kind decides rather than the version: a cluster may emulate an earlier one. */}}
{{- define "scoretap.mode" -}}
{{- $policies := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}
{{- if .Values.mode }}
  {{- if and (eq .Values.mode "policy") (include "scoretap.online" .) (not $policies) }}
    {{- fail (printf "mode: policy needs Kubernetes 1.36 or later, and the cluster (%s) has no MutatingAdmissionPolicy v1; use mode=webhook" .Capabilities.KubeVersion.Version) }}
  {{- end }}
  {{- .Values.mode }}
{{- else if include "scoretap.online" . }}
  {{- ternary "policy" "webhook" $policies }}
{{- else }}
  {{- fail "mode: no cluster is asked, so its version is unknown; use mode=policy (Kubernetes 1.36 and later), mode=webhook or mode=none" }}
{{- end }}
{{- end }}

{{/* One of our images: `include "scoretap.image" (list . "exporter")`. */}}
{{- define "scoretap.image" -}}
{{- $root := index . 0 }}
{{- $image := index $root.Values.images (index . 1) }}
{{- with $root.Values.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.name }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "scoretap.envoyImage" -}}{{ .Values.images.envoy }}{{- end }}
{{- define "scoretap.exporterImage" -}}{{ include "scoretap.image" (list . "exporter") }}{{- end }}

{{/* Labels of every object. */}}
{{- define "scoretap.labels" -}}
app.kubernetes.io/part-of: scoretap
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels by which kube-prometheus-stack selects objects. */}}
{{- define "scoretap.selectedLabels" -}}
{{ include "scoretap.labels" . }}
{{- with .Values.monitoring.prometheusRelease }}
release: {{ . }}
{{- end }}
{{- end }}

{{/* Whether the monitoring namespace can take objects: it exists, or Helm cannot know. */}}
{{- define "scoretap.monitoring" -}}
{{- $name := .Values.monitoring.namespace }}
{{- if or (not (include "scoretap.online" .)) (eq $name .Release.Namespace) (lookup "v1" "Namespace" "" $name) (not (lookup "v1" "Namespace" "" "kube-system")) }}true{{ end }}
{{- end }}

{{/* Whether the cluster knows a kind of the prometheus-operator: `include "scoretap.knows" (list . "v1/PodMonitor")`. */}}
{{- define "scoretap.knows" -}}
{{- $root := index . 0 }}
{{- if $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/%s" (index . 1)) }}true{{ end }}
{{- end }}
