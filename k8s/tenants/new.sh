#!/bin/sh
# Writes the overlay of one more tenant: k8s/tenants/new.sh tenant-c && kubectl apply -k k8s/tenants/tenant-c
set -eu

usage() {
  echo "Usage: k8s/tenants/new.sh NAME [FOLDER]"
  echo "Writes FOLDER/NAME/kustomization.yaml, the overlay of a tenant whose namespace is NAME. FOLDER is k8s/tenants."
}

name=${1:-}
if [ "$name" = --help ]; then
  usage
  exit 0
fi
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  { echo "new.sh: it takes a name, and perhaps a folder; $# arguments were given"; usage; } >&2
  exit 2
fi
case $name in
  '' | *[!-a-z0-9]* | -* | *-) valid=no ;;
  *) valid=yes ;;
esac
if [ "$valid" = no ] || [ "${#name}" -gt 63 ]; then
  echo "new.sh: \"$name\" cannot be a namespace; write 1 to 63 lower-case letters, digits and dashes, no dash first" \
    "or last" >&2
  exit 2
fi
folder=${2:-$(dirname "$0")}
if [ "$name" = base ] || [ -e "$folder/$name" ]; then
  echo "new.sh: $folder/$name is there already; choose another name, or remove it" >&2
  exit 1
fi
mkdir "$folder/$name"
sed "s/tenant-a/$name/" "$(dirname "$0")/tenant-a/kustomization.yaml" > "$folder/$name/kustomization.yaml"
echo "$folder/$name"
