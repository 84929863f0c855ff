// k3s' Helm controller, of which ../build.sh takes the CRD: nothing of it is built.
module inference-operator/scripts/control-plane/helm-controller

go 1.26.7

require github.com/k3s-io/helm-controller v0.17.9
