# shellcheck shell=bash
# The parts of a control plane: how each is started, how one knows that it serves, in which order.
# Sourced by ../cluster.sh. Must never have a part listen anywhere but on 127.0.0.1, unless --address says so.

# In the order of starting. They are ended the other way round: clients, API server, datastore.
ALL_PARTS=(datastore apiserver controller-manager scheduler kwok)

# The parts this cluster has: all but those it was told to do without.
parts() {
  local part
  for part in "${ALL_PARTS[@]}"; do
    ! has "$part" || echo "$part"
  done
}

has() { [[ " ${ALL_PARTS[*]} " == *" $1 "* && ",$WITHOUT," != *",$1,"* ]]; }

address_of() {
  case $1 in
    datastore) echo "http://127.0.0.1:$DATASTORE_PORT" ;;
    apiserver) echo "https://127.0.0.1:$APISERVER_PORT" ;;
    controller-manager) echo "https://127.0.0.1:$CONTROLLER_MANAGER_PORT" ;;
    scheduler) echo "https://127.0.0.1:$SCHEDULER_PORT" ;;
    kwok) echo "http://127.0.0.1:$KWOK_PORT" ;;
  esac
}

start_datastore() {
  mkdir -p "$DIR/data"
  if [ "$DATASTORE" = kine ]; then
    start_process datastore "$KINE_BIN/kine" --listen-address "127.0.0.1:$DATASTORE_PORT" --metrics-bind-address 0 \
      --endpoint "sqlite://$DIR/data/kine.db?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"
  else
    # Without fsync: a test cluster's data need not outlive the machine.
    start_process datastore "$ETCD_BIN/etcd" --name "$NAME" --data-dir "$DIR/data" --unsafe-no-fsync \
      --quota-backend-bytes 8589934592 --log-level warn \
      --listen-client-urls "http://127.0.0.1:$DATASTORE_PORT" --advertise-client-urls "http://127.0.0.1:$DATASTORE_PORT" \
      --listen-peer-urls "http://127.0.0.1:$PEER_PORT" --initial-advertise-peer-urls "http://127.0.0.1:$PEER_PORT" \
      --initial-cluster "$NAME=http://127.0.0.1:$PEER_PORT"
  fi
}

# A bench counts the operator's requests; those of the control plane are most, and cost it its time.
audit_policy() {
  cat <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
END
  [ "$BENCH" = no ] || echo '  users: ["system:serviceaccount:inference-operator:inference-operator"]'
}

