#!/usr/bin/env bash
# Builds build/x86_64/gprofiler: the agent as one file that needs no Python. --fast: for development.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/build_executable.py" x86_64 "$@"
