// The custom resource InferenceService. The CRD is the operator's own: nothing is generated from
// here but zz_generated.deepcopy.go (README.md has the command).

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InferenceServiceSpec is what the user asks for.
type InferenceServiceSpec struct {
	// Model is handed to the model server literally.
	Model string `json:"model"`

	// Replicas is how many pods, with one GPU each, serve the model. The CRD defaults it to 1.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// GPUType is one of the catalogue: A100, H100, L40S.
	GPUType string `json:"gpuType"`

	// MaxBatchSize is the largest number of requests that one replica works on at the same time.
	// +optional
	MaxBatchSize *int64 `json:"maxBatchSize,omitempty"`
}

// Phase is a summary of the conditions.
type Phase string

const (
	PhasePending     Phase = "Pending"
	PhaseProgressing Phase = "Progressing"
	PhaseReady       Phase = "Ready"
	PhaseDegraded    Phase = "Degraded"
	PhaseFailed      Phase = "Failed"
)

// InferenceServiceStatus is what the operator has seen and done.
type InferenceServiceStatus struct {
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// ReadyReplicas is how many replicas answer requests.
	ReadyReplicas int32 `json:"readyReplicas"`

	// Endpoint is the URL of the Service inside the cluster.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`

	// Selector is the label selector of the pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`

	// ObservedGeneration is the metadata.generation that this status speaks of.
	ObservedGeneration int64 `json:"observedGeneration"`

	// Conditions always has Ready; Reconciling and Stalled are there while they are true.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// InferenceService is a model served over HTTP.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
type InferenceService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   InferenceServiceSpec   `json:"spec"`
	Status InferenceServiceStatus `json:"status,omitempty"`
}

// InferenceServiceList is a list of InferenceServices.
// +kubebuilder:object:root=true
type InferenceServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []InferenceService `json:"items"`
}
