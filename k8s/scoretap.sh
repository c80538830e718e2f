#!/bin/sh
# Scoretap on a cluster: put it there, look at it, find what is wrong, take it away. It needs kubectl; check-targets and
# doctor need jq too, because kubectl has no template for what Prometheus answers.
set -eu

usage() {
  cat <<'END'
Usage: k8s/scoretap.sh COMMAND [ARGUMENT…] [--namespace NAME]

  deploy [policy|webhook]    put the injector into the cluster, by the way that its version allows
  status                     what is there
  logs [NAMESPACE [PART]]    of the injector; of the sidecars in a namespace, PART: exporter, envoy or setup
  urls                       where Grafana, Prometheus and Alertmanager are, and how to log in
  port-forward [NAME…]       reach them from here: grafana, prometheus, alertmanager (all three)
  check-targets              whether Prometheus can read every sidecar
  doctor                     what is wrong, and the one command that mends each
  cleanup [--yes]            take away what is ours; asks first
  help                       this

--namespace is where the monitoring is (monitoring). Exit codes of check-targets and doctor: 0 all is well, 1 something
is wrong, 2 it could not look. Nothing but deploy and cleanup changes anything.
END
}

# Each argument is a line.
say() { printf '%s\n' "$@"; }
fail() { printf 'scoretap.sh: %s\n' "$*" >&2; exit "${code:-1}"; }
misuse() { printf 'scoretap.sh: %s\n\n' "$*" >&2; usage >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
ours=app.kubernetes.io/part-of=scoretap
namespace=monitoring

need_cluster() {
  command -v kubectl > /dev/null || fail "kubectl is not there; install it (https://kubernetes.io/docs/tasks/tools/)"
  kubectl get --raw /version > /dev/null 2>&1 ||
    fail "no cluster can be reached; \`kubectl version\` says why, \`kubectl config get-contexts\` which there are"
}

# Whether the cluster has it: an object, or a kind.
is_there() { kubectl get "$@" > /dev/null 2>&1; }

# --- deploy

# The images that rendered manifests name: the webhook's own, and the sidecar's, which are variables of either way.
images() {
  awk '
    named { print $2 }
    { named = $NF ~ /^(ENVOY|EXPORTER)_IMAGE$/ }
    $1 == "image:" { print $2 }
    $1 == "name:" && $2 ~ /^(envoy|exporter)Image$/ { print before }
    { before = $NF }' | tr -d "'\"" | sort -u
}

# Without a registry every node asks docker.io. Where it finds nothing, no pod starts that asks for the sidecar.
need_images() {
  rendered=$(kubectl kustomize "$here/$way")
  nowhere=$(say "$rendered" | images | grep -Ev '^(localhost|[^/]*[.:][^/]*)/') || return 0
  fail "these images are named without a registry:
$nowhere
Build them, push them and name them as k8s/operating.md says, step 1. As it is, pods that ask for the sidecar would not
start."
}

# Mutating admission policies are on by default from 1.36 on and run in the API server: nothing can be down. Before that
# there is the webhook; before 1.29 a container that starts first and ends last is none that Kubernetes knows.
deploy() {
  way=${1:-}
  minor=$(kubectl get --raw /version | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p')
  if [ -z "$way" ]; then
    if [ "${minor:-0}" -ge 36 ]; then way=policy; else way=webhook; fi
    say "Kubernetes 1.$minor: k8s/$way"
  fi
  [ "${minor:-0}" -ge 29 ] ||
    fail "Kubernetes 1.${minor:-?} has no native sidecars; set SIDECAR to ordinary in k8s/webhook/injector.yaml, then:
kubectl apply -k k8s/webhook"
  if [ "$way" = policy ]; then
    is_there mutatingadmissionpolicies.admissionregistration.k8s.io ||
      fail "the cluster has no MutatingAdmissionPolicy; write: k8s/scoretap.sh deploy webhook"
  else
    is_there crd certificates.cert-manager.io ||
      fail "the webhook's certificate needs cert-manager; install it (https://cert-manager.io/docs/installation/)"
  fi
  need_images
  kubectl apply -k "$here/$way"
  [ "$way" = policy ] || kubectl rollout status deployment/scoretap-injector --namespace scoretap-system --timeout 3m
  say "" "Next: kubectl label namespace TENANT scoretap.dev/injection=enabled; what a tenant writes: k8s/injection.md"
}

# --- status, logs, urls, port-forward

show() {
  title=$1
  shift
  say "" "$title"
  # What is not there, and what may not be seen, is said by kubectl.
  found=$(kubectl get "$@" 2>&1) || true
  say "$found" | sed 's/^/  /'
}

status() {
  show "Injection by policy" mutatingadmissionpolicies --selector $ours
  show "Injection by webhook" deployments --namespace scoretap-system --selector $ours
  show "Namespaces whose pods may ask" namespaces --selector scoretap.dev/injection=enabled
  show "Pods with the sidecar" pods --all-namespaces --selector scoretap.dev/injected=true
  show "Monitors" podmonitors,servicemonitors --all-namespaces --selector $ours
  show "Rules" prometheusrules --all-namespaces --selector $ours
  show "Prometheus" prometheuses --all-namespaces
}

of_all() {
  in=$1
  selector=$2
  shift 2
  kubectl logs --namespace "$in" --selector "$selector" "$@" --prefix --tail 100
}

logs() {
  if [ $# -eq 0 ]; then
    of_all scoretap-system app.kubernetes.io/name=scoretap-injector
    return
  fi
  of_all "$1" scoretap.dev/injected=true --container "scoretap-${2:-exporter}"
}

# Sets $service, and its port here and there. The operator's own Services are called so whatever the release is called.
find_service() {
  case $1 in
    grafana)
      service=$(kubectl get services --namespace "$namespace" --selector app.kubernetes.io/name=grafana --output name)
      service=$(say "$service" | head -n 1)
      [ -n "$service" ] || fail "there is no Grafana in the namespace $namespace; k8s/install.sh installs one"
      near=3000 far=80 ;;
    prometheus) service=service/prometheus-operated near=9090 far=9090 ;;
    alertmanager) service=service/alertmanager-operated near=9093 far=9093 ;;
  esac
}

