{{/* Names that no pod may export: what rules record, and what they read from elsewhere. Recorded names have a colon, and
     so have those of the dialects `vllm` and `tf-serving` (`:tensorflow:…`), which no rule records. */}}
{{- define "scoretap.reserved" -}}
([^v:]|v[^l]).*:.*|ALERTS|ALERTS_FOR_STATE|up|scrape_samples_scraped|kube_.*|container_.*|apiserver_.*|scoretap_.*_limit(_.*)?|scoretap_slo_.*|scoretap_injector_.*
{{- end }}

{{/* The names of the rule files that are loaded. `thresholds` is rendered from values, the others are files. */}}
{{- define "scoretap.ruleFiles" -}}
{{- $rules := .Values.monitoring.rules }}
{{- $files := list "thresholds" "recording" "slo" "scoretap" "canary" }}
{{- if ne $rules.names "familiar" }}{{ $files = concat $files (list "calls" "kubernetes") }}{{ end }}
{{- if ne $rules.names "scoretap" }}{{ $files = concat $files (list "familiar-names" "mlflow") }}{{ end }}
{{- if $rules.pods }}{{ $files = append $files "pods" }}{{ end }}
{{- if $rules.insight }}{{ $files = append $files "insight" }}{{ end }}
{{- if $rules.optional }}{{ $files = append $files "optional" }}{{ end }}
{{- toJson $files }}
{{- end }}

{{/* One rule file: `include "scoretap.rules" (list . "calls")`. */}}
{{- define "scoretap.rules" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- if eq $name "thresholds" }}
{{- include "scoretap.thresholds" $root }}
{{- else }}
{{- $text := $root.Files.Get (printf "files/rules/%s.yaml" $name) | replace "scoretap-system" $root.Release.Namespace }}
{{- $links := list (list "runbook_url" "https://runbooks.example.com/scoretap/runbooks.md" $root.Values.monitoring.runbookUrl) (list "dashboard_url" "https://grafana.example.com" $root.Values.monitoring.grafanaUrl) }}
{{- range $link := $links }}
  {{- if index $link 2 }}
    {{- $text = replace (index $link 1) (trimSuffix "/" (index $link 2)) $text }}
  {{- else }}
    {{- $text = regexReplaceAll (printf "(?m)^ *%s: .*\n" (index $link 0)) $text "" }}
  {{- end }}
{{- end }}
{{- trimSuffix "\n" $text }}
{{- end }}
{{- end }}

{{/* Thresholds as recorded series. */}}
{{- define "scoretap.thresholds" -}}
{{- $thresholds := .Values.monitoring.thresholds }}
# The limits of the alerts, rendered from `monitoring.thresholds`.
groups:
  - name: scoretap.thresholds
    interval: 30s
    rules:
      - record: scoretap_error_ratio_limit
        expr: vector({{ $thresholds.errorRatio }})
      - record: scoretap_latency_growth_limit
        expr: vector({{ $thresholds.latencyGrowth }})
      - record: scoretap_timeout_ratio_limit
        expr: vector({{ $thresholds.timeoutRatio }})
      - record: scoretap_unavailable_ratio_limit
        expr: vector({{ $thresholds.unavailableRatio }})
      - record: scoretap_cancelled_ratio_limit
        expr: vector({{ $thresholds.cancelledRatio }})
      - record: scoretap_capacity_ratio_limit
        expr: vector({{ $thresholds.capacityRatio }})
      - record: scoretap_restarts_limit
        expr: vector({{ $thresholds.restarts }})
      - record: scoretap_cpu_ratio_limit
        expr: vector({{ $thresholds.cpuRatio }})
      - record: scoretap_memory_ratio_limit
        expr: vector({{ $thresholds.memoryRatio }})
      - record: scoretap_unseen_ratio_limit
        expr: vector({{ $thresholds.unseenRatio }})
      - record: scoretap_canary_difference_limit
        expr: vector({{ $thresholds.canary.difference }})
      - record: scoretap_canary_z_limit
        expr: vector({{ $thresholds.canary.z }})
  # Limits that a namespace, model or route can have of its own. recording.yaml picks the most specific.
  - name: scoretap.limits
    interval: 30s
    rules:
      {{- include "scoretap.limits" (list dict (dict "latencySeconds" $thresholds.latencySeconds "slo" (omit $thresholds.slo "llmLatencyBound") "podCalls" $thresholds.podCalls)) | nindent 6 }}
      {{- range $route := list "openai" "triton-generate" }}
      {{- include "scoretap.limits" (list (dict "route" $route) (dict "latencySeconds" $thresholds.llmLatencySeconds "slo" (dict "latencyBound" $thresholds.slo.llmLatencyBound))) | nindent 6 }}
      {{- end }}
      {{- range .Values.tenants }}
      {{- if .podCalls }}
      {{- include "scoretap.limits" (list (dict "namespace" .name) (dict "podCalls" .podCalls)) | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- range .Values.monitoring.limits }}
      {{- $labels := dict "namespace" .namespace }}
      {{- with .model }}{{ $labels = set $labels "model_name" . }}{{ end }}
      {{- with .route }}{{ $labels = set $labels "route" . }}{{ end }}
      {{- include "scoretap.limits" (list $labels .) | nindent 6 }}
      {{- end }}
  - name: scoretap.certificate
    interval: 30s
    rules:
      - record: scoretap_certificate_days_limit
        expr: vector({{ $thresholds.certificateDays }})
      {{- if and (eq (include "scoretap.mode" .) "webhook") (eq .Values.injector.tls.mode "helm") }}
      - record: scoretap_injector_certificate_end_seconds
        labels: {namespace: {{ .Release.Namespace }}}
        expr: vector({{ toDate "2006-01-02T15:04:05Z07:00" (include "scoretap.tls" . | fromYaml).end | unixEpoch }})
      {{- end }}
{{- end }}

{{/* The limits of calls with these labels: `include "scoretap.limits" (list LABELS LIMITS)`. */}}
{{- define "scoretap.limits" -}}
{{- $labels := index . 0 }}
{{- $limits := index . 1 }}
{{- range $severity, $seconds := $limits.latencySeconds }}
- record: scoretap_latency_limit_seconds
  labels: {{ merge (dict "severity" $severity) $labels | toJson }}
  expr: vector({{ $seconds }})
{{- end }}
{{- with $limits.podCalls }}
- record: scoretap_pod_calls_limit
  {{- if $labels }}
  labels: {{ toJson $labels }}
  {{- end }}
  expr: vector({{ . }})
{{- end }}
{{- range $slo := list "availability" "latency" }}
{{- with index ($limits.slo | default dict) $slo }}
- record: scoretap_slo_objective
  labels: {{ merge (dict "slo" $slo) $labels | toJson }}
  expr: vector({{ . }})
{{- end }}
{{- end }}
{{- with ($limits.slo | default dict).latencyBound }}
# The histogram's bound that the latency objective counts up to.
- record: scoretap_slo_latency_bound
  labels: {{ merge (dict "le" .) $labels | toJson }}
  expr: vector(1)
{{- end }}
{{- end }}
