{{/* Which alerts silence which, on the same model. */}}
{{- define "scoretap.inhibitions" -}}
# If the pods of a model are down, alerts that it is slow, fails or is not called add nothing.
- source: ScoretapModelServerDown|ScoretapPodNotReady|ScoretapPodCrashLooping
  target: ScoretapHighLatency|ScoretapLatencyCreeping|ScoretapTimeouts|ScoretapUpstreamUnavailable|ScoretapCallersGiveUp|ScoretapNoCalls
  equal: [namespace, model_name]
- source: ScoretapModelServerDown
  target: ScoretapPodNotReady|ScoretapPodCrashLooping|ScoretapPodRestarts
  equal: [namespace, model_name]
# The more severe of two alerts silences the other.
- source: ScoretapErrorBudgetFastBurn
  target: ScoretapErrorBudgetSlowBurn
  equal: [namespace, model_name, slo]
{{- end }}

{{/* A message's title and text, for Alertmanager's own templates. */}}
{{- define "scoretap.message" -}}
title: '{{ "{{ .CommonAnnotations.summary }}" }}'
text: '{{ "{{ range .Alerts }}{{ .Annotations.description }} {{ .Annotations.runbook_url }} {{ end }}" }}'
{{- end }}

{{/* Configuration of an Alertmanager without the operator. */}}
{{- define "scoretap.alertmanager" -}}
# Tenants receive alerts about their models and pods. The platform's team receives those about Scoretap itself and about
# all other namespaces.
route:
  receiver: platform-warning
  group_by: [alertname, namespace]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    # Alerts of the severity `info` are for dashboards only.
    - matchers: [severity="info"]
      receiver: nowhere
    - matchers: [component="scoretap"]
      receiver: platform-warning
      routes:
        - matchers: [severity="critical"]
          receiver: platform-critical
    {{- range .Values.tenants }}
    {{- if .receiver }}
    - matchers: [tenant={{ .name | quote }}]
      receiver: {{ .name }}-warning
      routes:
        - matchers: [severity="critical"]
          receiver: {{ .name }}-critical
    {{- end }}
    {{- end }}
    - matchers: [severity="critical"]
      receiver: platform-critical
inhibit_rules:
  {{- range $rule := include "scoretap.inhibitions" . | fromYamlArray }}
  - source_matchers: [alertname=~{{ $rule.source | quote }}]
    target_matchers:
      - alertname=~{{ $rule.target | quote }}
    equal: {{ toJson $rule.equal }}
  {{- end }}
# Addresses and keys are files of mounted Secrets, one folder for each receiver.
receivers:
  - name: nowhere
  {{- $receiver := .Values.monitoring.receiver }}
  {{- if not $receiver.channel }}{{ $receiver = dict "channel" "#ml-platform" "pager" true }}{{ end }}
  {{- $platform := dict "name" "platform" "receiver" $receiver }}
  {{- range $who := prepend .Values.tenants $platform }}
  {{- if $who.receiver }}
  {{- range $severity := list "critical" "warning" }}
  - name: {{ $who.name }}-{{ $severity }}
    {{- if and $who.receiver.pager (eq $severity "critical") }}
    pagerduty_configs:
      - routing_key_file: /etc/alertmanager/secrets/{{ $who.name }}/pager-key
    {{- end }}
    slack_configs:
      - api_url_file: /etc/alertmanager/secrets/{{ $who.name }}/chat-url
        channel: {{ $who.receiver.channel | quote }}
        send_resolved: true
        {{- include "scoretap.message" $ | nindent 8 }}
  {{- end }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* An AlertmanagerConfig: `include "scoretap.alertmanagerConfig" (list . NAMESPACE NAME RECEIVER)`. The operator lets
     it route alerts with the label `namespace: NAMESPACE` only. */}}
{{- define "scoretap.alertmanagerConfig" -}}
{{- $root := index . 0 }}
{{- $namespace := index . 1 }}
{{- $name := index . 2 }}
{{- $receiver := index . 3 }}
apiVersion: monitoring.coreos.com/v1alpha1
kind: AlertmanagerConfig
metadata:
  name: scoretap
  namespace: {{ $namespace }}
  labels:
    {{- include "scoretap.selectedLabels" $root | nindent 4 }}
spec:
  route:
    receiver: {{ $name }}-warning
    groupBy: [alertname, namespace]
    groupWait: 30s
    groupInterval: 5m
    repeatInterval: 4h
    routes:
    - {matchers: [{name: severity, value: info}], receiver: nowhere}
    - {matchers: [{name: severity, value: critical}], receiver: {{ $name }}-critical}
  inhibitRules:
  {{- range $rule := include "scoretap.inhibitions" $root | fromYamlArray }}
  - sourceMatch: [{name: alertname, matchType: "=~", value: {{ $rule.source | quote }}}]
    targetMatch: [{name: alertname, matchType: "=~", value: {{ $rule.target | quote }}}]
    equal: {{ toJson $rule.equal }}
  {{- end }}
  receivers:
  - name: nowhere
  {{- range $severity := list "critical" "warning" }}
  - name: {{ $name }}-{{ $severity }}
    {{- if and $receiver.pager (eq $severity "critical") }}
    pagerdutyConfigs:
    - routingKey: {name: scoretap-alerts, key: pager-key}
    {{- end }}
    slackConfigs:
    - apiURL: {name: scoretap-alerts, key: chat-url}
      channel: {{ $receiver.channel | quote }}
      sendResolved: true
      {{- include "scoretap.message" $root | nindent 6 }}
  {{- end }}
{{- end }}
