# shellcheck shell=bash
# The parts of a node: how each is started, and how one knows that it works.
# Sourced by inside.sh. Must never have a part use a folder outside of the node's, but for those that init hides.

# --- the container runtime ---

start_containerd() {
  local folder=$DIR/containerd
  mkdir -p "$folder" "$DIR/cni"
  cat >"$DIR/cni/10-edge.conflist" <<'END'
{
  "cniVersion": "0.4.0",
  "name": "edge",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "firewall"}
  ]
}
END
  # restrict_oom_score_adj: else every sandbox fails where CAP_SYS_RESOURCE is missing.
  cat >"$folder/config.toml" <<END
version = 2
root = "$folder/root"
state = "$folder/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI"
    conf_dir = "$DIR/cni"
END
  start_process containerd "$(command -v containerd)" --config "$folder/config.toml"
}

containerd_works() {
  local image
  runtime_ctl version >/dev/null 2>&1 || return 1
  for image in "$DIR"/images/*.tar; do
    runtime_ctl images import --all-platforms "$image" >/dev/null
  done
}

# --- the kubelet ---

start_kubelet() {
  [ -f "$CLUSTER/pki/kubelet.crt" ] || make_certificates
  : >"$DIR/resolv.conf"
  cat >"$DIR/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $CA}
authorization: {mode: Webhook}
tlsCertFile: $CLUSTER/pki/kubelet.crt
tlsPrivateKeyFile: $CLUSTER/pki/kubelet.key
containerRuntimeEndpoint: unix://$DIR/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /inference-operator-$NAME
failCgroupV1: false
failSwapOn: false
clusterDNS: [10.0.0.10]
clusterDomain: cluster.local
resolvConf: $DIR/resolv.conf
podLogsDir: $DIR/pod-logs
volumePluginDir: $DIR/volume-plugins
oomScoreAdj: 0
maxPods: 110
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
END
  start_process kubelet "$KUBELET_BIN/kubelet" --config "$DIR/kubelet.yaml" --kubeconfig "$CLUSTER/pki/kubelet.kubeconfig" \
    --root-dir "$DIR/kubelet" --cert-dir "$DIR/kubelet/pki" --hostname-override "$NODE" --node-ip "$ADDRESS"
}

# Ready, and with GPUs that a scheduler can count: they are of no use to the containers.
kubelet_works() {
  local condition='{.status.conditions[?(@.type=="Ready")].status}'
  [ "$(kube get node "$NODE" -o "jsonpath=$condition" 2>/dev/null)" = True ] || return 1
  kube label --overwrite node "$NODE" nvidia.com/gpu.product=NVIDIA-L40S >/dev/null
  kube patch node "$NODE" --subresource status --type merge -p '{"status": {"capacity": {"nvidia.com/gpu": "64"}}}' >/dev/null
}

# --- Services ---

start_kube-proxy() {
  # No conntrack values: they are the machine's.
  cat >"$DIR/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $CLUSTER/pki/kube-proxy.kubeconfig}
mode: iptables
clusterCIDR: 10.88.0.0/16
hostnameOverride: $NODE
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
END
  start_process kube-proxy "$KUBELET_BIN/kube-proxy" --config "$DIR/kube-proxy.yaml"
}

kube-proxy_works() { (: <"/dev/tcp/127.0.0.1/10256") 2>/dev/null; }

# The part that clients of the cluster's CA have in cluster/pki.sh, for those of a node.
make_certificates() (
  DIR=$CLUSTER
  # shellcheck source-path=SCRIPTDIR source=../cluster/pki.sh
  . "$HERE/cluster/pki.sh"
  {
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" "subjectAltName=DNS:$NODE,IP:$ADDRESS" &&
      certificate kube-proxy /CN=system:kube-proxy
  } >"$DIR/logs/pki-node.log" 2>&1
  kubeconfig_of kubelet >"$DIR/pki/kubelet.kubeconfig"
  kubeconfig_of kube-proxy >"$DIR/pki/kube-proxy.kubeconfig"
)

# --- names ---

start_dns() {
  kube apply -f "$HERE/node/coredns.yaml" >/dev/null
  kube rollout status deployment/coredns --namespace kube-system --timeout 60s --request-timeout 0 >/dev/null ||
    die "CoreDNS is not ready: $(kube get pods --namespace kube-system -o wide | tail -n 1)"
}

# wait_for PART: returns when it works; 1 when it ended, or did not within 60 s.
wait_for() {
  local end=$((SECONDS + 60))
  until "$1_works"; do
    is_running "$1" && [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
