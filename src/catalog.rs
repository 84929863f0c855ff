//! The catalog of GPU types: the node label values of each type. Filled by settings, read by validate; must never guess
//! a type that the catalog does not name.

/// GPU types in the order in which error messages name them.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog(Vec<GpuType>);

#[derive(Clone, Debug, PartialEq)]
pub struct GpuType {
    pub name: String,
    /// Values of the node label `nvidia.com/gpu.product`.
    pub products: Vec<String>,
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

impl Default for Catalog {
    fn default() -> Self {
        let types = BUILT_IN.iter().map(|(name, products)| GpuType {
            name: (*name).to_owned(),
            products: products.iter().map(|&product| product.to_owned()).collect(),
        });
        Catalog(types.collect())
    }
}

impl Catalog {
    pub fn get(&self, name: &str) -> Option<&GpuType> {
        self.0.iter().find(|gpu| gpu.name == name)
    }

    pub fn types(&self) -> impl Iterator<Item = &GpuType> {
        self.0.iter()
    }

    /// The names as an error message lists them: `A100, H100, L40S`.
    pub fn expected(&self) -> String {
        let names: Vec<&str> = self.types().map(|gpu| gpu.name.as_str()).collect();
        names.join(", ")
    }

    /// Adds `TYPE=PRODUCT[,PRODUCT...]`; for an existing type, adds the products.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
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
        match self.0.iter_mut().find(|gpu| gpu.name == name) {
            Some(gpu) => gpu.products.extend(products),
            None => self.0.push(GpuType { name: name.to_owned(), products }),
        }
        Ok(())
    }
}

/// Kubernetes rejects a node affinity with values that are not valid label values.
fn is_label_value(text: &str) -> bool {
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
        for gpu in Catalog::default().types() {
            assert!(gpu.products.iter().all(|product| is_label_value(product)), "{gpu:?}");
        }
    }

    #[test]
    fn products_are_added_to_a_known_type_and_make_a_new_one() {
        let mut catalog = Catalog::default();
        catalog.add("L40S=NVIDIA-L40S-48GB").expect("added");
        catalog.add("T4=Tesla-T4, NVIDIA-T4").expect("added");
        assert_eq!(catalog.get("L40S").expect("known").products, ["NVIDIA-L40S", "NVIDIA-L40S-48GB"]);
        assert_eq!(catalog.get("T4").expect("known").products, ["Tesla-T4", "NVIDIA-T4"]);
    }

    #[test]
    fn what_no_node_label_can_be_is_refused() {
        for entry in ["", "T4", "T4=", "=Tesla-T4", "T4=a b", "T4=-a", "T4=a,", &format!("T4={}", "x".repeat(64))] {
            assert!(Catalog::default().add(entry).is_err(), "{entry}");
        }
    }
}
