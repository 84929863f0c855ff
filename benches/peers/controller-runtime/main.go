// The operator as the kubebuilder book teaches it: a manager with its defaults, whole Deployments
// and Services in the cache, one reconcile at a time.
package main

import (
	"flag"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	aiv1 "example.com/inference-operator/peers/api/v1"
	"example.com/inference-operator/peers/internal/controller"
	"example.com/inference-operator/peers/internal/credentials"
)

var (
	scheme   = runtime.NewScheme()
	setupLog = ctrl.Log.WithName("setup")
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(aiv1.AddToScheme(scheme))
}

func main() {
	var telemetryAddress, probeAddress, serviceAccount string
	flag.StringVar(&telemetryAddress, "telemetry-address", ":8080", "where /metrics is served, or 0")
	flag.StringVar(&probeAddress, "health-probe-bind-address", "0", "where /healthz and /readyz are served, or 0")
	flag.StringVar(&serviceAccount, "service-account", credentials.Folder, "folder with the ServiceAccount's token and ca.crt")
	options := zap.Options{}
	options.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&options)))

	config, err := credentials.Config(serviceAccount)
	if err != nil {
		setupLog.Error(err, "no cluster")
		os.Exit(1)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Metrics:                metricsserver.Options{BindAddress: telemetryAddress},
		HealthProbeBindAddress: probeAddress,
	})
	if err != nil {
		setupLog.Error(err, "unable to start manager")
		os.Exit(1)
	}

	reconciler := &controller.InferenceServiceReconciler{
		Client:   mgr.GetClient(),
		Scheme:   mgr.GetScheme(),
		Recorder: mgr.GetEventRecorder("inference-operator"),
	}
	err = ctrl.NewControllerManagedBy(mgr).
		For(&aiv1.InferenceService{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Named("inferenceservice").
		Complete(reconciler)
	if err != nil {
		setupLog.Error(err, "unable to create controller", "controller", "InferenceService")
		os.Exit(1)
	}

	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		setupLog.Error(err, "unable to set up health check")
		os.Exit(1)
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		setupLog.Error(err, "unable to set up ready check")
		os.Exit(1)
	}

	setupLog.Info("starting manager")
	if err := mgr.Start(ctrl.SetupSignalHandler()); err != nil {
		setupLog.Error(err, "problem running manager")
		os.Exit(1)
	}
}