start_apiserver() {
  local options=() issuer=${ISSUER:-https://kubernetes.default.svc.cluster.local}
  [ -z "$FEATURE_GATES" ] || options+=("--feature-gates=$FEATURE_GATES")
  [ "$BENCH" = no ] || options+=(--max-requests-inflight=0 --max-mutating-requests-inflight=0 --enable-priority-and-fairness=false)
  if [ -n "$ADDRESS" ]; then
    options+=(--bind-address=0.0.0.0 "--advertise-address=$ADDRESS" --kubelet-preferred-address-types=InternalIP
      --kubelet-certificate-authority="$DIR/pki/ca.crt"
      --kubelet-client-certificate="$DIR/pki/admin.crt" --kubelet-client-key="$DIR/pki/admin.key")
  else
    # The kubernetes Service has no endpoints then, because they may not be loopback addresses.
    options+=(--bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none)
  fi
  audit_policy >"$DIR/audit-policy.yaml"
  # Issuer and audiences as k3s has them, where nothing else was chosen.
  start_process apiserver "$KUBERNETES_BIN/kube-apiserver" --secure-port="$APISERVER_PORT" \
    --etcd-servers="http://127.0.0.1:$DATASTORE_PORT" \
    --tls-cert-file="$DIR/pki/apiserver.crt" --tls-private-key-file="$DIR/pki/apiserver.key" --client-ca-file="$DIR/pki/ca.crt" \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=10.0.0.0/12 --event-ttl=1h \
    --service-account-issuer="$issuer" --api-audiences="${ISSUER:-$issuer,k3s}" \
    --service-account-signing-key-file="$DIR/pki/service-account.key" --service-account-key-file="$DIR/pki/service-account.pub" \
    --audit-policy-file="$DIR/audit-policy.yaml" --audit-log-path="$DIR/audit.log" --audit-log-format=json \
    --audit-log-mode=blocking --audit-log-maxsize=0 "${options[@]}"
}

# Alone, it has nobody to elect; and it works for thousands of objects, not for a quiet cluster. In a
# bench it does what InferenceServices wait for: no operator looks at endpoints, and nothing is deleted.
start_controller-manager() {
  local options=()
  [ "$BENCH" = no ] ||
    options+=("--controllers=node-lifecycle-controller,deployment-controller,replicaset-controller,namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller")
  start_process controller-manager "$KUBERNETES_BIN/kube-controller-manager" \
    --kubeconfig="$DIR/pki/controller-manager.kubeconfig" --leader-elect=false --use-service-account-credentials \
    --root-ca-file="$DIR/pki/ca.crt" --service-account-private-key-file="$DIR/pki/service-account.key" \
    --bind-address=127.0.0.1 --secure-port="$CONTROLLER_MANAGER_PORT" \
    --tls-cert-file="$DIR/pki/apiserver.crt" --tls-private-key-file="$DIR/pki/apiserver.key" \
    --kube-api-qps=500 --kube-api-burst=1000 \
    --concurrent-deployment-syncs=50 --concurrent-replicaset-syncs=50 --concurrent-service-endpoint-syncs=20 \
    --concurrent-endpoint-syncs=20 --concurrent-gc-syncs=50 --concurrent-namespace-syncs=20 "${options[@]}"
}

start_scheduler() {
  start_process scheduler "$KUBERNETES_BIN/kube-scheduler" \
    --kubeconfig="$DIR/pki/scheduler.kubeconfig" --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000 \
    --bind-address=127.0.0.1 --secure-port="$SCHEDULER_PORT" \
    --tls-cert-file="$DIR/pki/apiserver.crt" --tls-private-key-file="$DIR/pki/apiserver.key"
}

start_kwok() {
  local stage options=()
  for stage in "$KWOK_BIN"/stages/*.yaml; do options+=("--config=$stage"); done
  start_process kwok "$KWOK_BIN/kwok" --kubeconfig="$DIR/kubeconfig" --manage-all-nodes=true \
    --node-lease-duration-seconds=40 --server-address="127.0.0.1:$KWOK_PORT" --node-ip=127.0.0.1 --cidr=10.128.0.1/9 "${options[@]}"
}

# kubectl as the cluster's admin. Its cache of the API's kinds lives and dies with the cluster.
kubectl() { "$KUBECTL" --kubeconfig "$DIR/kubeconfig" --cache-dir "$DIR/kubectl-cache" --request-timeout 5s "$@"; }

# serves PART: does it answer that it is ready? kine speaks only etcd's protocol: connecting must do.
serves() {
  local path=/healthz
  case $1 in
    datastore)
      connects "$DATASTORE_PORT"
      return
      ;;
    apiserver) path=/readyz ;;
  esac
  kubectl --server "$(address_of "$1")" get --raw "$path" >/dev/null 2>&1
}

# start_part PART: returns when it serves; 1 when it ended, or did not serve within 90 s.
start_part() { begin_part "$1" && wait_until_serving "$1"; }

# Who listens on the port already would be taken for the part, and one cluster would write into another.
begin_part() {
  local log=$DIR/logs/$1.log address attempt
  address=$(address_of "$1")
  [ ! -s "$log" ] || mv "$log" "$log.before"
  # One that was killed just now keeps its port for a moment longer than its name.
  for attempt in {1..20}; do
    connects "${address##*:}" || break
    [ "$attempt" = 20 ] || sleep 0.1
  done
  if connects "${address##*:}"; then
    echo "Error: address already in use: ${address#*//}" >"$log"
    return 1
  fi
  "start_$1"
}

wait_until_serving() {
  local end=$((SECONDS + 90))
  until serves "$1"; do
    is_running "$1" || return 1
    if [ "$SECONDS" -ge "$end" ]; then
      echo "Error: it runs, but did not answer within 90 s" >>"$DIR/logs/$1.log"
      return 1
    fi
    sleep 0.1
  done
  is_running "$1"
}

# The other way round, and each waited for, so that no part loses what it depends on while it ends.
stop_all() {
  local part reversed=
  for part in "${ALL_PARTS[@]}"; do reversed="$part $reversed"; done
  for part in $reversed; do stop_process "$part"; done
}
