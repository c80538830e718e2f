#!/bin/sh
# Writes the overlay of one more tenant: k8s/tenants/new.sh tenant-c && kubectl apply -k k8s/tenants/tenant-c
set -eu

usage() {
  echo "Usage: k8s/tenants/new.sh NAME [FOLDER]"
  echo "Writes FOLDER/NAME/kustomization.yaml, the overlay of a tenant whose namespace is NAME. FOLDER is k8s/tenants;"
  echo "another gets a copy of what the overlay stands on, base and open, where it has none."
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
here=$(dirname "$0")
folder=${2:-$here}
if [ "$name" = base ] || [ "$name" = open ] || [ -e "$folder/$name" ]; then
  echo "new.sh: $folder/$name is there already; choose another name, or remove it" >&2
  exit 1
fi
mkdir "$folder/$name"
for part in base open; do
  [ -e "$folder/$part" ] || cp -R "$here/$part" "$folder/$part"
done
sed "s/tenant-a/$name/" "$here/tenant-a/kustomization.yaml" > "$folder/$name/kustomization.yaml"
echo "$folder/$name"
