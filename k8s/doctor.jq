# What is wrong, judged from what the cluster and Prometheus said: the part of `scoretap.sh doctor` that thinks.
# It is given the answers as lists ($pods …), asks nothing itself, and prints by $mode:
#
#   prometheus   the path by which the API server reaches the Prometheus that reads our monitors
#   metrics      every metric that our alerts rest on, as a query
#   targets      what Prometheus scrapes of ours, a line each
#   findings     each fault, whose it is, and the one command that mends it
#
# Tenants choose names, annotations and what a scrape says. Into a command they come through `word`, into a text through
# `clean`, and nothing comes any other way.

def clean: tostring | gsub("[\u0000-\u001f\u007f-\u009f\u2028\u2029]+"; " ");
def word: tostring | if test("\\A[A-Za-z0-9_./:=@%+,-]+\\z") then . else @sh end;
def words: map(word) | join(" ");
def json: tojson | @sh;

def items($answer): $answer[0].items // [];
def labels: .metadata.labels // {};
def annotation($name): (.metadata.annotations // {})[$name];
def is_ours: labels["app.kubernetes.io/part-of"] == "scoretap";

# kubectl on the object: `patch service`, its name and namespace, what is to be done.
def in_namespace: "-n \(.metadata.namespace | word)";
def kubectl($verb; $rest): "kubectl \($verb) \(.metadata.name | word) \(in_namespace) \($rest)" | rtrimstr(" ");
def finding($what; $run): {where: "\(.metadata.namespace // "cluster")/\(.metadata.name)", $what, $run};
# One that is about no object.
def missing($name; $what; $run): {metadata: {$name}} | finding($what; $run);

# --- Selectors, as the API server understands them: none selects nothing, an empty one everything.

def selects($labels):
  . != null
  and ((.matchLabels // {}) | to_entries | all($labels[.key] == .value))
  and ((.matchExpressions // []) | all(
    .key as $key | (.values // []) as $values | ($labels | has($key)) as $has
    | if .operator == "In" then $has and any($values[]; . == $labels[$key])
      elif .operator == "NotIn" then all($values[]; . != $labels[$key])
      elif .operator == "Exists" then $has
      else $has | not end));
def selected_by($selector): labels as $labels | $selector | selects($labels);

# The changes of labels, as `kubectl label` takes them, by which it selects.
def wanted_labels:
  [ ((.matchLabels // {}) | to_entries[] | "\(.key)=\(.value)"),
    ((.matchExpressions // [])[]
      | if .operator == "In" then "\(.key)=\(.values[0])"
        elif .operator == "Exists" then "\(.key)=true"
        else "\(.key)-" end)
  ] | words;

def namespace_labels($name): first(items($namespaces)[] | select(.metadata.name == $name) | labels) // {};

# --- Pods.

def containers: (.spec.initContainers // []) + (.spec.containers // []);
def has_container($name): any(containers[]; .name == $name);
def has_port($name): any(containers[].ports[]?; .name == $name);
def is_alive: .metadata.deletionTimestamp == null and (.status.phase | IN("Pending", "Running"));
# In Istio's pods the exporter is alone. A tenant's own container may be called so too.
def is_injected:
  has_container("scoretap-exporter")
  and (labels["scoretap.dev/injected"] == "true" or has_container("scoretap-setup"));
def asks: annotation("scoretap.dev/inject") | . != null and . != "false";

def owner: first((.metadata.ownerReferences // [])[] | select(.controller)) // null;
# Who makes the pod anew, and from a template that can be changed. Null for a pod that nobody owns, and for a Job's.
def workload:
  labels["pod-template-hash"] as $hash | .metadata.namespace as $namespace | owner
  | if .kind == "ReplicaSet" and $hash then {kind: "deployment", name: (.name | rtrimstr("-" + $hash))}
    elif .kind | IN("StatefulSet", "DaemonSet") then {kind: (.kind | ascii_downcase), name}
    else null end
  | if . then {kind, metadata: {name, $namespace}} else null end;

def made_anew:
  if workload then workload | kubectl("rollout restart \(.kind)"; "")
  elif owner then kubectl("delete pod"; "")
  else kubectl("get pod"; "-o yaml | kubectl replace --force -f -") end;

# Annotations (null removes one) on whatever the pod is made from.
def template($annotations): {spec: {template: {metadata: {$annotations}}}};
def made_with($annotations):
  if workload then workload | kubectl("patch \(.kind)"; "-p " + (template($annotations) | json))
  elif owner then owner as $owner | "kubectl edit \([$owner.kind, $owner.name] | words) \(in_namespace)"
  else
    [$annotations | to_entries[] | if .value == null then .key + "-" else "\(.key)=\(.value)" end] as $changes
    | kubectl("get pod"; "-o yaml | kubectl annotate --local -f - --overwrite -o yaml \($changes | words)"
        + " | kubectl replace --force -f -")
  end;

# The TCP ports of each container that may be the app.
def app_ports:
  [.spec.containers[] | select(.name | IN("istio-proxy", "linkerd-proxy") | not)] as $apps
  | [(if $apps == [] then .spec.containers else $apps end)[]
      | [.ports[]? | select((.protocol // "TCP") == "TCP") | {name: (.name // ""), number: (.containerPort | tostring)}]];

# Whether one may be the app's where no annotation says which.
def may_take_calls:
  .name | test("(\\A|-)(metrics|prometheus|admin|management|health|debug)(-|\\z)") | not;

# The app's port, as the injector finds it; null where it finds none.
def app_port:
  (annotation("scoretap.dev/app-port") // "") as $wanted
  | app_ports
  | if $wanted == "" then first(.[0][]? | select(may_take_calls)) // null
    else first(.[][] | select(.name == $wanted or .number == $wanted))
      // if $wanted | test("\\A[1-9][0-9]{0,4}\\z") and tonumber < 65536 then {name: "", number: $wanted} else null end
    end;

# Of several ports the one to which a Service leads, or led before it led to the sidecar. Null where none does.
def called_port:
  . as $pod
  | [items($services)[] | select(.metadata.namespace == $pod.metadata.namespace)
      | {matchLabels: (.spec.selector // {})} as $selector | select($selector.matchLabels != {})
      | select($pod | selected_by($selector))
      | annotation("scoretap.dev/target-port"), (.spec.ports[]? | .targetPort // .port | tostring)] as $targets
  | first(app_ports[][] | select(.name, .number | IN($targets[]))) // null;

# Why the injector leaves the pod as it is, and the annotations that would be right. k8s/injector/src/faults.rs decides;
# tests hold the two against each other. What is wrong inside of a configuration is not seen here.
def refusal:
  {"scoretap.dev/inject": null} as $without
  | annotation("scoretap.dev/inject") as $inject
  | annotation("scoretap.dev/config") as $config
  | app_port as $port
  | if $inject != "true" then
      {what: "scoretap.dev/inject is \($inject | tojson), and has to be \"true\"",
       annotations: {"scoretap.dev/inject": "true"}}
    elif .spec.os.name == "windows" or .spec.nodeSelector["kubernetes.io/os"] == "windows" then
      {what: "a pod for Windows cannot have the sidecar", annotations: $without}
    elif .spec.hostNetwork == true then
      {what: "a pod with hostNetwork cannot have the sidecar", annotations: $without}
    elif $port == null then
      {what: "the app's port is not known (in place of 8080 write it)", annotations: {"scoretap.dev/app-port": "8080"}}
    elif (annotation("scoretap.dev/app-port") | IN(null, "")) and ([app_ports[][] | select(may_take_calls)] | length > 1) then
      (called_port // $port).number as $number
      | {what: "the pod declares several TCP ports (in place of \($number) write the one that takes the calls)",
         annotations: {"scoretap.dev/app-port": $number}}
    elif $port.name | test("\\A(https|tls)") then
      {what: "the app's port is named as one of TLS, which the sidecar does not speak to it", annotations: $without}
    elif ($port.number | IN("15100", "15190")) or any(.spec.containers[].ports[]?;
        (.containerPort | IN(15100, 15190)) or (.name | IN("scoretap-http", "scoretap-stats"))) then
      {what: "the pod uses the sidecar's ports, 15100 and 15190, or their names, itself", annotations: $without}
    elif any(containers[]; .name | IN("scoretap-setup", "scoretap-envoy", "scoretap-exporter")) then
      {what: "a container of the pod's own has a name of the sidecar's", annotations: $without}
    elif any(.spec.volumes[]?, containers[].volumeMounts[]?; .name == "scoretap") then
      {what: "the pod has or mounts a volume named scoretap, which is the sidecar's", annotations: $without}
    elif any(annotation("scoretap.dev/model-name", "scoretap.dev/model-version") | select(. != null);
        length == 0 or length > 256 or test("[\u0000-\u001f\u007f]")) then
      {what: "scoretap.dev/model-name or scoretap.dev/model-version cannot be a label",
       annotations: {"scoretap.dev/model-name": null, "scoretap.dev/model-version": null}}
    elif annotation("scoretap.dev/pre-stop") | IN(null, "true", "false") | not then
      {what: "scoretap.dev/pre-stop is neither \"true\" nor \"false\"", annotations: {"scoretap.dev/pre-stop": null}}
    elif $config != null and (($config | length) > 16384
        or ($config | test("\\S") and (try (fromjson | type != "object") catch true))) then
      {what: "scoretap.dev/config is no JSON object of at most 16384 characters",
       annotations: {"scoretap.dev/config": null}}
    else null end;

# --- Into the pod.

def webhook: any(items($webhooks)[]; .metadata.name == "scoretap-injector");
def policy: any(items($policies)[]; .metadata.name == "scoretap-pods");
def injector: first(items($workloads)[] | select(.metadata.name == "scoretap-injector")) // null;

def misplaced_findings:
  items($workloads)[]
  | select(annotation("scoretap.dev/inject") and (.spec.template | annotation("scoretap.dev/inject") | not))
  | finding("the annotation is on the \(.kind), where nobody reads it, and not on its pods";
      kubectl("patch \(.kind | ascii_downcase)"; "-p " + (template({"scoretap.dev/inject": "true"}) | json)));

def injection_findings:
  [items($pods)[] | select(is_alive and asks and (is_injected | not))] as $without
  | if $without == [] then empty
    elif (webhook or policy) | not then
      missing("injector"; "pods ask for the sidecar, and nothing puts it there"; "\($here | word)/scoretap.sh deploy")
    elif (policy | not) and injector and (injector.status.availableReplicas // 0) == 0 then
      injector
      | finding("no pod of the injector is ready, so pods come without the sidecar; this says why (cert-manager?)";
        "kubectl describe pods -n scoretap-system -l app.kubernetes.io/name=scoretap-injector")
    else
      $without[]
      | if namespace_labels(.metadata.namespace)["scoretap.dev/injection"] != "enabled" then
          finding("pods ask for the sidecar in a namespace that is not labelled for it; after this, make them anew";
            "kubectl label namespace \(.metadata.namespace | word) scoretap.dev/injection=enabled --overwrite")
        elif refusal then refusal as $refusal | finding("no sidecar: \($refusal.what)"; made_with($refusal.annotations))
        else
          finding("no sidecar: the pod is older than its annotation, or this command says what is wrong"; made_anew)
        end
    end;

# The container of the sidecar's whose image cannot be pulled, so that nothing after it starts. Null where none is.
def unpulled:
  first(.status.initContainerStatuses[]?, .status.containerStatuses[]?
    | select((.name | startswith("scoretap-"))
        and (.state.waiting.reason | IN("ErrImagePull", "ImagePullBackOff", "InvalidImageName")))) // null;

def image_findings:
  items($pods)[] | select(is_alive and is_injected) | unpulled as $status | select($status)
  | finding("the sidecar's image \($status.image) cannot be pulled, so the app does not start: name one that can, as "
      + "k8s/operating.md says, step 1; this says why"; kubectl("describe pod"; ""));

# --- To the pod: a Service that leads past the sidecar, or to one that is in none of its pods.

# The command that leads a Service back: the injector's work where it is asked and knows where the port led.
def led_back($app_port):
  annotation("scoretap.dev/target-port") as $before
  | if $before and (webhook or policy) and namespace_labels(.metadata.namespace)["scoretap.dev/injection"] == "enabled"
    then kubectl("annotate service"; "scoretap.dev/inject-")
    else
      ($before // $app_port | if test("\\A[0-9]+\\z") then tonumber else . end) as $value
      | [.spec.ports | to_entries[] | select(.value.targetPort == "scoretap-http")
          | {op: "replace", path: "/spec/ports/\(.key)/targetPort", $value}] as $steps
      | kubectl("annotate service"; "scoretap.dev/inject- scoretap.dev/target-port-") + " && "
        + kubectl("patch service"; "--type=json -p " + ($steps | json))
    end;

# Where the sidecar leads, as a number. Null where there is none.
def sidecar_port:
  first(containers[] | select(.name == "scoretap-setup") | .env[]? | select(.name == "SCORETAP_APP_PORT") | .value) // null;

# Whether that is elsewhere than a Service's target port of before. A name that nobody declares led nowhere.
def astray($before):
  ([$before | select(test("\\A[0-9]+\\z"))] + [containers[].ports[]? | select(.name == $before) | .containerPort | tostring])[0]
    as $number
  | $number != null and sidecar_port != null and sidecar_port != $number;

def service_findings:
  items($services)[] | . as $service | {matchLabels: (.spec.selector // {})} as $selector
  | select($selector.matchLabels != {} and .spec.type != "ExternalName" and .spec.clusterIP != "None")
  | [.spec.ports[]? | select((.protocol // "TCP") == "TCP")] as $ports
  | [items($pods)[] | select(.metadata.namespace == $service.metadata.namespace)
      | select(is_alive and selected_by($selector))] as $behind
  # Number and name of the app's port, as the sidecar was told.
  | [$behind[] | containers[] | select(.name == "scoretap-setup") | .env[]?
      | select(.name | IN("SCORETAP_APP_PORT", "SCORETAP_APP_PORT_NAME")) | .value | select(. != "")] as $app
  | (first($ports[] | select(.targetPort | tostring | IN($app[]))) // null) as $past
  | annotation("scoretap.dev/target-port") as $before
  | (first($behind[] | select($before and astray($before))) // null) as $astray
  | if any($ports[]; .targetPort == "scoretap-http") and $astray then
      finding("it led to \($before), and the sidecar of its pods leads to \($astray | sidecar_port): write the same port";
        $astray | made_with({"scoretap.dev/app-port": $before}))
    elif any($ports[]; .targetPort == "scoretap-http") then
      select($behind != [] and all($behind[]; (has_port("scoretap-http") or asks) | not))
      # A port of the app's that nobody declares may be the Service's own.
      | (first($behind[] | app_port | select(. != null) | .number) // ($ports[0].port | tostring)) as $app_port
      | finding("it leads to the sidecar, and none of its pods has one: calls find nobody"; led_back($app_port))
    elif $past then
      ({"scoretap.dev/inject": "true"}
        + if ($ports | length) == 1 then {} else {"scoretap.dev/app-port": ($past.name // ($past.port | tostring))} end
      ) as $annotations
      | finding("its pods have the sidecar, and it leads past it: none of its calls is measured";
          kubectl("patch service"; "-p " + ({metadata: {$annotations}} | json)))
    else empty end;

# --- To Prometheus: what it reads.

# Whether Prometheus reads this object: a PodMonitor by its podMonitorSelector and podMonitorNamespaceSelector.
def is_read($prometheus; $field):
  $prometheus.spec[$field + "NamespaceSelector"] as $in
  | selected_by($prometheus.spec[$field + "Selector"])
  and if $in == null then .metadata.namespace == $prometheus.metadata.namespace
      else namespace_labels(.metadata.namespace) as $labels | $in | selects($labels) end;

def monitors: [items($podmonitors)[] | select(is_ours)];
def prometheus:
  first(items($prometheuses)[] | . as $prometheus | select(any(monitors[]; is_read($prometheus; "podMonitor"))))
  // items($prometheuses)[0];
def path:
  "/api/v1/namespaces/\(.metadata.namespace)/services/"
  + (if .spec.web.tlsConfig then "https:" else "" end)
  + "prometheus-operated:9090/proxy" + (.spec.routePrefix // "" | rtrimstr("/"));

# The installation as it was called, whatever its release and namespace.
def install($flags):
  (prometheus // {}) as $prometheus
  | ($prometheus | labels.release // "kube-prometheus-stack") as $release
  | ($prometheus.metadata.namespace // "monitoring") as $namespace
  | [$here + "/install.sh", $flags[],
     (if $release != "kube-prometheus-stack" then "--release", $release else empty end),
     (if $namespace != "monitoring" then "--namespace", $namespace else empty end)] | words;
def install_ours: install(["--without-prometheus"]);

def unread($prometheus; $field; $kinds):
  ($prometheus.spec[$field + "Selector"]) as $by
  | ($prometheus.spec[$field + "NamespaceSelector"]) as $in
  | "Prometheus \($prometheus.metadata.name)" as $who
  | def all_of($selector):
      $prometheus | kubectl("patch prometheus"; "--type=merge -p " + ({spec: {($selector): {}}} | json));
    select(is_read($prometheus; $field) | not)
  | if $by == null then finding("\($who) selects no \($kinds) at all"; all_of($field + "Selector"))
    elif selected_by($by) | not then
      finding("its labels are not those by which \($who) selects";
        "kubectl label \($kinds) \(in_namespace) -l app.kubernetes.io/part-of=scoretap "
        + "\($by | wanted_labels) --overwrite")
    elif $in == null then finding("\($who) looks in its own namespace alone"; all_of($field + "NamespaceSelector"))
    else finding("its namespace is none in which \($who) looks";
      "kubectl label namespace \(.metadata.namespace | word) \($in | wanted_labels) --overwrite") end;

def monitoring_findings:
  prometheus as $prometheus
  | [items($rules)[] | select(is_ours)] as $rules_of_ours
  | if $prometheus == null then
      missing("prometheus"; "there is no Prometheus of the operator's, so nobody reads the metrics"; install([]))
    else
      (if monitors == [] then
         $prometheus | finding("there is no PodMonitor of ours, so it does not know of the sidecars"; install_ours)
       else monitors[] | unread($prometheus; "podMonitor"; "podmonitors") end),
      (items($servicemonitors)[] | select(is_ours) | unread($prometheus; "serviceMonitor"; "servicemonitors")),
      ($rules_of_ours[] | unread($prometheus; "rule"; "prometheusrules")),
      (($shipped_rules | split("\n")) - [items($rules)[].metadata.name] | .[]
        | missing(.; "these rules are not in the cluster"; install_ours)),
      ($rules_of_ours[] | select($groups != [] and is_read($prometheus; "rule"))
        | ([.spec.groups[].name] - [$groups[0].data.groups[].name]) as $unloaded | select($unloaded != [])
        | finding("Prometheus has not loaded its group \($unloaded[0]): it was changed so that the operator refuses it";
            install_ours))
    end;

# --- From Prometheus to the pod.

# Istio's word on plain calls to the exporter: the pod's own, else its namespace's, else the mesh's.
def is_strict:
  . as $pod
  | [items($peers)[] | select(.metadata.namespace == $pod.metadata.namespace)] as $near
  | [$near[] | .spec.selector as $selector | select($selector != null and ($pod | selected_by($selector)))] as $own
  | [$near[] | select(.spec.selector == null)] as $namespace
  | [items($peers)[] | select(.metadata.namespace == "istio-system" and .spec.selector == null)] as $mesh
  | [$own[].spec.portLevelMtls["15190"].mode, (($own, $namespace, $mesh)[] | .spec.mtls.mode)]
  | first(.[] | select(. != null and . != "UNSET")) == "STRICT";

def mtls_finding:
  def has_ours: split(",") | map(gsub("\\s"; "")) | any(IN("15190", "*"));
  "traffic.sidecar.istio.io/excludeInboundPorts" as $exclude
  | (annotation($exclude) // "") as $excluded
  | select(has_container("istio-proxy") and is_strict and ($excluded | has_ours | not)
      and (annotation("traffic.sidecar.istio.io/includeInboundPorts") // "*" | has_ours))
  | finding("STRICT mTLS keeps Prometheus from the metrics, which it reads plainly";
      made_with({($exclude): ([$excluded | select(. != "")] + ["15190"] | join(","))}));

# Whether a rule of a NetworkPolicy lets calls of this TCP port in, by its number or one of its names.
def admits_port($number; $names):
  (.ports // []) | . == [] or any(.[];
    (.protocol // "TCP") == "TCP"
    and (.port | . == null or IN($names[]) or (type == "number" and . <= $number))
    and (.endPort // .port | type != "number" or . >= $number));

# Whether it lets Prometheus in. An address range might, so it is given the benefit.
def admits($from; $own_namespace):
  def peer:
    .ipBlock != null
    or ((if .namespaceSelector == null then $from.namespace == $own_namespace
         else .namespaceSelector | selects($from.namespace_labels) end)
      and (.podSelector == null or (.podSelector | selects($from.labels))));
  ((.from // []) | . == [] or any(.[]; peer)) and admits_port(15190; ["scoretap-stats"]);

# The policies that close a pod but for what one of them admits.
def closing:
  . as $pod
  | [items($networkpolicies)[]
      | select(.metadata.namespace == $pod.metadata.namespace)
      | select(.spec.policyTypes // ["Ingress"] | any(. == "Ingress"))
      | .spec.podSelector as $selector | select($pod | selected_by($selector))];

# Callers that a policy lets in to the app and not to the sidecar, and those whom nobody but our own policies shuts out.
def call_findings:
  def to_sidecar: admits_port(15100; ["scoretap-http"]);
  def admit($at; $port):
    {op: "add", path: "/spec/ingress/\($at)/ports/-", value: {port: $port, protocol: "TCP"}} as $step
    | kubectl("patch networkpolicy"; "--type=json -p " + ([$step] | json));
  items($pods)[] | select(is_alive and is_injected)
  | (sidecar_port // "" | select(test("\\A[0-9]{1,5}\\z")) | tonumber) as $port
  | [containers[].ports[]? | select(.containerPort == $port) | .name // empty] as $names
  | closing as $closing | select($closing != [])
  | [$closing[].spec.ingress[]?] as $rules
  | .metadata.namespace as $namespace
  | ($closing[]
      | select(any(.spec.ingress[]?; to_sidecar) | not)
      | first(.spec.ingress // [] | to_entries[] | select(.value | admits_port($port; $names))) as {key: $at, value: $rule}
      | select(any($rules[]; to_sidecar and (.from // [] | . == [] or . == $rule.from)) | not)
      | finding("it admits callers to the app's port \($port), and not to the sidecar's, where Services lead"; admit($at; 15100))),
    (select(all($closing[]; .metadata.name | startswith("scoretap-"))
        and (any($rules[]; admits_port($port; $names)) | not))
      | first(($closing[] | select(.metadata.name == "scoretap-calls")), null)
      | if . then finding("it closes the app's port \($port), which was open before"; admit(0; $port))
        else
          {metadata: {name: "scoretap-metrics", $namespace}}
          | finding("no other policy selects the pods, so it closes them to every caller";
              "kubectl apply \(in_namespace) -k \($here | word)/tenants/open")
        end);

def network_finding($prometheus):
  . as $pod | $prometheus.metadata as {$namespace, $name}
  | closing as $closing
  | (first(items($pods)[] | select(.metadata.namespace == $namespace) | labels
      | select(.["operator.prometheus.io/name"] == $name)) // {}) as $labels
  | {$namespace, namespace_labels: namespace_labels($namespace), $labels} as $from
  | select($closing != [] and (any($closing[].spec.ingress[]?; admits($from; $pod.metadata.namespace)) | not))
  | {from: [{namespaceSelector: {matchLabels: {"kubernetes.io/metadata.name": $namespace}}}],
     ports: [{port: 15190, protocol: "TCP"}]} as $rule
  | $closing[0]
  | (if .spec.ingress then {op: "add", path: "/spec/ingress/-", value: $rule}
     else {op: "add", path: "/spec/ingress", value: [$rule]} end) as $step
  | finding("this NetworkPolicy keeps the namespace \($namespace) from the metrics";
      kubectl("patch networkpolicy"; "--type=json -p " + ([$step] | json)));

def is_of($pod): .namespace == $pod.metadata.namespace and .pod == $pod.metadata.name;
def target($monitor):
  . as $pod | "podMonitor/\($monitor.metadata.namespace)/\($monitor.metadata.name)/" as $pool
  | first($targets[0].data.activeTargets[] | select(.scrapePool | startswith($pool)) | select(.labels | is_of($pod)))
  // null;
# The last value of a metric of the pod's own.
def value($name):
  . as $pod
  | first($up[0].data.result[] | select(.metric.__name__ == $name and (.metric | is_of($pod))) | .value[1]) // null;

# What keeps Prometheus out, the first that is found. $error is what Prometheus says, null where it could not be asked.
def obstacle($prometheus; $error):
  first(
    ([.status.initContainerStatuses[]?, .status.containerStatuses[]?] as $all
      | first($all[] | select(.name == "scoretap-exporter" and .state.running == null)) as $status
      | ($status.state | .waiting.reason // .terminated.reason // "?") as $why
      | finding("the exporter does not run (\($why)); this says more";
          kubectl("describe pod"; ""))),
    mtls_finding,
    network_finding($prometheus),
    (select($error) | finding("Prometheus cannot read the exporter: \($error); the exporter's log says why";
      kubectl("logs"; "-c scoretap-exporter"))));

# What the exporter says of itself, once it can be read.
def reading_finding:
  if value("scoretap_up") == null then
    finding("the target is up and has no series of Scoretap's: something else answers on the port; this shows what";
      "kubectl get --raw "
      + ("/api/v1/namespaces/\(.metadata.namespace)/pods/\(.metadata.name):15190/proxy/metrics" | word))
  elif value("scoretap_up") == "0" then
    finding("the exporter cannot read Envoy, so there are no metrics of calls"; made_anew)
  elif value("scoretap_config_valid") == "0" then
    (if has_container("scoretap-envoy") then "scoretap-envoy" else "istio-proxy" end) as $envoy
    | finding("the filter's configuration is not valid, so no call is measured; Envoy's log names each fault";
        kubectl("logs"; "-c \($envoy) | grep 'scoretap configuration'"))
  else empty end;

def pod_findings:
  prometheus as $prometheus | select($prometheus)
  | [monitors[] | select(is_read($prometheus; "podMonitor"))] as $read | select($read != [])
  | items($pods)[] | select(is_alive and is_injected and .status.phase == "Running" and unpulled == null) | . as $pod
  | [$read[] | .spec.selector as $selector | select($pod | selected_by($selector))] as $by_label
  | [$by_label[] | .metadata.namespace as $own | (.spec.namespaceSelector // {}) as $in
      | select($in.any or ($pod.metadata.namespace | IN($in.matchNames // [$own] | .[])))] as $monitors
  | $monitors[0] as $monitor
  | if $by_label == [] then
      finding("its labels are not those by which the PodMonitor selects";
        kubectl("label pod"; "\($read[0].spec.selector | wanted_labels) --overwrite"))
    elif $monitor == null then $by_label[0]
      | finding("it does not look into namespaces where pods have the sidecar";
          kubectl("patch podmonitor"; "--type=merge -p " + ({spec: {namespaceSelector: {any: true}}} | json)))
    elif all($monitor.spec.podMetricsEndpoints[].port; . != null and (. as $port | $pod | has_port($port) | not)) then
      $monitor
      | {op: "replace", path: "/spec/podMetricsEndpoints/0/port", value: "scoretap-stats"} as $step
      | finding("its port \(.spec.podMetricsEndpoints[0].port) is none of the pods'";
          kubectl("patch podmonitor"; "--type=json -p " + ([$step] | json)))
    elif $targets == [] then obstacle($prometheus; null)
    else target($monitor) as $target
      | if $target == null then
          select(now - (.status.startTime // "1970-01-01T00:00:00Z" | fromdate) > 120)
          | finding("Prometheus does not know of it; the operator's log says why";
              "kubectl logs \($prometheus | in_namespace) -l app.kubernetes.io/component=prometheus-operator --tail=50")
        elif $target.health == "down" then obstacle($prometheus; $target.lastError)
        elif $target.health == "up" and $up != [] then reading_finding
        else empty end
    end;

# --- What the alerts rest on.

# The names of metrics in an expression: names that are neither a function nor a keyword nor in a list of labels.
def names:
  gsub("\"(\\\\.|[^\"\\\\])*\""; "") | gsub("\\{[^}]*\\}"; " ") | gsub("\\[[^\\]]*\\]"; " ")
  | gsub("\\b(by|without|on|ignoring|group_left|group_right)\\s*\\([^)]*\\)"; " ")
  | gsub("(?<![A-Za-z0-9_:])[0-9][0-9A-Za-z.]*"; " ")
  | [scan("[A-Za-z_:][A-Za-z0-9_:]*\\s*\\(?") | select(endswith("(") | not) | gsub("\\s"; "")
      | select(IN("and", "or", "unless", "offset", "bool", "group_left", "group_right", "inf", "nan") | not)] | unique;

# Each alert of ours, and what it rests on in the end, through all that is recorded.
def alerts:
  [items($rules)[] | select(is_ours) | .spec.groups[].name] as $ours
  | [$groups[0].data.groups[]] as $loaded
  | reduce ($loaded[].rules[] | select(.type == "recording")) as $rule ({}; .[$rule.name] += ($rule.query | names))
  | . as $recorded
  | def leaves: if $recorded[.] then $recorded[.][] | leaves else . end;
    $loaded[] | select(.name | IN($ours[])) | .rules[] | select(.type == "alerting")
    | {name, metrics: ([.query | names[] | leaves] | unique)};

# Not there in a cluster that is well: no container waits, none has a limit, no VM of the filter has crashed.
def may_be_missing: test("_waiting_reason$|_resource_limits$|^kube_pod_init_container_|^scoretap_vm_reloads_total$");

# Where a metric comes from, and what to do where it does not.
def sources:
  {of: "^kube_", what: "kube-state-metrics is not scraped", run: install([])},
  {of: "^container_", what: "the kubelet's cAdvisor is not scraped", run: install([])},
  # Where no pod has the sidecar, or none can be read, nothing of ours is there, and that is said elsewhere.
  (select(any(items($pods)[] | select(is_injected); value("scoretap_up") == "1"))
    | {of: "^(?!kube_|container_)", run: install_ours,
       what: "the monitor drops it, or the exporter's dialects leave it out"});

def data_findings:
  select($metrics != [] and $groups != [])
  | [$metrics[0].data.result[].metric.__name__] as $there
  | [alerts | .name as $alert | .metrics[] | select((may_be_missing or IN($there[])) | not) | {$alert, metric: .}]
    as $gaps
  | sources as $source
  | [$gaps[] | select(.metric | test($source.of))] | select(. != [])
  | ([.[].metric] | unique | join(", ")) as $names
  | missing([.[].alert] | unique | join(", ");
      "loaded, but without data, as there is no series of \($names): \($source.what)"; $source.run);

# --- What is printed.

def blocks:
  to_entries[]
  | .value.others as $others
  | (if $others > 0 then " and \($others) more" else "" end) as $more
  | "\(.key + 1). \(.value.where | clean)\($more): \(.value.what | clean)\n   \(.value.run)\n";

if $mode == "prometheus" then prometheus // empty | path
elif $mode == "metrics" then
  "count by (__name__) ({__name__=~\"\([alerts.metrics[]] | unique | join("|"))\"})" | @uri
elif $mode == "targets" then
  $targets[0].data.activeTargets[] | select(.scrapePool | test("^podMonitor/[^/]*/scoretap"))
  | [.health, "\(.labels.namespace)/\(.labels.pod)", .lastScrape, (.lastError // "")] | map(clean) | join("  ")
else
  # What one command mends is one finding.
  reduce (misplaced_findings, injection_findings, image_findings, service_findings, call_findings,
    monitoring_findings, pod_findings, data_findings) as $finding ([];
      (map(.run) | index($finding.run)) as $at
      | if $at == null then . + [$finding + {others: 0}] else .[$at].others += 1 end)
  | blocks
end
