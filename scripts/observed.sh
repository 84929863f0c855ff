# shellcheck shell=bash
# A control plane without controllers, the operator, and InferenceServices with replicas 0: what memory.sh and
# instructions.sh look at. Sourced by them after lib.sh; must never leave anything behind.

NAME=observed-$$
OPERATOR=''
OPERATOR_PID=''
CREATED=0
# What the operator is started with: a tool and its options.
WRAPPER=()

open_cluster() {
  local kubeconfig
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-observed.XXXXXX")
  trap clean_up EXIT
  # Without a controller-manager nothing else happens to the Deployments.
  "$HERE/cluster.sh" up --name "$NAME" --bench --without controller-manager,scheduler,kwok
  kubeconfig=$("$HERE/cluster.sh" kubeconfig --name "$NAME")
  # shellcheck disable=SC1091
  . "${kubeconfig%/*}/env"
  kube apply -f k3s-manifests/namespace.yaml -f k3s-manifests/crd.yaml -f k3s-manifests/rbac.yaml >&2
  until_established inferenceservices.ai.example.com inferencecatalogs.ai.example.com >&2
  # The API server knows of a new right a moment later. What a refusal runs would be resident too.
  until_true "the operator's rights hold" may_list
  kube create token inference-operator -n inference-operator --duration 2h >"$WORK/token"
  cp "$CA" "$WORK/ca.crt"
}

may_list() {
  local account=system:serviceaccount:inference-operator:inference-operator
  kube auth can-i list inferenceservices.ai.example.com --all-namespaces --as "$account" --quiet &&
    kube auth can-i list inferencecatalogs.ai.example.com -n inference-operator --as "$account" --quiet
}

kube() { "$KUBECTL" --cache-dir "$WORK/kubectl-cache" "$@"; }

# start_operator: until its watches are open.
start_operator() {
  PORT=$(random_port)
  KUBERNETES_SERVICE_HOST=$APISERVER_HOST KUBERNETES_SERVICE_PORT=$APISERVER_PORT "${WRAPPER[@]}" "$OPERATOR" \
    --service-account "$WORK" --telemetry-address "127.0.0.1:$PORT" </dev/null >>"$WORK/operator.log" 2>&1 &
  OPERATOR_PID=$!
  until_true "the operator is ready" ready
}

stop_operator() {
  kill -TERM "$OPERATOR_PID"
  wait "$OPERATOR_PID" || die "the operator did not end well: $(tail -n 3 "$WORK/operator.log")"
  OPERATOR_PID=''
}

# create FROM TO: those InferenceServices, until all are settled.
create() {
  local namespace number
  say "creating $(($2 - $1)) InferenceServices"
  for ((number = $1; number < $2; number++)); do
    namespace=models-$((number / 1000))
    [ $((number % 1000)) != 0 ] || printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n' "$namespace"
    printf 'apiVersion: ai.example.com/v1\nkind: InferenceService\nmetadata: {name: inference-%05d, namespace: %s}\nspec: {model: org/model-%d, gpuType: L40S, replicas: 0}\n---\n' \
      "$number" "$namespace" "$number"
  done >"$WORK/objects.yaml"
  [ "$1" = "$2" ] || kube create -f "$WORK/objects.yaml" >/dev/null
  CREATED=$2
  until_true "all are settled" settled
  sleep 15 # idle connections are closed
}

# until_true WHAT COMMAND: looks every second, for ten minutes.
until_true() {
  local end=$((SECONDS + 600))
  until "$2"; do
    kill -0 "$OPERATOR_PID" 2>/dev/null || die "the operator ended: $(tail -n 3 "$WORK/operator.log")"
    [ "$SECONDS" -lt "$end" ] || die "not within ten minutes: $1"
    sleep 1
  done
}

# metric NAME [BEFORE]: its value, as the operator tells it, after this; NAME is a pattern.
metric() {
  exec 7<>"/dev/tcp/127.0.0.1/$PORT" || return
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' /metrics >&7
  sed -n "s/^$1 /${2:-}/p" <&7
  exec 7>&-
}

ready() { connects "$PORT" && [ "$(metric 'rest_client_requests_total{method="GET",code="200"}' || echo 0)" -ge 3 ] 2>/dev/null; }

settled() {
  [ "$(metric 'inference_operator_inferenceservices{phase="Ready"}')" = "$CREATED" ] &&
    [ "$(metric 'workqueue_depth{name="inferenceservice"}')" = 0 ]
}

clean_up() {
  if [ -n "$OPERATOR_PID" ]; then
    kill -TERM "$OPERATOR_PID" 2>/dev/null || true
    wait "$OPERATOR_PID" 2>/dev/null || true
  fi
  "$HERE/cluster.sh" down --name "$NAME" || true
  rm -rf "$WORK"
}
