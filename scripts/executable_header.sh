#!/bin/sh
# gprofiler, with a Python of its own: this file unpacks itself once, then becomes the program in that folder.
# Where to: GPROFILER_UNPACK_DIR, else /var/lib/gprofiler/program for root, else ~/.cache/gprofiler/program.
set -eu

# A token on the command line is seen by every user of the host: it goes into the environment before anything else.
case " $* " in
*" --token"*)
  if [ -z "${GPROFILER_TOKEN_TAKEN:-}" ]; then
    number=$#
    while [ "$number" -gt 0 ]; do
      word=$1
      shift
      number=$((number - 1))
      case "$word" in
      --token)
        if [ "$number" -gt 0 ]; then
          export GPROFILER_TOKEN="$1"
          shift
          number=$((number - 1))
        else
          set -- "$@" "$word"
        fi
        ;;
      --token=*) export GPROFILER_TOKEN="${word#--token=}" ;;
      *) set -- "$@" "$word" ;;
      esac
    done
    export GPROFILER_TOKEN_TAKEN=1
    exec "$0" "$@"
  fi
  ;;
esac
unset GPROFILER_TOKEN_TAKEN

user=$(id -u)
if [ -n "${GPROFILER_UNPACK_DIR:-}" ]; then
  home=$GPROFILER_UNPACK_DIR
elif [ "$user" = 0 ]; then
  home=/var/lib/gprofiler/program
else
  home=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/gprofiler/program
fi
program=$home/gprofiler-@DIGEST@

give_up() {
  echo "gprofiler: $1" >&2
  echo "gprofiler: name a folder of your own on a disk that may run programs: GPROFILER_UNPACK_DIR=/path $0 ..." >&2
  exit 1
}

if [ ! -x "$program/gprofiler" ]; then
  (umask 077 && mkdir -p "$home") || give_up "$home cannot be made"
  fresh=$(mktemp -d "$home/.unpacking-XXXXXX") || give_up "$home cannot be written to"
  trap 'rm -rf "$fresh"' EXIT
  tail -n +@LINES@ "$0" | gzip -dc | tar -xf - -C "$fresh" || give_up "it cannot be unpacked in $home: is the disk full?"
  # Two that start at once both unpack; the second finds the first's.
  mv -T "$fresh" "$program" 2>/dev/null || [ -x "$program/gprofiler" ] || give_up "it cannot be unpacked in $home"
  rm -rf "$fresh"
  trap - EXIT
  "$program/gprofiler" --version >/dev/null || give_up "$program/gprofiler cannot be run"
fi
# Somebody else's folder could hold somebody else's program.
[ "$(stat -c %u "$program")" = "$user" ] && [ "$(stat -c %u "$home")" = "$user" ] || give_up "$home belongs to another user"
exec "$program/gprofiler" "$@"
