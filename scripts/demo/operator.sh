# shellcheck shell=bash
# The operator as a process on this machine, with nothing but what a pod would have: a token of its
# ServiceAccount, the cluster's CA, the API server's address. Sourced by ../demo.sh.
# Must never hand it the user's or an admin's credentials.

RENEWAL=1200 # seconds after which an hour's token is replaced, as the kubelet would
OPERATOR_PID=''

start_operator() {
  local port
  (umask 077 && mkdir "$WORK/service-account")
  cp "$WORK/ca.crt" "$WORK/service-account/ca.crt"
  renew_token || die "no token for the operator: $(tail -n 1 "$WORK/error")"
  while port=$(random_port) && connects "$port"; do :; done
  KUBERNETES_SERVICE_HOST=$API_HOST KUBERNETES_SERVICE_PORT=$API_PORT "$OPERATOR" \
    --service-account "$WORK/service-account" --telemetry-address "127.0.0.1:$port" \
    </dev/null >"$WORK/operator.log" 2>&1 9>&- &
  OPERATOR_PID=$!
  say "the operator runs: process $OPERATOR_PID, with a token of its ServiceAccount; metrics on http://127.0.0.1:$port/metrics"
}

# The new token is there at once or not at all.
renew_token() {
  kube create token inference-operator -n inference-operator --duration 1h >"$WORK/token" 2>"$WORK/error" || return
  mv "$WORK/token" "$WORK/service-account/token"
  RENEW_AT=$((SECONDS + RENEWAL))
}

# Called again and again. A token that cannot be renewed now is tried again in a minute.
look_after_operator() {
  kill -0 "$OPERATOR_PID" 2>/dev/null || die "the operator ended by itself; the end of its log:"$'\n'"$(tail -n 5 "$WORK/operator.log")"
  [ "$SECONDS" -lt "$RENEW_AT" ] || renew_token || RENEW_AT=$((SECONDS + 60))
}

tell_memory() {
  local peak
  peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$OPERATOR_PID/status" 2>/dev/null) || true
  echo "The operator's memory: $(mib "$(kib_of "$OPERATOR_PID")") MiB resident${peak:+, $(mib "$peak") MiB at its peak} (process $OPERATOR_PID)."
}

mib() { awk -v kib="$1" 'BEGIN { printf "%.1f", kib / 1024 }'; }

stop_operator() {
  [ -n "$OPERATOR_PID" ] || return 0
  kill -TERM "$OPERATOR_PID" 2>/dev/null || true
  wait "$OPERATOR_PID" 2>/dev/null || true
}
