#!/usr/bin/env pwsh
# Installs what Scoretap's numbers go to: kube-prometheus-stack by Helm, then our monitors, rules and dashboards.
# The same as k8s/install.sh, step by step; a test compares their commands.
[CmdletBinding()]
param(
    [string]$Release = 'kube-prometheus-stack',
    [string]$Namespace = 'monitoring',
    [string]$Storage = '',
    [switch]$WithoutPrometheus,
    [switch]$DryRun,
    [switch]$Help
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
# Exit codes of kubectl and helm are looked at here, and some of them are answers.
$PSNativeCommandUseErrorActionPreference = $false
# Windows PowerShell would make question marks of what is not ASCII, on the way to kubectl.
$OutputEncoding = [Console]::OutputEncoding = [System.Text.UTF8Encoding]::new($false)

$Usage = @'
Usage: k8s/install.ps1 [FLAG…]

Installs Prometheus, Alertmanager and Grafana (Helm chart kube-prometheus-stack), and Scoretap's monitors, rules and
dashboards. Run it again to upgrade: Grafana's password and what was set before stay as they are.

  -Release NAME           Helm release, and the label by which Prometheus selects (kube-prometheus-stack)
  -Namespace NAME         namespace of it all (monitoring)
  -Storage SIZE           keep Prometheus' data in a volume, such as 50Gi (otherwise it is lost with the pod)
  -WithoutPrometheus      monitors, rules and dashboards alone, for a Prometheus that is there
  -DryRun                 check, and say what would be done
  -Help                   this

CHART_VERSION chooses another version of the chart.
'@

function Fail([string]$Message) { [Console]::Error.WriteLine("install.ps1: $Message"); exit 1 }
function Misuse([string]$Message) { [Console]::Error.WriteLine("install.ps1: $Message`n`n$Usage"); exit 2 }

if ($Help) { Write-Output $Usage; exit 0 }
$ChartVersion = if ($env:CHART_VERSION) { $env:CHART_VERSION } else { '92.1.0' }
$Repository = 'https://prometheus-community.github.io/helm-charts'
foreach ($Name in $Release, $Namespace) {
    if ($Name -cnotmatch '\A[a-z0-9]([-a-z0-9]*[a-z0-9])?\z') {
        Misuse "`"$Name`" is no name; write lower-case letters, digits and dashes"
    }
}
if ($Storage -and $Storage -cnotmatch '\A[1-9][0-9]*Gi\z') { Misuse "`"$Storage`" is no size; write one such as 50Gi" }

# Everything that can be wrong is found before anything is changed.
function Need([string]$Program, [string]$Address) {
    if (Get-Command $Program -ErrorAction SilentlyContinue) { return }
    Fail "$Program is not there; install it ($Address)"
}
# Whether the last command succeeded is asked here, because PowerShell goes on after one that did not.
function Succeed([string]$What) { if ($LASTEXITCODE -ne 0) { Fail "$What failed; what it said stands above" } }
function May([string[]]$Right) {
    if ((kubectl auth can-i $Right) -ne 'yes') {
        Fail "you may not $Right; ask an administrator of the cluster for that right, or to run this"
    }
}
function Test-Everything {
    Need kubectl 'https://kubernetes.io/docs/tasks/tools/'
    kubectl version | Out-Null
    if ($LASTEXITCODE -ne 0) {
        Fail 'no cluster can be reached; `kubectl version` says why, `kubectl config get-contexts` which there are'
    }
    May @('create', 'configmaps', '--namespace', $Namespace)
    if ($WithoutPrometheus) {
        kubectl get crd podmonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com | Out-Null
        if ($LASTEXITCODE -ne 0) {
            Fail 'the cluster knows no PodMonitor; leave out -WithoutPrometheus, or install the prometheus-operator'
        }
        May @('create', 'podmonitors.monitoring.coreos.com', '--namespace', $Namespace)
        May @('create', 'prometheusrules.monitoring.coreos.com', '--namespace', $Namespace)
        return
    }
    Need helm 'https://helm.sh/docs/intro/install/'
    if (-not (helm upgrade --help | Select-String -Pattern '--reset-then-reuse-values' -SimpleMatch -Quiet)) {
        Fail 'helm is too old; install 3.14 or later (https://helm.sh)'
    }
    $script:Releases = helm list --namespace $Namespace --filter "^$Release`$" --short
    Succeed 'helm list'
    May @('create', 'namespaces')
    May @('create', 'customresourcedefinitions.apiextensions.k8s.io')
    May @('create', 'clusterroles.rbac.authorization.k8s.io')
    May @('create', 'secrets', '--namespace', $Namespace)
}

# kubectl reads its standard input: the password is in no list of processes. `create` leaves no copy of it in an
# annotation, as `apply` would.
function Add-Password {
    kubectl get secret scoretap-grafana --namespace $Namespace | Out-Null
    if ($LASTEXITCODE -eq 0) { return "Grafana's password is there already, and stays" }
    if ($DryRun) {
        return "would run: kubectl create --namespace $Namespace --filename - (a Secret, a new password for Grafana)"
    }
    $Bytes = [byte[]]::new(16)
    [System.Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($Bytes)
    $Generated = -join ($Bytes | ForEach-Object { $_.ToString('x2') })
    @(
        'apiVersion: v1', 'kind: Secret', 'metadata: {name: scoretap-grafana}',
        "stringData: {admin-user: admin, admin-password: `"$Generated`"}"
    ) | kubectl create --namespace $Namespace --filename '-' | Out-Null
    Succeed 'kubectl create'
    'Grafana has a new password, in the Secret scoretap-grafana'
}

# What is shipped names the default release and namespace.
function Add-Objects([string]$Folder) {
    if ($DryRun) { return "would run: kubectl apply --namespace $Namespace --filename - (k8s/$Folder)" }
    $Objects = kubectl kustomize "$PSScriptRoot/$Folder"
    Succeed 'kubectl kustomize'
    $Objects = $Objects -creplace '^( *release): kube-prometheus-stack$', "`$1: $Release"
    $Objects = $Objects -creplace '^  namespace: monitoring$', "  namespace: $Namespace"
    $Objects | kubectl apply --namespace $Namespace --filename '-'
    Succeed 'kubectl apply'
}

Test-Everything
if (-not $WithoutPrometheus) {
    kubectl get namespace $Namespace | Out-Null
    if ($LASTEXITCODE -ne 0) {
        if ($DryRun) { "would run: kubectl create namespace $Namespace" }
        else { kubectl create namespace $Namespace; Succeed 'kubectl create' }
    }
    Add-Password
    $Values = @('--values', "$PSScriptRoot/values/kube-prometheus-stack.yaml")
    # In a release that is there these would take the place of what was set before, and history would be deleted.
    if (-not $Releases) { $Values += @('--values', "$PSScriptRoot/values/new-release.yaml") }
    if ($Storage) {
        $Spec = 'prometheus.prometheusSpec'
        $Claim = "$Spec.storageSpec.volumeClaimTemplate.spec"
        $Values += @('--set', "$Claim.accessModes[0]=ReadWriteOnce")
        $Values += @('--set', "$Claim.resources.requests.storage=$Storage")
        # Prometheus deletes what is oldest before its volume is full.
        $Mebibytes = [Math]::Floor([long]($Storage -replace 'Gi$') * 9 * 1024 / 10)
        $Values += @('--set', "$Spec.retentionSize=$($Mebibytes)MiB")
    }
    if ($DryRun) { "would run: helm upgrade --install $Release kube-prometheus-stack --version $ChartVersion $Values" }
    else {
        helm upgrade --install $Release kube-prometheus-stack --repo $Repository --version $ChartVersion `
            --namespace $Namespace --reset-then-reuse-values @Values --wait --timeout 10m
        Succeed 'helm upgrade'
    }
}
Add-Objects 'monitors/kube-prometheus-stack'
Add-Objects 'rules/operator'
Add-Objects 'dashboards/configmaps'
if (-not $DryRun) {
    ''
    'Next: k8s/scoretap.sh deploy puts the injector there, k8s/scoretap.sh doctor looks whether all is well.'
}
