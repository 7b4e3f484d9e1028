#!/usr/bin/env bash
# Builds the image by buildah, without a Docker engine and without privileges beyond chroot's: scripts/build-image.sh [IMAGE]
#   IMAGE    name and tag (default ragents-mesh:dev); skaffold sets it
#   BASE     the Node image to build on (default: the Dockerfile's)
#   NPMRC    a file of npm settings for the time of the build, e.g. of a private registry
#   CA_DIR   a folder of CA certificates for the time of the build, mounted at /etc/ssl/certs
#   DIST_OWNER  the number of the user to whom the code belongs (default 0): 10001 for skaffold's file synchronisation
#   PACKAGES    packages beside those that the programs import (see the Dockerfile), e.g. "onnxruntime-node onnxruntime-common"
#   LOAD     a command that brings the image to the cluster, run with the image's name, e.g. "minikube image load"
set -euo pipefail
cd "$(dirname "$0")/.."
image=${1:-${IMAGE:-ragents-mesh:dev}}
version=$(node -p 'require("./package.json").version')
revision=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
options=(--layers --isolation chroot --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
[ -z "${BASE:-}" ] || options+=(--build-arg "BASE=$BASE")
[ -z "${DIST_OWNER:-}" ] || options+=(--build-arg "DIST_OWNER=$DIST_OWNER")
[ -z "${PACKAGES:-}" ] || options+=(--build-arg "PACKAGES=$PACKAGES")
[ -z "${NPMRC:-}" ] || options+=(--secret "id=npmrc,src=$NPMRC")
[ -z "${CA_DIR:-}" ] || options+=(--volume "$CA_DIR:/etc/ssl/certs:ro")
buildah bud "${options[@]}" --tag "$image" .
if [ -n "${LOAD:-}" ]; then $LOAD "$image"; fi
