// What the status of an InferenceService says: the same phases, reasons and messages as
// src/reconcile/status.rs of the operator.

package controller

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	aiv1 "example.com/inference-operator/peers/api/v1"
)

const (
	conditionReady       = "Ready"
	conditionReconciling = "Reconciling"
	conditionStalled     = "Stalled"
)

// assessment is what is to be said; abnormal is the condition next to Ready, if there is one.
type assessment struct {
	phase    aiv1.Phase
	abnormal string
	reason   string
	message  string
}

func assess(isvc *aiv1.InferenceService, deployment *appsv1.Deployment) assessment {
	status := &deployment.Status
	desired := ptr.Deref(deployment.Spec.Replicas, 1)
	count := fmt.Sprintf("%d of %d replicas ready", status.ReadyReplicas, desired)
	describe := func(kind string) string {
		return fmt.Sprintf("see: kubectl -n %s describe %s -l %s", isvc.Namespace, kind, selector(isvc))
	}

	if desired == 0 && status.Replicas == 0 {
		return assessment{aiv1.PhaseReady, "", "ScaledToZero", "spec.replicas is 0: nothing runs"}
	}
	if status.ObservedGeneration < deployment.Generation {
		return assessment{aiv1.PhaseProgressing, conditionReconciling, "DeploymentPending",
			"waiting for the Deployment controller to observe the change"}
	}
	if status.UpdatedReplicas >= desired && status.Replicas <= status.UpdatedReplicas &&
		status.AvailableReplicas >= desired {
		return assessment{aiv1.PhaseReady, "", "ReplicasReady", count}
	}
	if failure := condition(status, appsv1.DeploymentReplicaFailure); failure.Status == corev1.ConditionTrue {
		return assessment{aiv1.PhaseDegraded, conditionReconciling, failure.Reason,
			fmt.Sprintf("%s; %s; %s", count, failure.Message, describe("replicaset"))}
	}
	progressing := condition(status, appsv1.DeploymentProgressing)
	if progressing.Reason == "ProgressDeadlineExceeded" {
		return assessment{aiv1.PhaseDegraded, conditionStalled, progressing.Reason,
			fmt.Sprintf("%s; %s; %s", count, progressing.Message, describe("pod"))}
	}
	if wasReady(isvc) && progressing.Reason == "NewReplicaSetAvailable" {
		return assessment{aiv1.PhaseDegraded, conditionReconciling, "ReplicasUnavailable",
			fmt.Sprintf("%s; %s", count, describe("pod"))}
	}
	return assessment{aiv1.PhaseProgressing, conditionReconciling, "RollingOut", count}
}

// wasReady tells whether this spec has been Ready before.
func wasReady(isvc *aiv1.InferenceService) bool {
	status := &isvc.Status
	return status.ObservedGeneration == isvc.Generation &&
		(status.Phase == aiv1.PhaseReady || status.Phase == aiv1.PhaseDegraded)
}

func condition(status *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType) appsv1.DeploymentCondition {
	for _, found := range status.Conditions {
		if found.Type == kind {
			return found
		}
	}
	return appsv1.DeploymentCondition{}
}

func setConditions(isvc *aiv1.InferenceService, said assessment) {
	set := func(kind string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(&isvc.Status.Conditions, metav1.Condition{
			Type:               kind,
			Status:             status,
			Reason:             said.reason,
			Message:            said.message,
			ObservedGeneration: isvc.Generation,
		})
	}
	if said.phase == aiv1.PhaseReady {
		set(conditionReady, metav1.ConditionTrue)
	} else {
		set(conditionReady, metav1.ConditionFalse)
	}
	for _, abnormal := range []string{conditionReconciling, conditionStalled} {
		if said.abnormal == abnormal {
			set(abnormal, metav1.ConditionTrue)
		} else {
			meta.RemoveStatusCondition(&isvc.Status.Conditions, abnormal)
		}
	}
}
