//! An operator that runs, wherever that is: as a process of this machine or as a pod. The phases ask
//! it for figures and never know which; what a place cannot tell is None.

mod image;
mod pod;
mod process_place;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;

use crate::cluster::Cluster;
use crate::process::{Memory, Switches};
use crate::settings::OURS;
use crate::wire::Wire;

pub use image::{archive as image_archive, layer as image_layer};
use pod::Pod;
use process_place::Process;

pub const NAMESPACE: &str = "inference-operator";

/// How to start an operator, as often as it takes.
#[derive(Clone)]
pub struct Launch {
    pub name: String,
    pub program: Program,
    /// Where token, CA and log go.
    pub folder: PathBuf,
}

#[derive(Clone)]
pub enum Program {
    Binary(PathBuf),
    Image(String),
}

pub struct Operator {
    pub name: String,
    pub started: Instant,
    pub started_at: Timestamp,
    place: Place,
}

enum Place {
    Process(Process),
    Pod(Pod),
}

impl Launch {
    /// Returns as soon as it is begun.
    pub fn start(&self, cluster: &Cluster) -> Result<Operator> {
        let (started, started_at) = (Instant::now(), Timestamp::now());
        let place = match &self.program {
            Program::Binary(binary) => Place::Process(Process::start(self, binary, &cluster.access)?),
            Program::Image(image) => Place::Pod(Pod::start(&self.name, image, &cluster.access)?),
        };
        Ok(Operator { name: self.name.clone(), started, started_at, place })
    }

    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }
}

impl Operator {
    /// An error that tells the end of its log, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Process(process) => process.check(),
            Place::Pod(_) => Ok(()),
        }
    }

    pub fn memory(&self) -> Result<Memory> {
        match &self.place {
            Place::Process(process) => crate::process::memory(process.pid),
            Place::Pod(pod) => pod.memory(),
        }
    }

    /// None: it is not a process of this machine.
    pub fn pid(&self) -> Option<u32> {
        match &self.place {
            Place::Process(process) => Some(process.pid),
            Place::Pod(_) => None,
        }
    }

    /// Largest RSS since the start or the last `reset_peak`, as the kernel keeps it.
    pub fn peak_bytes(&self) -> Option<u64> {
        match &self.place {
            Place::Process(process) => crate::process::peak_bytes(process.pid).ok(),
            Place::Pod(_) => None,
        }
    }

    /// False: this place cannot.
    pub fn reset_peak(&self) -> bool {
        match &self.place {
            Place::Process(process) => crate::process::reset_peak(process.pid).is_ok(),
            Place::Pod(_) => false,
        }
    }

    pub fn cpu_seconds(&self) -> Option<f64> {
        match &self.place {
            Place::Process(process) => crate::process::cpu_seconds(process.pid).ok(),
            Place::Pod(pod) => pod.cpu_seconds(),
        }
    }

    pub fn switches(&self) -> Option<Switches> {
        match &self.place {
            Place::Process(process) => crate::process::switches(process.pid).ok(),
            Place::Pod(_) => None,
        }
    }

    /// `server_port`: of the API server.
    pub fn wire(&self, server_port: u16) -> Option<Wire> {
        match &self.place {
            Place::Process(process) => Wire::begin(process.pid, server_port).ok(),
            Place::Pod(_) => None,
        }
    }

    /// The page /metrics.
    pub fn metrics(&self) -> Option<String> {
        self.get("/metrics")
    }

    /// What our own operator says of itself: all its watches are in sync. A peer's answer is None,
    /// because what a peer calls ready is another thing.
    pub fn is_in_sync(&self) -> Option<bool> {
        (self.name == OURS).then(|| self.get("/readyz").is_some())
    }

    fn get(&self, path: &str) -> Option<String> {
        match &self.place {
            Place::Process(process) => process.get(path).ok(),
            Place::Pod(pod) => pod.get(path).ok(),
        }
    }

    /// What the sampler's thread needs to look at the memory from time to time.
    pub fn memory_probe(&self) -> Box<dyn Fn() -> Option<Memory> + Send> {
        match &self.place {
            Place::Process(process) => {
                let pid = process.pid;
                Box::new(move || crate::process::memory(pid).ok())
            }
            Place::Pod(pod) => {
                let probe = pod.probe();
                Box::new(move || probe.memory().ok())
            }
        }
    }

    /// SIGTERM, and returns when it has ended.
    pub fn stop(self) -> Result<()> {
        match self.place {
            Place::Process(process) => process.stop(),
            Place::Pod(pod) => pod.stop(),
        }
    }
}
