#!/usr/bin/env bash
# Builds the agent's image for x86_64; what follows goes to `docker build`: ./scripts/build_x86_64_container.sh -t gprofiler
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/build_container.sh" linux/amd64 "$@"
