//! A GPU type: the nodes that have it, and how a pod asks for it.

use serde_json::Value;

/// The resource that NVIDIA's device plugin reports, and the usual taint of GPU nodes.
pub const GPU: &str = "nvidia.com/gpu";

/// The node label that NVIDIA's GPU feature discovery sets.
const PRODUCT: &str = "nvidia.com/gpu.product";

/// What GPU time-slicing appends to the name of a product.
const SHARED: &str = "-SHARED";

#[derive(Clone, Debug, PartialEq)]
pub struct GpuType {
    pub name: String,
    /// Labels of a node that has it, all of them.
    pub labels: Vec<NodeLabel>,
    /// The resource that a pod requests; None: as any other.
    pub resource: Option<String>,
    /// A fragment of a pod template.
    pub template: Option<Value>,
}

/// A label, and the values of which one must match.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLabel {
    pub key: String,
    pub values: Vec<String>,
}

/// What NVIDIA's GPU feature discovery writes into `nvidia.com/gpu.product`: the device name that the driver reports,
/// blanks replaced by '-' (drivers before 470 report it without "NVIDIA"). Source: NVIDIA/k8s-device-plugin,
/// docs/gpu-feature-discovery/README.md, and the product names in the driver's supported-GPU list. These types do not
/// include slices of a MIG device, GPUs of another name with the same chip (GH200, H800, H20, L40), or values set by
/// hand.
const BUILT_IN: &[(&str, &[&str])] = &[
    (
        "A100",
        &[
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
    ),
    (
        "H100",
        &[
            "NVIDIA-H100",
            "NVIDIA-H100-80GB-HBM3",
            "NVIDIA-H100-80GB-HBM2e",
            "NVIDIA-H100-PCIe",
            "NVIDIA-H100-NVL",
            "NVIDIA-H100-64GB-HBM3",
        ],
    ),
    ("L40S", &["NVIDIA-L40S"]),
];

pub fn built_in() -> Vec<GpuType> {
    let of = |products: &[&str]| products.iter().map(|&product| product.to_owned()).collect();
    BUILT_IN.iter().map(|(name, products)| GpuType::of_products((*name).to_owned(), of(products))).collect()
}

impl GpuType {
    pub fn of_products(name: String, products: Vec<String>) -> GpuType {
        let mut gpu = GpuType { name, labels: Vec::new(), resource: None, template: None };
        gpu.add_products(products);
        gpu
    }

    pub fn add_products(&mut self, added: Vec<String>) {
        let known = self.labels.iter().flat_map(|label| &label.values).filter(|value| !value.ends_with(SHARED));
        let products: Vec<String> = known.cloned().chain(added).collect();
        let shared: Vec<String> = products.iter().map(|product| format!("{product}{SHARED}")).collect();
        self.labels = vec![NodeLabel { key: PRODUCT.to_owned(), values: [products, shared].concat() }];
    }

    /// Reads `TYPE=PRODUCT[,PRODUCT...]`: a name, and products for it.
    pub fn parse(entry: &str) -> Result<(String, Vec<String>), String> {
        let expected = "expected TYPE=PRODUCT[,PRODUCT...], such as T4=Tesla-T4,NVIDIA-T4";
        let (name, products) = entry.split_once('=').ok_or(expected)?;
        let name = name.trim();
        let products: Vec<String> = products.split(',').map(|product| product.trim().to_owned()).collect();
        if name.is_empty() || name.len() > 63 || products.iter().any(String::is_empty) {
            return Err(expected.into());
        }
        if let Some(product) = products.iter().find(|product| !is_label_value(product)) {
            return Err(format!(
                "{product:?} is not a valid label value (letters, digits, '-', '_' and '.', at most 63)"
            ));
        }
        Ok((name.to_owned(), products))
    }
}

/// Kubernetes rejects a node affinity with values that are not valid label values.
pub fn is_label_value(text: &str) -> bool {
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_product_is_a_label_value() {
        for gpu in built_in() {
            let values = gpu.labels.iter().flat_map(|label| &label.values);
            assert!(values.clone().count() > 1 && values.clone().all(|value| is_label_value(value)), "{gpu:?}");
        }
    }

    #[test]
    fn what_no_node_label_can_be_is_refused() {
        for entry in ["", "T4", "T4=", "=Tesla-T4", "T4=a b", "T4=-a", "T4=a,", &format!("T4={}", "x".repeat(64))] {
            assert!(GpuType::parse(entry).is_err(), "{entry}");
        }
    }
}
