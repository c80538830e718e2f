#!/bin/sh
# Pins the images of others (bases.txt) to what their tags are today: writes the digests there and wherever an image is
# named. Again, to move on. Afterwards `cargo xtask package`, because the injector's default is among them.
set -eu

case $* in
  '') ;;
  --help)
    echo "Usage: k8s/images/pin.sh"
    echo "Writes the digest of each image in k8s/images/bases.txt there and wherever it is named in k8s and"
    echo "examples/compose. It needs crane, skopeo or docker. Afterwards: cargo xtask package"
    exit 0 ;;
  *) echo "pin.sh: it takes no arguments but --help, and \"$*\" was given" >&2 && exit 2 ;;
esac

root=$(cd "$(dirname "$0")/../.." && pwd)
list=$root/k8s/images/bases.txt

digest_of() {
  if command -v crane > /dev/null; then
    crane digest "$1"
  elif command -v skopeo > /dev/null; then
    skopeo inspect --no-tags --format '{{.Digest}}' "docker://$1"
  elif command -v docker > /dev/null; then
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
  else
    echo "pin.sh: nobody here can ask a registry; install crane, skopeo or docker" >&2
    return 1
  fi
}

# All are asked before anything is written: half of them pinned would be worse than none.
pins=$(
  grep -v '^#' "$list" | while read -r image; do
    tag=${image%%@*}
    digest=$(digest_of "$tag")
    case $digest in
      sha256:*) echo "$image $tag@$digest" ;;
      *) echo "pin.sh: $tag: \"$digest\" is no digest; is the tag still there?" >&2 && exit 1 ;;
    esac
  done
)
echo "$pins" | while read -r image pinned; do
  # Bytes in the pattern stand for themselves.
  pattern=$(echo "$image" | sed 's/[.]/[.]/g')
  grep -rlF --exclude-dir=target -- "$image" "$root/k8s" "$root/examples/compose" | while read -r file; do
    sed "s|$pattern|$pinned|g" "$file" > "$file.pinned"
    # Into the file that is there, which keeps its mode.
    cat "$file.pinned" > "$file"
    rm "$file.pinned"
  done
  echo "$pinned"
done
