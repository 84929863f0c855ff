// What is wrong with an InferenceService: an error that the user must mend, told in the status and
// not retried.

package controller

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	aiv1 "example.com/inference-operator/peers/api/v1"
)

const reasonNameTaken = "NameTaken"

type refusal struct {
	reason  string
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason: reason, message: fmt.Sprintf(format, args...)}
}

// validate checks what the CRD's schema cannot, and again what objects of an older schema may have.
func validate(isvc *aiv1.InferenceService) (*gpuType, error) {
	spec := &isvc.Spec
	switch {
	case strings.TrimSpace(spec.Model) == "":
		return nil, refuse("MissingField", "spec.model is missing")
	case strings.ContainsRune(spec.Model, 0):
		return nil, refuse("InvalidSpec", "invalid spec: model contains a NUL character")
	case spec.Replicas != nil && *spec.Replicas < 0:
		return nil, refuse("InvalidSpec", "invalid spec: replicas is %d (expected: 0 or more)", *spec.Replicas)
	case spec.MaxBatchSize != nil && *spec.MaxBatchSize < 1:
		return nil, refuse("InvalidSpec", "invalid spec: maxBatchSize is %d (expected: 1 or more)", *spec.MaxBatchSize)
	case spec.GPUType == "":
		return nil, refuse("MissingField", "spec.gpuType is missing")
	}
	return findGPU(spec.GPUType)
}

// checkOwned refuses an object that exists and that the InferenceService does not control.
func checkOwned(isvc *aiv1.InferenceService, kind string, child client.Object) error {
	if child.GetUID() == "" || metav1.IsControlledBy(child, isvc) {
		return nil
	}
	owner := "has no controller"
	if controller := metav1.GetControllerOf(child); controller != nil {
		owner = fmt.Sprintf("is controlled by %s %s", controller.Kind, controller.Name)
	}
	return refuse(reasonNameTaken, "%s %s/%s exists and %s; delete it, or give the InferenceService another name",
		kind, isvc.Namespace, isvc.Name, owner)
}
