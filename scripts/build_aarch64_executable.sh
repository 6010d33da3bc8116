#!/usr/bin/env bash
# Builds build/aarch64/gprofiler: the agent as one file that needs no Python. --fast: for development.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/build_executable.py" aarch64 "$@"
