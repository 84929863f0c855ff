//! What an administrator offers: GPU types and engines. Filled by settings and by an InferenceCatalog (accept.rs), read by
//! validate; must never guess a name that it does not have.

pub mod engine;
pub mod gpu_type;

pub use engine::Engine;
pub use gpu_type::{GPU, GpuType};

/// GPU types and engines in the order in which error messages name them. The first engine is the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    gpu_types: Vec<GpuType>,
    engines: Vec<Engine>,
    /// The resource that a pod requests where its GPU type does not say.
    pub resource: String,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog { gpu_types: gpu_type::built_in(), engines: engine::built_in(), resource: GPU.to_owned() }
    }
}

impl Catalog {
    pub fn gpu_type(&self, name: &str) -> Option<&GpuType> {
        self.gpu_types.iter().find(|gpu| gpu.name == name)
    }

    pub fn gpu_types(&self) -> impl Iterator<Item = &GpuType> {
        self.gpu_types.iter()
    }

    /// As an error message lists them: `A100, H100, L40S`.
    pub fn gpu_type_names(&self) -> String {
        listed(self.gpu_types.iter().map(|gpu| &*gpu.name))
    }

    /// None: the default engine.
    pub fn engine(&self, name: Option<&str>) -> Option<&Engine> {
        self.engines.iter().find(|engine| name.is_none_or(|name| engine.name == name))
    }

    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter()
    }

    pub fn engine_names(&self) -> String {
        listed(self.engines.iter().map(|engine| &*engine.name))
    }

    pub fn change_default_engine(&mut self, change: impl FnOnce(&mut Engine)) {
        if let Some(engine) = self.engines.first_mut() {
            change(engine);
        }
    }

    /// Adds `TYPE=PRODUCT[,PRODUCT...]`; for an existing type, adds the products.
    pub fn add_gpu_type(&mut self, entry: &str) -> Result<(), String> {
        let (name, products) = GpuType::parse(entry)?;
        match self.gpu_types.iter_mut().find(|gpu| gpu.name == name) {
            Some(gpu) => gpu.add_products(products),
            None => self.gpu_types.push(GpuType::of_products(name, products)),
        }
        Ok(())
    }

    /// Replaces the GPU type of this name, or adds it.
    pub fn put_gpu_type(&mut self, gpu: GpuType) {
        match self.gpu_types.iter_mut().find(|known| known.name == gpu.name) {
            Some(known) => *known = gpu,
            None => self.gpu_types.push(gpu),
        }
    }

    /// Replaces the engine of this name, or adds it.
    pub fn put_engine(&mut self, engine: Engine) {
        match self.engines.iter_mut().find(|known| known.name == engine.name) {
            Some(known) => *known = engine,
            None => self.engines.push(engine),
        }
    }

    /// Makes this engine the default. False: there is no such engine.
    pub fn prefer_engine(&mut self, name: &str) -> bool {
        let place = self.engines.iter().position(|engine| engine.name == name);
        if let Some(place) = place {
            self.engines[..=place].rotate_right(1);
        }
        place.is_some()
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_added_to_a_known_type_and_make_a_new_one() {
        let mut catalog = Catalog::default();
        catalog.add_gpu_type("L40S=NVIDIA-L40S-48GB").expect("added");
        catalog.add_gpu_type("T4=Tesla-T4, NVIDIA-T4").expect("added");
        let values = |name: &str| catalog.gpu_type(name).expect("known").labels[0].values.clone();
        let l40s = ["NVIDIA-L40S", "NVIDIA-L40S-48GB", "NVIDIA-L40S-SHARED", "NVIDIA-L40S-48GB-SHARED"];
        assert_eq!(values("L40S"), l40s, "time-sliced ones too");
        assert_eq!(values("T4"), ["Tesla-T4", "NVIDIA-T4", "Tesla-T4-SHARED", "NVIDIA-T4-SHARED"]);
    }

    #[test]
    fn without_a_name_it_is_the_first_engine() {
        let catalog = Catalog::default();
        assert_eq!(catalog.engine(None).expect("an engine").name, "vllm");
        assert_eq!(catalog.engine(Some("llamacpp")).expect("an engine").name, "llamacpp");
        assert_eq!(catalog.engine(Some("VLLM")), None);
        assert_eq!(catalog.engine_names(), "vllm, sglang, llamacpp");
    }

    #[test]
    fn another_engine_can_be_the_default_and_no_name_is_lost() {
        let mut catalog = Catalog::default();
        assert!(catalog.prefer_engine("llamacpp"));
        assert_eq!(catalog.engine_names(), "llamacpp, vllm, sglang");
        assert!(!catalog.prefer_engine("tgi"));
        assert_eq!(catalog.engine(None).expect("an engine").name, "llamacpp");
    }
}
