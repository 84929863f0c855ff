// Do PrometheusRules, PodMonitors and dashboards have only fields that Prometheus Operator and Grafana know, of the types
// that they expect? By their own libraries.
//
//	check-schemas FILE...    exit code 1 if one has not, and why; YAML (one or several objects a file), or a dashboard's JSON
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	count := 0
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			fail(file, err)
		}
		documents, check := bytes.Split(text, []byte("\n---\n")), checkObject
		if strings.HasSuffix(file, ".json") {
			documents, check = [][]byte{text}, checkDashboard
		}
		for _, document := range documents {
			if err := check(document); err != nil {
				fail(file, err)
			}
			count++
		}
	}
	fmt.Printf("%d objects have only what Prometheus Operator and Grafana know\n", count)
}

func checkObject(document []byte) error {
	var object struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return err
	}
	if object.APIVersion != monitoring.SchemeGroupVersion.String() {
		return fmt.Errorf("apiVersion %q is not %s", object.APIVersion, monitoring.SchemeGroupVersion)
	}
	switch object.Kind {
	case monitoring.PrometheusRuleKind:
		return yaml.UnmarshalStrict(document, &monitoring.PrometheusRule{})
	case monitoring.PodMonitorsKind:
		return yaml.UnmarshalStrict(document, &monitoring.PodMonitor{})
	}
	return fmt.Errorf("kind %q is neither PrometheusRule nor PodMonitor", object.Kind)
}

// The library returns an empty list of errors where there is none, which is not nil.
func checkDashboard(document []byte) error {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	var board dashboard.Dashboard
	if err := board.UnmarshalJSONStrict(document); err != nil && err.Error() != "" {
		return err
	}
	return board.Validate()
}

func fail(file string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
	os.Exit(1)
}
