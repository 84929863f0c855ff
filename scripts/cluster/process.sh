# shellcheck shell=bash
# Starting, watching and ending the processes of one cluster: DIR/pids/PART, DIR/logs/PART.log.
# Sourced by ../cluster.sh. Must never signal a process that is not surely one of DIR's own.

# start_process PART PROGRAM ARGUMENT...: detached, so that it outlives the terminal and holds
# nothing open that a caller of this script may be reading to its end.
start_process() {
  local part=$1
  shift
  [ -x "$1" ] || {
    echo "no such program: $1" >>"$DIR/logs/$part.log"
    return 1
  }
  (
    cd /
    for fd in /dev/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || exec {fd}>&-
    done
    command -v setsid >/dev/null && set -- setsid "$@"
    exec "$@" </dev/null >>"$DIR/logs/$part.log" 2>&1
  ) &
  echo $! >"$DIR/pids/$part"
}

# The id of PART's process, if it runs. Ids are used again: only a process with this cluster's
# folder on its command line counts, or one that this very shell has just begun.
pid_of() {
  local pid
  pid=$(cat "$DIR/pids/$1" 2>/dev/null) && [ -n "$pid" ] || return 1
  if [[ $(command_line "$pid") == *"$DIR/"* ]] || is_own_child "$pid"; then
    echo "$pid"
  else
    return 1
  fi
}

is_running() { pid_of "$1" >/dev/null; }

# A process that has ended but was not waited for has an empty command line.
command_line() {
  if [ -d /proc/self ]; then
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true
  else
    ps -o args= -p "$1" || true
  fi
}

# No pipe into `grep -q`: that ends at the first match, and what writes to it then fails the pipe.
is_own_child() { [[ " $(jobs -rp | tr '\n' ' ')" == *" $1 "* ]]; }

mib_of() { echo "$(($(kib_of "$1") / 1024)) MiB"; }

# stop_process PART [SIGNAL]: asks, then insists, and returns when it is gone. Soon, because the API
# server and etcd would otherwise wait as long as their clients stay connected, which here do not go.
stop_process() {
  local part=$1 signal=${2:-TERM} pid end=$((SECONDS + 3))
  if pid=$(pid_of "$part"); then
    kill "-$signal" "$pid" 2>/dev/null || true
    while is_running "$part"; do
      [ "$SECONDS" -lt "$end" ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
  fi
  rm -f "$DIR/pids/$part"
}

# The line of PART's log that most likely tells why it ended, without its date and source line.
why() {
  local log=$DIR/logs/$1.log line
  line=$(grep -aE '^[EF][0-9]{4} |"level":"(error|fatal|panic)"|level=(error|fatal)|^(Error|error|panic|fatal|no such)|rror:' "$log" 2>/dev/null | tail -n 1) || true
  [ -n "$line" ] || line=$(grep -av '^[[:space:]]*$' "$log" 2>/dev/null | tail -n 1) || true
  line=$(sed -E 's/^[EFWI][0-9]{4} [^]]*\] *//; s/.*"msg":"([^"]*)".*"error":"([^"]*)".*/\1: \2/' <<<"$line")
  echo "${line:-its log is empty}"
}
