#!/usr/bin/env bash
# Makes a node of Debian's packages: what kind's own images/base/Dockerfile does after it has installed them. Called by
# image.sh in a container of the node image that it makes, and nobody else. Must never be run outside of that.
set -euo pipefail

chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/*
printf %s "$1" >/kind/version

# systemd, and of its services only those that a node in a container needs.
units=/lib/systemd/system
rm -f $units/sysinit.target.wants/systemd-tmpfiles-setup.service $units/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  $units/local-fs.target.wants/* $units/sockets.target.wants/*udev* $units/sockets.target.wants/*initctl* $units/basic.target.wants/*
echo ReadKMsg=no >>/etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl enable --quiet kubelet.service containerd.service undo-mount-hacks.service pod-network.service
systemctl mask --quiet systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests

# The container runtime, where kind looks for it.
for program in containerd ctr containerd-shim-runc-v2; do ln -s "/usr/bin/$program" "/usr/local/bin/$program"; done
mkdir -p /opt/cni
ln -s /usr/lib/cni /opt/cni/bin
ctr oci spec | jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"} |
  del(.process.rlimits)' >/etc/containerd/cri-base.json

# For machines of cgroup v1, and for those without CAP_SYS_RESOURCE. On others it changes nothing.
sed -i 's/^KUBELET_EXTRA_ARGS=/&--fail-cgroupv1=false /' /etc/default/kubelet
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
