#!/usr/bin/env bash
# Builds the agent's image for aarch64; what follows goes to `docker build`: ./scripts/build_aarch64_container.sh -t gprofiler
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/build_container.sh" linux/arm64 "$@"
