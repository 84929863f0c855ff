# shellcheck shell=bash
# The operator as a process on this machine, with nothing but what a pod would have: a token of its
# ServiceAccount, the cluster's CA, the API server's address. Sourced by ../demo.sh.
# Must never hand it the user's or an admin's credentials.

RENEWAL=1200 # seconds after which an hour's token is replaced, as the kubelet would
OPERATOR_PID=''

build_process() {
  need_cc "to link Rust programs"
  need_rust "to build the operator"
  say "building the operator as it ships: about 3 minutes on 2 cores where nothing is built yet"
  OPERATOR=$(build_operator 9>&-) || die "the operator could not be built: see above"
}

start_process() {
  local port
  install_manifests
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

install_manifests() {
  say "installing the namespace, the CRD and the rights of the operator: k3s-manifests/{namespace,crd,rbac}.yaml"
  kube apply -f k3s-manifests/namespace.yaml -f k3s-manifests/crd.yaml -f k3s-manifests/rbac.yaml
  until_established "$CRD" >/dev/null
}

# The new token is there at once or not at all.
renew_token() {
  kube create token inference-operator -n inference-operator --duration 1h >"$WORK/token" 2>"$WORK/error" || return
  mv "$WORK/token" "$WORK/service-account/token"
  RENEW_AT=$((SECONDS + RENEWAL))
}

# Called again and again. A token that cannot be renewed now is tried again in a minute.
look_after_process() {
  kill -0 "$OPERATOR_PID" 2>/dev/null || die "the operator ended by itself; the end of its log:"$'\n'"$(tail -n 5 "$WORK/operator.log")"
  [ "$SECONDS" -lt "$RENEW_AT" ] || renew_token || RENEW_AT=$((SECONDS + 60))
}

tell_memory_of_process() {
  local peak
  peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$OPERATOR_PID/status" 2>/dev/null) || true
  echo "The operator's memory: $(mib "$(kib_of "$OPERATOR_PID")") MiB resident${peak:+, $(mib "$peak") MiB at its peak} (process $OPERATOR_PID)."
}

log_of_process() { echo "tail -f $WORK/operator.log"; }

stop_process() {
  [ -n "$OPERATOR_PID" ] || return 0
  kill -TERM "$OPERATOR_PID" 2>/dev/null || true
  wait "$OPERATOR_PID" 2>/dev/null || true
}
