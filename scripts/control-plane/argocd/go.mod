// Argo CD's health check as Argo CD evaluates it, built by ../build.sh: never linked into the operator.
module inference-operator/scripts/control-plane/argocd

go 1.26.5

require github.com/yuin/gopher-lua v1.1.2
