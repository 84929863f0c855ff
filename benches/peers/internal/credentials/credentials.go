// Package credentials finds the API server as a program in a pod does: rest.InClusterConfig, but
// with a ServiceAccount's folder of any name, because the bench runs the program outside of a pod.
package credentials

import (
	"errors"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
)

// Folder is where a pod has its ServiceAccount's token and ca.crt.
const Folder = "/var/run/secrets/kubernetes.io/serviceaccount"

// Config reads the address from the environment; the token is read again as it rotates.
func Config(folder string) (*rest.Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be set")
	}
	tokenFile := filepath.Join(folder, "token")
	if _, err := os.ReadFile(tokenFile); err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		BearerTokenFile: tokenFile,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(folder, "ca.crt")},
		// No limit on the client's side, as ctrl.GetConfig has it.
		QPS: -1,
	}, nil
}
