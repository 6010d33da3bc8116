#!/usr/bin/env bash
# Brings the profilers' programs for a run from source into gprofiler/resources, which `python3 -m gprofiler` adds to its
# PATH: from the agent's image where Docker has it, else from the package index.
#
#     ./scripts/copy_resources_from_image.sh [IMAGE]      IMAGE: gprofiler, as scripts/build_x86_64_container.sh -t names it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

image=${1:-gprofiler}
resources=gprofiler/resources
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$resources"

from_image() {
  local container
  docker image inspect "$image" >/dev/null 2>&1 || return 1
  container=$(docker create "$image") || return 1
  docker cp --quiet "$container:/opt/studio/bin/py-spy" "$fresh/py-spy"
  docker rm "$container" >/dev/null
  echo "py-spy: from the image $image"
}

from_index() {
  # The version and the hashes of requirements.txt, and nothing else of it.
  awk '/^py-spy==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.txt >"$fresh/requirements.txt"
  python3 -m pip --disable-pip-version-check --no-input install --quiet --root-user-action ignore --no-deps --only-binary :all: \
    --require-hashes --target "$fresh/package" -r "$fresh/requirements.txt"
  mv "$fresh/package/bin/py-spy" "$fresh/py-spy"
  echo "py-spy: from the package index (there is no Docker engine with an image named $image)"
}

from_image || from_index
chmod 755 "$fresh/py-spy"
"$fresh/py-spy" --version
mv "$fresh/py-spy" "$resources/py-spy"

if command -v perf >/dev/null; then
  echo "perf: $(command -v perf), of this host"
else
  echo "perf: is a package of the host's system, as it goes with the kernel: apt-get install linux-perf (Debian)," \
    "linux-tools-\$(uname -r) (Ubuntu), perf (Fedora)"
fi