urls() {
  for part in grafana prometheus alertmanager; do
    find_service $part
    say "$part: http://${service#service/}.$namespace.svc:$far in the cluster," \
      "  http://127.0.0.1:$near here, by \`k8s/scoretap.sh port-forward $part\`"
  done
  kubectl get ingresses --namespace "$namespace" \
    --output jsonpath='{range .items[*].spec.rules[*]}{"from outside: "}{.host}{"\n"}{end}'
  say "" "Grafana's user is admin, and this prints the password:" \
    "kubectl get secret scoretap-grafana -n $namespace -o jsonpath='{.data.admin-password}' | base64 -d"
}

port_forward() {
  [ $# -gt 0 ] || set -- grafana prometheus alertmanager
  running=
  # shellcheck disable=SC2086 # one word for each of them
  trap 'kill $running 2> /dev/null || true' EXIT
  trap 'exit 130' INT TERM
  for part in "$@"; do
    find_service "$part"
    kubectl port-forward --namespace "$namespace" --address 127.0.0.1 "$service" "$near:$far" > /dev/null &
    running="$running $!"
    say "$part: http://127.0.0.1:$near"
  done
  say "Ctrl-C ends it"
  for process in $running; do wait "$process"; done
}

# --- check-targets, doctor: ask everything first, then think (doctor.jq)

answers="namespaces pods workloads services networkpolicies webhooks policies peers
  prometheuses podmonitors servicemonitors rules targets groups up metrics"

# A folder for what was seen, until the end.
keep() {
  seen=$(mktemp -d)
  trap 'rm -rf "$seen"' EXIT
  trap 'exit 130' INT TERM
}

begin_to_look() {
  command -v jq > /dev/null ||
    fail "jq is not there, and nothing else reads what Prometheus answers; install it (https://jqlang.org/download/)"
  keep
  for answer in $answers; do : > "$seen/$answer"; done
  blind=no
}

# `kubectl get`, with nothing for an answer where the cluster does not know the kind. Whatever else fails ends all.
get() {
  kubectl get "$@" 2> "$seen/error" || grep -q "the server doesn't have a resource type" "$seen/error" ||
    fail "cannot see the $1: $(head -n 1 "$seen/error"); ask for the right to list them"
}

# Keeps what the API server says to `kubectl get …` as $1.
look() {
  answer=$1
  shift
  get "$@" --output json > "$seen/$answer"
}

# Keeps what Prometheus says as $1.
ask() {
  kubectl get --raw "$prometheus$2" > "$seen/$1" 2> "$seen/error" && return
  : > "$seen/$1"
  blind=yes
  printf 'scoretap.sh: cannot ask Prometheus for its %s: %s; does it run, and may you get services/proxy there?\n' \
    "$1" "$(head -n 1 "$seen/error")" >&2
}

think() {
  set -- --arg mode "$1" --arg here "$here" --arg shipped_rules "$shipped_rules"
  for answer in $answers; do set -- "$@" --slurpfile "$answer" "$seen/$answer"; done
  jq --null-input --raw-output "$@" --from-file "$here/doctor.jq"
}

find_prometheus() {
  shipped_rules=$(sed -n 's/^ *- \(.*\)\.yaml$/scoretap-\1/p' "$here/rules/operator/kustomization.yaml")
  look namespaces namespaces
  look prometheuses prometheuses.monitoring.coreos.com --all-namespaces
  look podmonitors podmonitors.monitoring.coreos.com --all-namespaces
  prometheus=$(think prometheus)
}

check_targets() {
  begin_to_look
  find_prometheus
  [ -n "$prometheus" ] || fail "there is no Prometheus of the operator's; k8s/install.sh installs one"
  ask targets '/api/v1/targets?state=active'
  [ $blind = no ] || exit 2
  targets=$(think targets)
  [ -n "$targets" ] || { say "Prometheus has no target of ours; k8s/scoretap.sh doctor says why"; exit 1; }
  say "$targets"
  ! printf '%s\n' "$targets" | grep -qv '^up  ' || exit 1
}

doctor() {
  begin_to_look
  find_prometheus
  look pods pods --all-namespaces
  look workloads deployments,statefulsets,daemonsets --all-namespaces
  look services services --all-namespaces
  look networkpolicies networkpolicies --all-namespaces
  look webhooks mutatingwebhookconfigurations
  look policies mutatingadmissionpolicies
  look peers peerauthentications.security.istio.io --all-namespaces
  look servicemonitors servicemonitors.monitoring.coreos.com --all-namespaces
  look rules prometheusrules.monitoring.coreos.com --all-namespaces
  if [ -n "$prometheus" ]; then
    ask targets '/api/v1/targets?state=active'
    ask groups '/api/v1/rules'
    ask up '/api/v1/query?query=%7B__name__%3D~%22scoretap_up%7Cscoretap_config_valid%22%7D'
    [ ! -s "$seen/groups" ] || ask metrics "/api/v1/query?query=$(think metrics)"
  fi
  findings=$(think findings)
  if [ -n "$findings" ]; then
    say "$findings"
    exit 1
  fi
  [ $blind = no ] || exit 2
  say "All is well."
}

# --- cleanup

kinds="mutatingadmissionpolicybindings mutatingadmissionpolicies mutatingwebhookconfigurations
  validatingadmissionpolicybindings validatingadmissionpolicies
  podmonitors.monitoring.coreos.com servicemonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com
  podmonitors.azmonitoring.coreos.com servicemonitors.azmonitoring.coreos.com
  wasmplugins.extensions.istio.io trafficextensions.extensions.istio.io envoyfilters.networking.istio.io
  networkpolicies.networking.k8s.io services configmaps namespaces"

# What has our label, a line each: kind, namespace (- where there is none), name. What injects is the first to go.
list_ours() {
  for kind in $kinds; do
    get "$kind" --all-namespaces --selector "$ours" --output \
      go-template="{{range .items}}$kind {{or .metadata.namespace \"-\"}} {{.metadata.name}}{{\"\\n\"}}{{end}}"
  done
}

# Each port that leads to the sidecar, a line each: namespace, Service, position of the port, where it led before. That is
# a tenant's text, and quoted.
# shellcheck disable=SC2016 # the variables are the template's
led_ports='{{range $service := .items}}{{$before := ""}}{{with .metadata.annotations}}
  {{- with index . "scoretap.dev/target-port"}}{{$before = .}}{{end}}{{end}}
  {{- range $at, $port := .spec.ports}}{{if eq (print .targetPort) "scoretap-http"}}
  {{- $service.metadata.namespace}} {{$service.metadata.name}} {{$at}} {{printf "%q" $before}}{{"\n"}}
  {{- end}}{{end}}{{end}}'

# The commands that lead each of these ports back. The injector does it where it is asked and knows where the port led.
lead_back() {
  asked=$(kubectl get namespaces --selector scoretap.dev/injection=enabled --output jsonpath='{.items[*].metadata.name}')
  is_there mutatingwebhookconfigurations scoretap-injector || is_there mutatingadmissionpolicies scoretap-services ||
    asked=
  while read -r in name at before; do
    known=yes
    case $before in
      '""' | '"'*[!A-Za-z0-9-]*'"') known=no before=APP_PORT ;;
      '"'*[!0-9]*'"') ;;
      *) before=${before#?} before=${before%?} ;;
    esac
    case " $asked " in *" $in "*) ;; *) known=no ;; esac
    if [ $known = yes ]; then
      say "  kubectl annotate service $name -n $in scoretap.dev/inject-"
    else
      step="{\"op\":\"replace\",\"path\":\"/spec/ports/$at/targetPort\",\"value\":$before}"
      say "  kubectl annotate service $name -n $in scoretap.dev/inject- scoretap.dev/target-port-" \
        "  kubectl patch service $name -n $in --type=json -p '[$step]'"
    fi
  done
}

