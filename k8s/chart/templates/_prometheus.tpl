{{/* Configuration of a Prometheus without the operator. Targets get the labels that the operator's monitors give. */}}
{{- define "scoretap.prometheus" -}}
global:
  scrape_interval: 30s
  scrape_timeout: 10s
  evaluation_interval: 30s

rule_files:
  {{- range $name := include "scoretap.ruleFiles" . | fromJsonArray }}
  - /etc/prometheus/{{ $name }}.yaml
  {{- end }}

alerting:
  alertmanagers:
    - static_configs:
        - targets: [alertmanager.{{ .Values.monitoring.namespace }}.svc:9093]

scrape_configs:
  # Injected pods, and pods with the exporter beside Istio's proxy.
  - job_name: scoretap
    scrape_interval: 15s
    scrape_timeout: 5s
    # Kubernetes sets the labels of the target. A label of that name in the scraped text becomes `exported_…`.
    honor_labels: false
    sample_limit: 125000
    label_limit: 40
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_scoretap_dev_injected]
        regex: "true"
        action: keep
      - source_labels: [__meta_kubernetes_pod_container_port_name]
        regex: scoretap-stats
        action: keep
      {{- include "scoretap.podLabels" . | nindent 6 }}
    {{- include "scoretap.dropReserved" . | nindent 4 }}

  # Other pods with the annotations prometheus.io/scrape "true", …/port and …/path, such as an MLflow server. The job is the
  # pod's label app.kubernetes.io/name.
  - job_name: annotated
    sample_limit: 125000
    label_limit: 40
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        regex: "true"
        action: keep
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        regex: (.+)
        target_label: __metrics_path__
      - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: (.+);(\d+)
        replacement: $1:$2
        target_label: __address__
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name]
        regex: (.+)
        target_label: job
      # A tenant chooses this name, and the rules treat every job named `scoretap…` as exporters.
      - source_labels: [job]
        regex: scoretap.*
        replacement: annotated
        target_label: job
      {{- include "scoretap.podLabels" . | nindent 6 }}
    {{- include "scoretap.dropReserved" . | nindent 4 }}

  # The series of kube-state-metrics are about other pods, so they keep their labels.
  - job_name: kube-state-metrics
    honor_labels: true
    static_configs:
      - targets: [kube-state-metrics.kube-system.svc:8080]

  - job_name: cadvisor
    scheme: https
    metrics_path: /metrics/cadvisor
    honor_timestamps: false
    authorization:
      credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token
    tls_config:
      # As in kube-prometheus: most kubelets sign their own certificates (kubeadm's default), and Prometheus scrapes them by
      # address. If your kubelets have `serverTLSBootstrap`, write instead
      #   ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
      # Do not scrape through the API server's proxy: it needs the right nodes/proxy, which grants everything that a kubelet can do.
      insecure_skip_verify: true
    kubernetes_sd_configs:
      - role: node
    relabel_configs:
      - source_labels: [__meta_kubernetes_node_name]
        target_label: node
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: container_cpu_usage_seconds_total|container_memory_working_set_bytes
        action: keep

  # Webhooks that did not answer the API server.
  - job_name: apiserver
    scheme: https
    authorization:
      credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token
    tls_config:
      ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    static_configs:
      - targets: [kubernetes.default.svc:443]
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: apiserver_admission_webhook_fail_open_count
        action: keep
{{- end }}

{{/* Labels of a pod's series. */}}
{{- define "scoretap.podLabels" -}}
# Drops finished pods, which would look as if they were down.
- source_labels: [__meta_kubernetes_pod_phase]
  regex: Succeeded|Failed
  action: drop
- source_labels: [__meta_kubernetes_namespace]
  target_label: namespace
- source_labels: [__meta_kubernetes_namespace]
  target_label: tenant
- source_labels: [__meta_kubernetes_pod_name]
  target_label: pod
- source_labels: [__meta_kubernetes_pod_node_name]
  target_label: node
{{- end }}

{{- define "scoretap.dropReserved" -}}
# Drops what rules record and what they read from elsewhere. Such a series from a pod would be a duplicate, and a rule that
# finds a duplicate fails for every tenant.
metric_relabel_configs:
  - source_labels: [__name__]
    regex: '{{ include "scoretap.reserved" . }}'
    action: drop
{{- end }}
