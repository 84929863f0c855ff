# shellcheck shell=bash
# A power cut: what runs ends without being asked, what is not on a disk is gone.
# Sourced by inside.sh. Must never signal a process that is not surely the node's own.

crash() {
  local part pids
  # First those that would start again what is killed after them.
  for part in kubelet containerd kube-proxy; do stop_process "$part" KILL; done
  while pids=$(pods_processes) && [ -n "$pids" ]; do
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
  forget
}

# The containers' processes, and containerd's shims, which outlive it.
pods_processes() {
  local process hierarchy
  {
    for process in /proc/[0-9]*; do
      [[ $(command_line "${process##*/}") != *containerd-shim*" $DIR/"* ]] || echo "${process##*/}"
    done
    for hierarchy in $(hierarchies); do
      [ ! -d "$hierarchy/$(cgroup_of "$NAME")" ] ||
        find "$hierarchy/$(cgroup_of "$NAME")" -name cgroup.procs -exec cat {} +
    done
  } | sort -un | { grep -vx 0 || true; } | xargs # 0: of another namespace
}

# Mounts, state and network, which a boot finds empty. The leases of addresses are on the disk of a real node too.
forget() {
  local table
  awk -v folder="$DIR/" 'index($2, folder) == 1 {print $2}' /proc/mounts | tac | xargs --no-run-if-empty umount --lazy
  rm -rf --one-file-system "$DIR/containerd/state"
  find /run/containerd /run/netns -mindepth 1 -delete
  ip link delete cni0
  for table in filter nat mangle; do
    iptables --table "$table" --flush
    iptables --table "$table" --delete-chain
  done
  conntrack --flush 2>/dev/null || true
}
