#!/bin/sh
# Prints the manifest by which krew, kubectl's plugin manager, installs the command line.
#
#   krew.sh OWNER/REPOSITORY TAG FOLDER      FOLDER holds scoretap_OS_ARCH.tar.gz
set -eu

repository=$1 tag=$2 folder=$3

cat << END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: scoretap
spec:
  version: $tag
  homepage: https://github.com/$repository
  shortDescription: Measure ML inference from the sidecar
  description: |
    Installs Scoretap, checks what stands in its way, and shows calls, outcomes and latency of each model live.
  platforms:
END
for archive in "$folder"/scoretap_*.tar.gz; do
  platform=${archive##*/scoretap_}
  os=${platform%%_*}
  arch=${platform#*_}
  arch=${arch%.tar.gz}
  program=scoretap
  [ "$os" = windows ] && program=scoretap.exe
  sha256=$(sha256sum "$archive")
  cat << END
  - uri: https://github.com/$repository/releases/download/$tag/${archive##*/}
    sha256: ${sha256%% *}
    bin: $program
    selector:
      matchLabels: {os: $os, arch: $arch}
END
done
