{{/* A monitor of exporters: of `namespace`, or of all but `tenants`. */}}
{{- define "scoretap.monitor" -}}
{{- $root := .root }}
{{- $monitoring := $root.Values.monitoring -}}
# No `jobLabel`: so the job is `monitoring/NAME of the monitor`, by which `ScoretapExporterDown` finds the targets. No label of
# a pod can change it.
apiVersion: {{ .api }}
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  namespace: {{ $monitoring.namespace }}
  labels:
    {{- include "scoretap.selectedLabels" $root | nindent 4 }}
spec:
  namespaceSelector: {{ ternary (dict "matchNames" (list .namespace)) (dict "any" true) (hasKey . "namespace") | toJson }}
  selector:
    {{- if eq .kind "ServiceMonitor" }}
    matchLabels: {scoretap.dev/metrics: "true"}
    {{- else }}
    matchLabels: {scoretap.dev/injected: "true"}
    {{- end }}
  # Limits what a tenant's pod can export. The filter's default of 200 models makes up to 118,000
  # samples, with every `extra`, 40 bounds, insight and a baseline. A test counts them.
  sampleLimit: 125000
  # Above this limit Prometheus scrapes no target of this monitor.
  targetLimit: {{ .targetLimit }}
  labelLimit: 40
  labelNameLengthLimit: 128
  labelValueLengthLimit: 512
  {{- if not .azure }}
  {{- if $monitoring.nativeHistograms }}
  # Native histograms exist in protobuf only. The rules read the classic ones.
  scrapeProtocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]
  scrapeNativeHistograms: true
  scrapeClassicHistograms: true
  nativeHistogramBucketLimit: 160
  {{- else }}
  scrapeProtocols: [OpenMetricsText1.0.0, PrometheusText0.0.4]
  {{- end }}
  {{- end }}
  {{ ternary "endpoints" "podMetricsEndpoints" (eq .kind "ServiceMonitor") }}:
  - port: scoretap-stats
    path: /metrics
    interval: 30s
    scrapeTimeout: 10s
    # The cluster sets the labels of the target. A label of that name in the scraped text becomes `exported_…`.
    honorLabels: false
    honorTimestamps: false
    relabelings:
    {{- if and .tenants (not (hasKey . "namespace")) }}
    # Tenants have monitors of their own.
    - {sourceLabels: [__meta_kubernetes_namespace], regex: {{ join "|" .tenants }}, action: drop}
    {{- end }}
    - {sourceLabels: [__meta_kubernetes_namespace], targetLabel: tenant, action: replace}
    - {sourceLabels: [__meta_kubernetes_pod_node_name], targetLabel: node, action: replace}
    metricRelabelings:
    # Drops what rules record and what they read from Kubernetes, the webhook and Prometheus. Such a series from a pod
    # would be a duplicate, and a rule that finds a duplicate fails for every tenant.
    - {sourceLabels: [__name__], regex: '{{ include "scoretap.reserved" $root }}', action: drop}
    - {regex: exported_(tenant|namespace|pod|container|node|job|instance), action: labeldrop}
{{- end }}
