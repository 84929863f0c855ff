// The same operator, tuned for memory by someone who knows controller-runtime: what is not needed
// between two reconciles is not in the cache. README.md says what was measured.
package main

import (
	"flag"
	"os"
	"runtime/debug"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	aiv1 "example.com/inference-operator/peers/api/v1"
	"example.com/inference-operator/peers/internal/controller"
	"example.com/inference-operator/peers/internal/credentials"
)

const (
	// What the environment variables GOGC and GOMEMLIMIT are where they are not set: a heap that may
	// grow by a quarter between two collections, and a limit that only a burst comes near.
	gcPercent   = 25
	memoryLimit = 256 << 20

	workers = 8
)

var setupLog = ctrl.Log.WithName("setup")

func main() {
	var telemetryAddress, probeAddress, serviceAccount string
	flag.StringVar(&telemetryAddress, "telemetry-address", ":8080", "where /metrics is served, or 0")
	flag.StringVar(&probeAddress, "health-probe-bind-address", "0", "where /healthz and /readyz are served, or 0")
	flag.StringVar(&serviceAccount, "service-account", credentials.Folder, "folder with the ServiceAccount's token and ca.crt")
	options := zap.Options{}
	options.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&options)))
	tuneCollector()

	config, err := credentials.Config(serviceAccount)
	if err != nil {
		setupLog.Error(err, "no cluster")
		os.Exit(1)
	}
	// Decompressing costs buffers and time for lists that come from the same machine or rack.
	config.DisableCompression = true

	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 newScheme(),
		Metrics:                metricsserver.Options{BindAddress: telemetryAddress},
		HealthProbeBindAddress: probeAddress,
		Cache:                  cacheOptions(),
		Client: client.Options{Cache: &client.CacheOptions{
			// The watches below know children by their metadata; a reconcile reads the one it is about.
			DisableFor: []client.Object{&appsv1.Deployment{}, &corev1.Service{}},
		}},
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
		// A reconcile's own status write is no reason for another.
		For(&aiv1.InferenceService{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&appsv1.Deployment{}, builder.OnlyMetadata).
		Owns(&corev1.Service{}, builder.OnlyMetadata).
		Named("inferenceservice").
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: workers}).
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

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// newScheme knows the kinds that are used, and no others.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(appsv1.AddToScheme(scheme))
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(aiv1.AddToScheme(scheme))
	return scheme
}

// cacheOptions keeps other people's Deployments and Services out of the cache, and of our own what
// nobody reads there.
func cacheOptions() cache.Options {
	ours := cache.ByObject{
		Label:     labels.SelectorFromSet(labels.Set{controller.ManagedByLabel: controller.ManagedBy}),
		Transform: stripMetadata,
	}
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ByObject:                    map[client.Object]cache.ByObject{&appsv1.Deployment{}: ours, &corev1.Service{}: ours},
	}
}

// stripMetadata leaves what tells a child's owner and whether it changed.
func stripMetadata(object any) (any, error) {
	if child, ok := object.(*metav1.PartialObjectMetadata); ok {
		child.ManagedFields = nil
		child.Annotations = nil
		child.Labels = nil
	}
	return object, nil
}