cleanup() {
  sure=${1:-no}
  # Whoever is led back has to be led back while the injector is there.
  led=$(kubectl get services --all-namespaces --output go-template="$led_ports")
  [ -z "$led" ] ||
    fail "these Services lead to the sidecar still, and would lead nowhere once their pods are made anew; first, with the
app's own port in place of APP_PORT:
$(say "$led" | lead_back)"
  keep
  found=$(list_ours)
  [ -n "$found" ] || { say "there is nothing of ours"; exit 0; }
  say "$found"
  if [ "$sure" = no ]; then
    [ -t 0 ] || fail "this would delete the above; in a pipeline write cleanup --yes"
    printf 'Delete all of this? Write yes: '
    read -r answer
    [ "$answer" = yes ] || fail "nothing was deleted"
  fi
  say "$found" | while read -r kind in name; do
    if [ "$in" = - ]; then set -- "$kind" "$name"; else set -- "$kind" "$name" --namespace "$in"; fi
    kubectl delete "$@" < /dev/null
  done
  say "" "Pods keep the sidecar until they are made anew, and tenants' namespaces are as they were." \
    "Prometheus and Grafana: helm uninstall kube-prometheus-stack --namespace $namespace"
}

# --- The command line.

command=${1:-}
[ $# -eq 0 ] || shift
# Out with --namespace, wherever it stands: what is left is put behind, until each was seen once.
left=$#
while [ "$left" -gt 0 ]; do
  left=$((left - 1))
  case $1 in
    --namespace)
      [ "$left" -gt 0 ] || misuse "--namespace needs a value"
      namespace=$2
      left=$((left - 1))
      shift ;;
    *) set -- "$@" "$1" ;;
  esac
  shift
done

# At most so many arguments.
takes() { [ "$1" -ge "$2" ] || misuse "too much after $command"; }
# The first is one of the others.
allows() {
  given=$1
  shift
  for word in "$@"; do [ "$given" != "$word" ] || return 0; done
  misuse "\"$given\" is nothing that $command takes; write one of: $*"
}
case $command in
  help | --help) usage; exit 0 ;;
  deploy) takes 1 $#; allows "${1-policy}" policy webhook ;;
  cleanup) takes 1 $#; allows "${1---yes}" --yes ;;
  logs) takes 2 $#; allows "${2-exporter}" exporter envoy setup ;;
  port-forward)
    takes 3 $#
    for part in "$@"; do allows "$part" grafana prometheus alertmanager; done ;;
  status | urls | check-targets | doctor) takes 0 $# ;;
  '') misuse "what is to be done?" ;;
  *) misuse "\"$command\" is no command" ;;
esac
case $command in check-targets | doctor) code=2 ;; esac
need_cluster
case $command in
  port-forward) port_forward "$@" ;;
  check-targets) check_targets ;;
  *) "$command" "$@" ;;
esac
