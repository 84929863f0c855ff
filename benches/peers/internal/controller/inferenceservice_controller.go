// Package controller is the reconciler of InferenceServices that both Go peers share. How the
// objects are watched and cached is up to each main.
package controller

import (
	"context"
	"errors"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	aiv1 "example.com/inference-operator/peers/api/v1"
)

// InferenceServiceReconciler brings InferenceServices to their spec.
type InferenceServiceReconciler struct {
	client.Client
	Scheme   *runtime.Scheme
	Recorder events.EventRecorder
}

// Reconcile makes the Deployment and the Service as the spec says, and writes the status.
func (r *InferenceServiceReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	isvc := &aiv1.InferenceService{}
	if err := r.Get(ctx, req.NamespacedName, isvc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isvc.DeletionTimestamp.IsZero() {
		// The garbage collector takes the children away.
		return ctrl.Result{}, nil
	}

	deployment, err := r.reconcileChildren(ctx, isvc)
	var refused *refusal
	switch {
	case err == nil:
		return ctrl.Result{}, r.updateStatus(ctx, isvc, deployment, assess(isvc, deployment))
	case errors.As(err, &refused):
		said := assessment{aiv1.PhaseFailed, conditionStalled, refused.reason, refused.message}
		// A change of the spec comes with an event; that a name has become free does not.
		result := ctrl.Result{}
		if refused.reason == reasonNameTaken {
			result.RequeueAfter = 30 * time.Second
		}
		return result, r.updateStatus(ctx, isvc, nil, said)
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		// Quota, admission or rights: tell the user, and try again.
		said := assessment{aiv1.PhasePending, conditionReconciling, "ApiServerRefused", err.Error()}
		if isvc.Status.ReadyReplicas > 0 {
			said.phase = aiv1.PhaseDegraded
		}
		return ctrl.Result{}, errors.Join(err, r.updateStatus(ctx, isvc, nil, said))
	default:
		return ctrl.Result{}, err
	}
}

func (r *InferenceServiceReconciler) reconcileChildren(
	ctx context.Context, isvc *aiv1.InferenceService,
) (*appsv1.Deployment, error) {
	log := logf.FromContext(ctx)
	gpu, err := validate(isvc)
	if err != nil {
		return nil, err
	}

	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: isvc.Name, Namespace: isvc.Namespace}}
	result, err := controllerutil.CreateOrUpdate(ctx, r.Client, deployment, func() error {
		if err := checkOwned(isvc, "Deployment", deployment); err != nil {
			return err
		}
		setDeployment(deployment, isvc, gpu)
		return ctrl.SetControllerReference(isvc, deployment, r.Scheme)
	})
	if err != nil {
		return nil, err
	}
	if result != controllerutil.OperationResultNone {
		log.Info("Deployment reconciled", "operation", result)
	}

	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: isvc.Name, Namespace: isvc.Namespace}}
	result, err = controllerutil.CreateOrUpdate(ctx, r.Client, service, func() error {
		if err := checkOwned(isvc, "Service", service); err != nil {
			return err
		}
		setService(service, isvc)
		return ctrl.SetControllerReference(isvc, service, r.Scheme)
	})
	if err != nil {
		return nil, err
	}
	if result != controllerutil.OperationResultNone {
		log.Info("Service reconciled", "operation", result)
	}
	return deployment, nil
}

// updateStatus writes the status where it differs from what it says already, and makes an Event of
// what a person should look at. Without a Deployment the replicas are as they were.
func (r *InferenceServiceReconciler) updateStatus(
	ctx context.Context, isvc *aiv1.InferenceService, deployment *appsv1.Deployment, said assessment,
) error {
	before := isvc.Status.DeepCopy()
	status := &isvc.Status
	status.Phase = said.phase
	if deployment != nil {
		status.ReadyReplicas = deployment.Status.ReadyReplicas
		status.Endpoint = endpoint(isvc)
	}
	status.Selector = selector(isvc)
	status.ObservedGeneration = isvc.Generation
	setConditions(isvc, said)
	if equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	if err := r.Status().Update(ctx, isvc); err != nil {
		return err
	}
	switch said.phase {
	case aiv1.PhaseFailed, aiv1.PhaseDegraded, aiv1.PhasePending:
		r.Recorder.Eventf(isvc, nil, corev1.EventTypeWarning, said.reason, "Reconcile", "%s", said.message)
	}
	return nil
}
