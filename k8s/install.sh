#!/bin/sh
# Installs what Scoretap's numbers go to: kube-prometheus-stack by Helm, then our monitors, rules and dashboards.
# k8s/install.ps1 is the same for PowerShell; a test compares their commands.
set -eu

usage() {
  cat <<'END'
Usage: k8s/install.sh [FLAG…]

Installs Prometheus, Alertmanager and Grafana (Helm chart kube-prometheus-stack), and Scoretap's monitors, rules and
dashboards. Run it again to upgrade: Grafana's password and what was set before stay as they are.

  --release NAME          Helm release, and the label by which Prometheus selects (kube-prometheus-stack)
  --namespace NAME        namespace of it all (monitoring)
  --storage SIZE          keep Prometheus' data in a volume, such as 50Gi (otherwise it is lost with the pod)
  --without-prometheus    monitors, rules and dashboards alone, for a Prometheus that is there
  --dry-run               check, and say what would be done
  --help                  this

CHART_VERSION chooses another version of the chart.
END
}

# Each argument is a line.
say() { printf '%s\n' "$@"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'install.sh: %s\n\n' "$*" >&2; usage >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
chart_version=${CHART_VERSION:-92.1.0}
repository=https://prometheus-community.github.io/helm-charts
release=kube-prometheus-stack
namespace=monitoring
storage=
with_prometheus=yes
dry_run=no

while [ $# -gt 0 ]; do
  case $1 in
    --release | --namespace | --storage)
      [ $# -ge 2 ] || misuse "$1 needs a value"
      case $1 in
        --release) release=$2 ;;
        --namespace) namespace=$2 ;;
        --storage) storage=$2 ;;
      esac
      shift ;;
    --without-prometheus) with_prometheus=no ;;
    --dry-run) dry_run=yes ;;
    --help) usage; exit 0 ;;
    *) misuse "\"$1\" is no flag of this command" ;;
  esac
  shift
done
for name in "$release" "$namespace"; do
  case $name in
    '' | *[!-a-z0-9]* | -* | *-) misuse "\"$name\" is no name; write lower-case letters, digits and dashes" ;;
  esac
done
gibibytes=${storage%Gi}
case $storage,$gibibytes in
  ,) ;;
  *,*[!0-9]* | *,0* | *, | "$gibibytes,"*) misuse "\"$storage\" is no size; write one such as 50Gi" ;;
esac

# Everything that can be wrong is found before anything is changed.
need() { command -v "$1" > /dev/null || fail "$1 is not there; install it ($2)"; }
may() {
  [ "$(kubectl auth can-i "$@" 2> /dev/null || true)" = yes ] ||
    fail "you may not $*; ask an administrator of the cluster for that right, or to run this"
}
check() {
  need kubectl https://kubernetes.io/docs/tasks/tools/
  kubectl version > /dev/null 2>&1 ||
    fail "no cluster can be reached; \`kubectl version\` says why, \`kubectl config get-contexts\` which there are"
  may create configmaps --namespace "$namespace"
  if [ $with_prometheus = no ]; then
    kubectl get crd podmonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com > /dev/null 2>&1 ||
      fail "the cluster knows no PodMonitor; leave out --without-prometheus, or install the prometheus-operator"
    may create podmonitors.monitoring.coreos.com --namespace "$namespace"
    may create prometheusrules.monitoring.coreos.com --namespace "$namespace"
    return
  fi
  need helm https://helm.sh/docs/intro/install/
  helm upgrade --help | grep -q -e --reset-then-reuse-values ||
    fail "helm is too old; install 3.14 or later (https://helm.sh)"
  releases=$(helm list --namespace "$namespace" --filter "^$release\$" --short) ||
    fail "helm cannot say whether the release is there; what it said stands above"
  may create namespaces
  may create customresourcedefinitions.apiextensions.k8s.io
  may create clusterroles.rbac.authorization.k8s.io
  may create secrets --namespace "$namespace"
}

run() {
  if [ $dry_run = yes ]; then say "would run: $*"; else "$@"; fi
}

# `printf` is the shell's own, and kubectl reads its standard input: the password is in no list of processes. `create`
# leaves no copy of it in an annotation, as `apply` would.
password() {
  if kubectl get secret scoretap-grafana --namespace "$namespace" > /dev/null 2>&1; then
    say "Grafana's password is there already, and stays"
  elif [ $dry_run = yes ]; then
    say "would run: kubectl create --namespace $namespace --filename - (a Secret with a new password for Grafana)"
  else
    generated=$(LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 32)
    [ ${#generated} -eq 32 ] || fail "/dev/urandom gave no password; is it there?"
    printf '%s\n' "apiVersion: v1" "kind: Secret" "metadata: {name: scoretap-grafana}" \
      "stringData: {admin-user: admin, admin-password: \"$generated\"}" |
      kubectl create --namespace "$namespace" --filename - > /dev/null
    say "Grafana has a new password, in the Secret scoretap-grafana"
  fi
}

# What is shipped names the default release and namespace.
apply() {
  if [ $dry_run = yes ]; then
    say "would run: kubectl apply --namespace $namespace --filename - (k8s/$1)"
    return
  fi
  objects=$(kubectl kustomize "$here/$1")
  printf '%s\n' "$objects" |
    sed -e "s/^\( *release\): kube-prometheus-stack\$/\1: $release/" \
      -e "s/^  namespace: monitoring\$/  namespace: $namespace/" |
    kubectl apply --namespace "$namespace" --filename -
}

check
if [ $with_prometheus = yes ]; then
  kubectl get namespace "$namespace" > /dev/null 2>&1 || run kubectl create namespace "$namespace"
  password
  set -- --values "$here/values/kube-prometheus-stack.yaml"
  # In a release that is there these would take the place of what was set before, and history would be deleted.
  [ -n "$releases" ] || set -- "$@" --values "$here/values/new-release.yaml"
  if [ -n "$storage" ]; then
    spec=prometheus.prometheusSpec
    claim=$spec.storageSpec.volumeClaimTemplate.spec
    set -- "$@" --set "$claim.accessModes[0]=ReadWriteOnce" --set "$claim.resources.requests.storage=$storage"
    # Prometheus deletes what is oldest before its volume is full.
    set -- "$@" --set "$spec.retentionSize=$((gibibytes * 9 * 1024 / 10))MiB"
  fi
  run helm upgrade --install "$release" kube-prometheus-stack --repo "$repository" --version "$chart_version" \
    --namespace "$namespace" --reset-then-reuse-values "$@" --wait --timeout 10m
fi
apply monitors/kube-prometheus-stack
apply rules/operator
apply dashboards/configmaps
[ $dry_run = no ] || exit 0
say "" "Next: k8s/scoretap.sh deploy puts the injector there, k8s/scoretap.sh doctor looks whether all is well."
