#!/usr/bin/env bash
# The pods' network, in the place of kindnetd, whose image is in a registry: node PREFIX.N has the pods 10.244.N.0/24, and
# each knows the way to those of all others without asking anybody. Called by pod-network.service in a node of kind's.
# Must never need the API server: it has none yet.
set -euo pipefail
address=$(ip -4 -o address show dev eth0 | sed 's#.*inet \([0-9.]*\)/.*#\1#')
prefix=${address%.*} own=${address##*.}

mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-static.conflist.new <<CONFIGURATION
{
  "cniVersion": "0.4.0",
  "name": "static",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.$own.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "firewall"}
  ]
}
CONFIGURATION
mv /etc/cni/net.d/10-static.conflist.new /etc/cni/net.d/10-static.conflist

for other in $(seq 2 40); do
  [ "$other" = "$own" ] || ip route replace "10.244.$other.0/24" via "$prefix.$other" dev eth0
done
rule=(POSTROUTING --source 10.244.0.0/16 ! --destination 10.244.0.0/16 --jump MASQUERADE)
iptables --table nat --check "${rule[@]}" 2>/dev/null || iptables --table nat --append "${rule[@]}"
