// The catalogue of GPU types: which values of the node label nvidia.com/gpu.product a type stands
// for. The same as src/gpu.rs of the operator.

package controller

import "strings"

type gpuType struct {
	name     string
	products []string
}

var catalogue = []gpuType{
	{"A100", []string{
		"NVIDIA-A100-SXM4-40GB",
		"NVIDIA-A100-SXM4-80GB",
		"NVIDIA-A100-PCIE-40GB",
		"NVIDIA-A100-80GB-PCIe",
		"NVIDIA-A100-SXM-64GB",
		"A100-SXM4-40GB",
		"A100-SXM4-80GB",
		"A100-SXM-80GB",
		"A100-PCIE-40GB",
		"A100-PCIE-80GB",
	}},
	{"H100", []string{
		"NVIDIA-H100",
		"NVIDIA-H100-80GB-HBM3",
		"NVIDIA-H100-80GB-HBM2e",
		"NVIDIA-H100-PCIe",
		"NVIDIA-H100-NVL",
		"NVIDIA-H100-64GB-HBM3",
	}},
	{"L40S", []string{"NVIDIA-L40S"}},
}

func findGPU(name string) (*gpuType, error) {
	names := make([]string, 0, len(catalogue))
	for i := range catalogue {
		if catalogue[i].name == name {
			return &catalogue[i], nil
		}
		names = append(names, catalogue[i].name)
	}
	return nil, refuse("InvalidGpuType", "invalid GPU type: %s (expected: %s)", name, strings.Join(names, ", "))
}

// nodeLabelValues adds what a GPU that is shared by time-slicing has behind its product name.
func (g *gpuType) nodeLabelValues() []string {
	values := append([]string{}, g.products...)
	for _, product := range g.products {
		values = append(values, product+"-SHARED")
	}
	return values
}
