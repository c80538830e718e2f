{{/* The filter, as TrafficExtension and WasmPlugin name it. */}}
{{- define "scoretap.istioFilter" -}}
{{- $plugin := eq .Values.istio.kind "wasmPlugin" -}}
phase: STATS
{{- if not $plugin }}
wasm:
{{- end }}
{{- include "scoretap.istioModule" . | nindent (ternary 0 2 $plugin) }}
{{- end }}

{{- define "scoretap.istioModule" -}}
url: oci://{{ include "scoretap.image" (list . "filter") }}
imagePullPolicy: IfNotPresent
pluginName: scoretap
pluginConfig: {}
# Any other strategy denies all traffic when the filter cannot be fetched.
failStrategy: FAIL_OPEN
type: HTTP
{{- end }}

{{/* The patch of an EnvoyFilter that adds the filter as an access logger. */}}
{{- define "scoretap.istioLogger" -}}
- applyTo: NETWORK_FILTER
  match:
    # Calls to the pod, not from it.
    context: SIDECAR_INBOUND
    listener:
      filterChain:
        filter: {name: envoy.filters.network.http_connection_manager}
  patch:
    operation: MERGE
    value:
      name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        access_log:
        # As in envoy/sidecar.yaml, which explains it; a test compares the two.
        - name: scoretap
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog
            config:
              name: scoretap
              root_id: scoretap
              failure_policy: FAIL_RELOAD
              reload_config:
                backoff: {base_interval: 0.01s}
              vm_config:
                vm_id: scoretap
                runtime: envoy.wasm.runtime.v8
                code:
                  # The volume of `{{ .patch }}` in the ConfigMap `scoretap-istio`.
                  local: {filename: /etc/scoretap/{{ .file }}}
              configuration:
                "@type": type.googleapis.com/google.protobuf.StringValue
                value: '{{ .config }}'
{{- end }}

{{/* Statistics that Istio leaves out: calls in flight, and Envoy's own count, which tells whether the filter is blind. */}}
{{- define "scoretap.istioStats" -}}
proxyStatsMatcher:
  inclusionRegexps:
  - 'http\.inbound_.*\.downstream_rq_(total|active)'
  - 'cluster\.{{ . }}\|.*\.upstream_rq_active'
{{- end }}

{{/*
The exporter of the sidecar, which reads Istio's Envoy on loopback, as a native sidecar so that Jobs end. A waypoint serves
many models and has none of its own. A test compares it with the sidecar's definition.
*/}}
{{- define "scoretap.istioExporter" -}}
{{- $root := index . 0 }}
{{- $way := index . 1 }}
- name: scoretap-exporter
  image: {{ include "scoretap.exporterImage" $root }}
  restartPolicy: Always
  command: [/scoretap-exporter]
  args:
  - --web.listen-address
  - :15190
  - --envoy.admin
  - http://127.0.0.1:15000
  {{- if eq $way "waypoint" }}
  # The Envoy clusters of the Services behind a waypoint.
  - --envoy.app-cluster
  - inbound-vip\|.*
  {{- end }}
  env:
  {{- if eq $way "sidecar" }}
  {{- include "scoretap.istioModel" . | nindent 2 }}
  {{- end }}
  - name: TENANT
    valueFrom:
      fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}
  ports:
  - {name: scoretap-stats, containerPort: 15190, protocol: TCP}
  livenessProbe:
    httpGet: {path: /-/healthy, port: 15190}
    periodSeconds: 20
    timeoutSeconds: 5
  resources:
    requests: {{ toJson $root.Values.sidecar.resources.exporter.requests }}
    {{- with $root.Values.sidecar.resources.exporter.limits }}
    limits: {{ toJson . }}
    {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    privileged: false
    readOnlyRootFilesystem: true
    {{- with $root.Values.sidecar.runAsUser }}
    runAsGroup: {{ int64 . }}
    {{- end }}
    runAsNonRoot: true
    {{- with $root.Values.sidecar.runAsUser }}
    runAsUser: {{ int64 . }}
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/*
The model's name and version, for Istio's injector. Values of a tenant come by the downward API and never become text of the
template: a quote in one would stop every pod from starting.
*/}}
{{- define "scoretap.istioModel" -}}
{{- range $name, $label := dict "MODEL_NAME" (list "scoretap.dev/model-name" "app.kubernetes.io/name" "app") "MODEL_VERSION" (list "scoretap.dev/model-version" "app.kubernetes.io/version" "version") -}}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.
        {{ "{{-" }} if index .ObjectMeta.Annotations "{{ index $label 0 }}" {{ "-}}" }}
        annotations['{{ index $label 0 }}']
        {{ "{{-" }} else if index .ObjectMeta.Labels "{{ index $label 1 }}" {{ "-}}" }}
        labels['{{ index $label 1 }}']
        {{ "{{-" }} else {{ "-}}" }}
        labels['{{ index $label 2 }}']
        {{ "{{-" }} end }}
{{ end -}}
- {name: DEPLOYMENT_NAME, value: '{{ "{{" }} .DeploymentMeta.Name }}'}
{{- end }}

{{/* Values for istiod's chart: an injection template that adds the exporter and leaves `istio-proxy` as it is. */}}
{{- define "scoretap.istiodValues" -}}
sidecarInjectorWebhook:
  templates:
    scoretap: |
      metadata:
        labels:
          scoretap.dev/injected: "true"
      spec:
        initContainers:
        {{- include "scoretap.istioExporter" (list . "sidecar") | nindent 8 }}
{{- end }}

{{/* A patch for a Deployment whose pods have Istio's sidecar. */}}
{{- define "scoretap.measured" -}}
# The patch replaces these annotations. If the Deployment already has one of them, merge the two by hand.
spec:
  template:
    metadata:
      labels:
        # Selects how Envoy loads the filter. A label has one value, so no pod loads the filter twice, which would count calls
        # twice.
        scoretap.dev/measured: {{ .label | quote }}
      annotations:
        inject.istio.io/templates: sidecar,scoretap
        # Prometheus and the kubelet reach the exporter without Envoy, which STRICT mTLS requires.
        traffic.sidecar.istio.io/excludeInboundPorts: "15190"
        proxy.istio.io/config: |
          {{- include "scoretap.istioStats" "inbound" | nindent 10 }}
        {{- with .image }}
        # An image with the filter as a volume (stable in Kubernetes 1.36). Envoy rejects a listener whose filter is missing,
        # so the label and the volume belong together.
        sidecar.istio.io/userVolume: |
          {"scoretap": {"image": {"reference": "{{ . }}", "pullPolicy": "IfNotPresent"}}}
        sidecar.istio.io/userVolumeMount: |
          {"scoretap": {"mountPath": "/etc/scoretap", "readOnly": true}}
        {{- end }}
{{- end }}
