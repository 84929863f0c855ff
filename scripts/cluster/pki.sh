# shellcheck shell=bash
# The certificates, keys and kubeconfigs of one cluster, made anew at each `up` and kept in its folder.
# Sourced by ../cluster.sh. Must never write outside DIR: nothing here is to be trusted elsewhere.

make_pki() {
  local pki=$DIR/pki
  mkdir -p "$pki"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
      -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj "/CN=inference-operator $NAME" &&
      certificate apiserver /CN=kube-apiserver \
        'subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.0.0.1'"${ADDRESS:+,IP:$ADDRESS}" &&
      certificate admin /O=system:masters/CN=admin &&
      certificate controller-manager /CN=system:kube-controller-manager &&
      certificate scheduler /CN=system:kube-scheduler &&
      # The API server signs service account tokens with the one and checks them with the other.
      openssl ecparam -genkey -name prime256v1 -noout -out "$pki/service-account.key" &&
      openssl ec -in "$pki/service-account.key" -pubout -out "$pki/service-account.pub"
  } >"$DIR/logs/pki.log" 2>&1
}

# certificate NAME SUBJECT [EXTENSION]: signed by the cluster's CA, for servers and clients alike.
certificate() {
  local file=$DIR/pki/$1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$file.key" -out "$file.csr" -subj "$2" &&
    printf '%s\n' 'extendedKeyUsage=serverAuth,clientAuth' "${3:-}" >"$file.ext" &&
    openssl x509 -req -days 3650 -in "$file.csr" -extfile "$file.ext" -out "$file.crt" \
      -CA "$DIR/pki/ca.crt" -CAkey "$DIR/pki/ca.key" -CAcreateserial &&
    rm "$file.csr" "$file.ext"
}

make_kubeconfigs() {
  kubeconfig_of admin >"$DIR/kubeconfig"
  kubeconfig_of controller-manager >"$DIR/pki/controller-manager.kubeconfig"
  kubeconfig_of scheduler >"$DIR/pki/scheduler.kubeconfig"
}

# Holds its certificates itself, so that a copy of the one file works anywhere on the machine.
kubeconfig_of() {
  cat <<END
apiVersion: v1
kind: Config
clusters:
- name: "$NAME"
  cluster:
    server: https://127.0.0.1:$APISERVER_PORT
    certificate-authority-data: $(base64_of "$DIR/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64_of "$DIR/pki/$1.crt")
    client-key-data: $(base64_of "$DIR/pki/$1.key")
contexts:
- name: "$NAME"
  context:
    cluster: "$NAME"
    user: $1
current-context: "$NAME"
END
}

base64_of() { base64 <"$1" | tr -d '\n'; }
