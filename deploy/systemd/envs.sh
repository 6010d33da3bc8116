# shellcheck shell=sh disable=SC2034
# Settings of gprofiler: /opt/gprofiler/envs.sh, of root alone (chmod 600). Read by systemd, and by a shell that sources it.
# Each option of `gprofiler --help` has a variable: --heartbeat-interval is GPROFILER_HEARTBEAT_INTERVAL.
GPROFILER_SERVICE="your-service-name"
GPROFILER_SERVER="https://performance-studio.example:8000"
# The token: better in a file of root's alone than here.
GPROFILER_TOKEN_FILE="/etc/gprofiler/token"
# GPROFILER_TOKEN="my_token"
# GPROFILER_CA_BUNDLE="/etc/gprofiler/ca.pem"
# GPROFILER_CPU_BUDGET="100"
