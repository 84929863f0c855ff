// The Deployment and the Service of an InferenceService, field for field what src/reconcile/ of the
// operator builds. Each function sets its fields in the object that is there (or in an empty one)
// and leaves the API server's defaults alone, so that CreateOrUpdate writes only what differs.

package controller

import (
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	aiv1 "example.com/inference-operator/peers/api/v1"
)

const (
	// ManagedByLabel and ManagedBy mark what the operator has made.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "inference-operator"

	selectorLabel = "ai.example.com/inferenceservice"
	gpuResource   = "nvidia.com/gpu"

	serverImage   = "vllm/vllm-openai:v0.11.0"
	serverPort    = 8000
	servicePort   = 80
	loadSeconds   = 1800
	pullSeconds   = 600
	probePeriod   = 10
	clusterDomain = "cluster.local"
)

var serverCommand = []string{"python3", "-m", "vllm.entrypoints.openai.api_server"}

func setLabels(existing map[string]string, name string) map[string]string {
	if existing == nil {
		existing = map[string]string{}
	}
	existing["app.kubernetes.io/name"] = "inference-server"
	existing["app.kubernetes.io/instance"] = name
	existing["app.kubernetes.io/component"] = "model-server"
	existing[ManagedByLabel] = ManagedBy
	existing[selectorLabel] = name
	return existing
}

func setDeployment(deployment *appsv1.Deployment, isvc *aiv1.InferenceService, gpu *gpuType) {
	deployment.Labels = setLabels(deployment.Labels, isvc.Name)
	spec := &deployment.Spec
	spec.Replicas = ptr.To(ptr.Deref(isvc.Spec.Replicas, 1))
	// A surge pod would wait for ever on a node with one GPU.
	spec.Strategy = appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxSurge:       ptr.To(intstr.FromInt32(0)),
			MaxUnavailable: ptr.To(intstr.FromInt32(1)),
		},
	}
	spec.ProgressDeadlineSeconds = ptr.To[int32](loadSeconds + pullSeconds)
	spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{selectorLabel: isvc.Name}}
	spec.Template.Labels = setLabels(spec.Template.Labels, isvc.Name)
	setPod(&spec.Template.Spec, isvc, gpu)
}

func setPod(pod *corev1.PodSpec, isvc *aiv1.InferenceService, gpu *gpuType) {
	pod.AutomountServiceAccountToken = ptr.To(false)
	pod.EnableServiceLinks = ptr.To(false)
	ensure(&pod.SecurityContext).SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	ensure(&ensure(&pod.Affinity).NodeAffinity).RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{
				Key:      "nvidia.com/gpu.product",
				Operator: corev1.NodeSelectorOpIn,
				Values:   gpu.nodeLabelValues(),
			}},
		}},
	}
	pod.Tolerations = []corev1.Toleration{{
		Key:      gpuResource,
		Operator: corev1.TolerationOpExists,
		Effect:   corev1.TaintEffectNoSchedule,
	}}
	if len(pod.Containers) != 1 {
		pod.Containers = make([]corev1.Container, 1)
	}
	setContainer(&pod.Containers[0], isvc)
}

func setContainer(container *corev1.Container, isvc *aiv1.InferenceService) {
	container.Name = "server"
	container.Image = serverImage
	container.Command = slices.Clone(serverCommand)
	container.Args = arguments(&isvc.Spec)
	container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: serverPort, Protocol: corev1.ProtocolTCP}}
	container.Resources.Limits = corev1.ResourceList{gpuResource: resource.MustParse("1")}
	startup := setProbe(&container.StartupProbe)
	startup.FailureThreshold = (loadSeconds + probePeriod - 1) / probePeriod
	setProbe(&container.ReadinessProbe)
	security := ensure(&container.SecurityContext)
	security.AllowPrivilegeEscalation = ptr.To(false)
	security.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
}

func setProbe(probe **corev1.Probe) *corev1.Probe {
	get := ensure(&ensure(probe).HTTPGet)
	get.Path = "/health"
	get.Port = intstr.FromString("http")
	(*probe).PeriodSeconds = probePeriod
	return *probe
}

func arguments(spec *aiv1.InferenceServiceSpec) []string {
	// Kubernetes expands $(NAME) in arguments, and turns $$ into $.
	args := []string{"--model=" + strings.ReplaceAll(spec.Model, "$", "$$")}
	if spec.MaxBatchSize != nil {
		args = append(args, "--max-num-seqs="+strconv.FormatInt(*spec.MaxBatchSize, 10))
	}
	return append(args, "--port="+strconv.Itoa(serverPort))
}

func setService(service *corev1.Service, isvc *aiv1.InferenceService) {
	service.Labels = setLabels(service.Labels, isvc.Name)
	service.Spec.Type = corev1.ServiceTypeClusterIP
	service.Spec.Selector = map[string]string{selectorLabel: isvc.Name}
	service.Spec.Ports = []corev1.ServicePort{{
		Name:       "http",
		Port:       servicePort,
		TargetPort: intstr.FromInt32(serverPort),
		Protocol:   corev1.ProtocolTCP,
	}}
}

func endpoint(isvc *aiv1.InferenceService) string {
	return "http://" + isvc.Name + "." + isvc.Namespace + ".svc." + clusterDomain
}

func selector(isvc *aiv1.InferenceService) string { return selectorLabel + "=" + isvc.Name }

// ensure returns what the pointer points to, made if there is nothing yet.
func ensure[T any](pointer **T) *T {
	if *pointer == nil {
		*pointer = new(T)
	}
	return *pointer
}
