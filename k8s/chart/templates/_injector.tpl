{{/* The injector's settings: what it puts into pods. `runAsUser: null` leaves the user to the platform. */}}
{{- define "scoretap.settings" -}}
envoyImage: {{ include "scoretap.envoyImage" . }}
exporterImage: {{ include "scoretap.exporterImage" . }}
runAsUser: {{ with .Values.sidecar.runAsUser }}{{ int64 . }}{{ else }}null{{ end }}
{{- with .Values.imagePullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
resources:
  {{- range $container, $resources := .Values.sidecar.resources }}
  {{- $limits := $resources.limits | default dict }}
  {{ $container }}:
    requests: {{ toJson $resources.requests }}
    {{- /* Written out, because the injector reads a missing limit as its own default. */}}
    limits: {cpu: {{ $limits.cpu | default "none" | quote }}, memory: {{ $limits.memory | default "none" | quote }}}
  {{- end }}
{{- end }}

{{/* The peers of a NetworkPolicy that may read metrics. */}}
{{- define "scoretap.readers" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .Values.monitoring.namespace }}}
{{- if .Values.azure.monitors }}
# Azure's agent.
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: kube-system}
  podSelector:
    matchLabels: {rsName: ama-metrics}
{{- end }}
{{- end }}

{{/*
The webhook's certificate as YAML: `caBundle` (base64) for the API server and, where Helm makes it, `certificate`, `key`,
`end`, `caCertificate`, `caKey`. It is made once for each rendering: a second call would sign another one.
*/}}
{{- define "scoretap.tls" -}}
{{- $tls := .Values.injector.tls }}
{{- if not (hasKey .Release "scoretapTls") }}
  {{- $made := dict }}
  {{- if eq $tls.mode "helm" }}
    {{- $made = include "scoretap.helmCertificate" . | fromYaml }}
  {{- else if eq $tls.mode "secret" }}
    {{- $found := (lookup "v1" "Secret" .Release.Namespace $tls.secretName) | default dict }}
    {{- $bundle := ternary (b64enc $tls.caBundle) (index ($found.data | default dict) "ca.crt") (ne $tls.caBundle "") }}
    {{- if not $bundle }}
      {{- fail (printf "injector.tls: the Secret %s/%s has no ca.crt; set injector.tls.caBundle to the PEM certificate of its authority" .Release.Namespace $tls.secretName) }}
    {{- end }}
    {{- $_ := set $made "caBundle" $bundle }}
  {{- end }}
  {{- $_ := set .Release "scoretapTls" $made }}
{{- end }}
{{- toYaml .Release.scoretapTls }}
{{- end }}

{{/* The certificate in the cluster while it lasts; in its last third another one, signed by the same authority. */}}
{{- define "scoretap.helmCertificate" -}}
{{- if not (lookup "v1" "Namespace" "" "kube-system") }}
  {{- fail "injector.tls.mode: helm keeps the certificate in the cluster, and no cluster is asked; use cert-manager or secret" }}
{{- end }}
{{- $name := printf "scoretap-injector.%s.svc" .Release.Namespace }}
{{- $days := int .Values.injector.tls.days }}
{{- $authority := (lookup "v1" "Secret" .Release.Namespace "scoretap-ca") | default dict }}
{{- $old := (lookup "v1" "Secret" .Release.Namespace .Values.injector.tls.secretName) | default dict }}
{{- $end := dig "metadata" "annotations" "scoretap.dev/certificate-end" "" $old }}
{{- $ca := dict }}
{{- if $authority.data }}
  {{- $ca = buildCustomCert (index $authority.data "tls.crt") (index $authority.data "tls.key") }}
{{- else }}
  {{- $ca = genCA "scoretap-ca" 3650 }}
{{- end }}
{{- $left := 0 }}
{{- if and $authority.data $end }}
  {{- $left = sub (toDate "2006-01-02T15:04:05Z07:00" $end | unixEpoch | int64) (now | unixEpoch | int64) }}
{{- end }}
{{- if gt (mul $left 3) (mul $days 86400) }}
certificate: {{ index $old.data "tls.crt" }}
key: {{ index $old.data "tls.key" }}
end: {{ $end | quote }}
{{- else }}
  {{- $new := genSignedCert $name nil (list $name) $days $ca }}
certificate: {{ b64enc $new.Cert }}
key: {{ b64enc $new.Key }}
end: {{ dateInZone "2006-01-02T15:04:05Z07:00" (now | mustDateModify (printf "+%dh" (mul $days 24))) "UTC" | quote }}
{{- end }}
caBundle: {{ b64enc $ca.Cert }}
caKey: {{ b64enc $ca.Key }}
{{- end }}
