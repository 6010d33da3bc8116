#!/usr/bin/env bash
# Builds the agent's image: scripts/build_container.sh PLATFORM [OPTIONS OF docker build]. Needs Docker, or podman.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

platform=$1
shift
for engine in docker podman; do
  if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
    exec "$engine" build --platform "$platform" --target agent --build-arg EXTRA=agent "$@" .
  fi
done
{
  echo "build_container: no container engine answers: the image is built by Docker or podman."
  if command -v docker >/dev/null; then
    echo "build_container: docker is installed; is its daemon running, and may this user speak to it? Try: docker info"
  fi
  echo "build_container: without one, ./scripts/build_x86_64_executable.sh makes one file that needs no container."
} >&2
exit 1
