//! Is this a spec that can be built? And the catalogue of GPU types: which values of the node label
//! nvidia.com/gpu.product a type stands for.

use crate::Error;
use crate::api::InferenceServiceSpec;

pub struct GpuType {
    name: &'static str,
    products: &'static [&'static str],
}

const CATALOGUE: &[GpuType] = &[
    GpuType {
        name: "A100",
        products: &[
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
        ],
    },
    GpuType {
        name: "H100",
        products: &[
            "NVIDIA-H100",
            "NVIDIA-H100-80GB-HBM3",
            "NVIDIA-H100-80GB-HBM2e",
            "NVIDIA-H100-PCIe",
            "NVIDIA-H100-NVL",
            "NVIDIA-H100-64GB-HBM3",
        ],
    },
    GpuType { name: "L40S", products: &["NVIDIA-L40S"] },
];

impl GpuType {
    /// A GPU that is shared by time-slicing has "-SHARED" behind its product name.
    pub fn node_label_values(&self) -> Vec<String> {
        let shared = self.products.iter().map(|product| format!("{product}-SHARED"));
        self.products.iter().map(|product| product.to_string()).chain(shared).collect()
    }
}

pub fn validate(spec: &InferenceServiceSpec) -> Result<&'static GpuType, Error> {
    if spec.model.trim().is_empty() {
        return Err(Error::MissingField("model"));
    }
    if spec.model.contains('\0') {
        return Err(Error::InvalidSpec("model contains a NUL character".into()));
    }
    if spec.replicas < 0 {
        return Err(Error::InvalidSpec(format!("replicas is {} (expected: 0 or more)", spec.replicas)));
    }
    if spec.max_batch_size == Some(0) {
        return Err(Error::InvalidSpec("maxBatchSize is 0 (expected: 1 or more)".into()));
    }
    if spec.gpu_type.is_empty() {
        return Err(Error::MissingField("gpuType"));
    }
    CATALOGUE.iter().find(|gpu| gpu.name == spec.gpu_type).ok_or_else(|| {
        let names: Vec<&str> = CATALOGUE.iter().map(|gpu| gpu.name).collect();
        Error::InvalidGpuType { found: spec.gpu_type.clone(), expected: names.join(", ") }
    })
}
