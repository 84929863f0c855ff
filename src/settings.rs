//! Flags and environment -> Settings, checked once at startup. Called by main; all other code receives the finished
//! Settings. Nothing else reads the environment, except client.rs for the API server's address.

mod environment;
mod pods;
mod rollout;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use self::environment::is_service_link;
pub use self::pods::{PodPolicy, Pods, is_plain};
pub use self::rollout::MaxUnavailable;
use crate::catalog::Catalog;
use crate::telemetry::log::{self, LogFormat};

/// The operator's configuration. The administrator sets all of it except `deadline`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Only this namespace; None: the whole cluster.
    pub namespace: Option<String>,
    /// The operator's own namespace, which has the InferenceCatalog.
    pub catalog_namespace: String,
    pub catalog: Catalog,
    pub pods: Pods,
    pub cluster_domain: String,
    /// How many InferenceServices a change of these settings, or a new release, may take down at a time.
    pub max_unavailable: MaxUnavailable,
    /// How often to check for missed work; failures are retried by the queue's own backoff.
    pub resync: Duration,
    /// How many InferenceServices are reconciled at the same time.
    pub concurrency: usize,
    /// Several instances may run: one of them holds a Lease and acts, the others stand by.
    pub leader_elect: bool,
    /// Time limit for one reconcile of an InferenceService.
    pub deadline: Duration,
    /// Address of /metrics, /livez and /readyz; `[::]` is every address, of IPv4 too; None: not served.
    pub telemetry_address: Option<SocketAddr>,
    pub log_levels: Targets,
    pub log_format: LogFormat,
    /// The folder with the token and ca.crt of the operator's ServiceAccount.
    pub service_account: PathBuf,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            namespace: None,
            catalog_namespace: "inference-operator".into(),
            catalog: Catalog::default(),
            pods: Pods::default(),
            cluster_domain: "cluster.local".into(),
            max_unavailable: MaxUnavailable::Number(1),
            resync: Duration::from_secs(30),
            concurrency: 8,
            leader_elect: false,
            deadline: Duration::from_secs(30),
            telemetry_address: Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080))),
            log_levels: Targets::new().with_default(tracing::Level::INFO),
            log_format: LogFormat::Text,
            service_account: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            kubeconfig: None,
            context: None,
        }
    }
}

/// What is built in, as an InferenceCatalog.
pub const CATALOG: &str = include_str!("../k3s-manifests/samples/catalog/built-in.yaml");

/// What the command line requests.
#[derive(Debug, PartialEq)]
pub enum Invocation {
    Run(Box<Settings>),
    PrintCatalog,
    Help,
    Version,
}

/// In place of a value: the flag alone means `true`.
const SWITCH: &str = "";

struct Flag {
    name: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

const FLAGS: &[Flag] = &[
    Flag {
        name: "namespace",
        value: "NAME",
        help: "watch only this namespace (default: all)",
        set: |settings, value| optional(value).map(|value| settings.namespace = value),
    },
    Flag {
        name: "catalog-namespace",
        value: "NAME",
        help: "namespace of the InferenceCatalog named default: the operator's own (default: inference-operator)",
        set: |settings, value| required(value).map(|value| settings.catalog_namespace = value),
    },
    Flag {
        name: "gpu-type",
        value: "TYPE=PRODUCT[,PRODUCT...]",
        help: "add a GPU type and the values of the node label nvidia.com/gpu.product that it matches; may be repeated \
               (in the environment: separated by ';')",
        set: |settings, value| value.split(';').try_for_each(|entry| settings.catalog.add_gpu_type(entry)),
    },
    Flag {
        name: "server-image",
        value: "IMAGE",
        help: "image of the default engine, vllm (default: vllm/vllm-openai:v0.33.0)",
        set: |settings, value| {
            required(value).map(|image| {
                settings.catalog.change_default_engine(|engine| (engine.image, engine.cpu_image) = (image, None));
            })
        },
    },
    Flag {
        name: "server-port",
        value: "PORT",
        help: "port of the default engine (default: 8000)",
        set: |settings, value| {
            within(value, 1, 65535).map(|value| settings.catalog.change_default_engine(|engine| engine.port = value))
        },
    },
    Flag {
        name: "server-command",
        value: "JSON",
        help: "command of the default engine as a JSON array of strings; [] keeps the image's own (default: \
               [\"vllm\", \"serve\"])",
        set: |settings, value| {
            strings(value).map(|value| settings.catalog.change_default_engine(|engine| engine.command = value))
        },
    },
    Flag {
        name: "server-arguments",
        value: "JSON",
        help: "arguments of the default engine as a JSON array of strings; {model}, {maxBatchSize}, {gpuCount}, {port} \
               and {name} are replaced, an argument with {maxBatchSize} or {gpuCount} is omitted if the spec does not \
               set it (default: [\"{model}\", \"--host=::\", \"--port={port}\", \"--max-num-seqs={maxBatchSize}\", \
               \"--tensor-parallel-size={gpuCount}\", \"--shutdown-timeout=100\", \"--served-model-name\", \"{model}\", \"{name}\"])",
        set: |settings, value| {
            strings(value).map(|value| settings.catalog.change_default_engine(|engine| engine.arguments = value))
        },
    },
    Flag {
        name: "model-load-seconds",
        value: "SECONDS",
        help: "time limit for loading a model (default: 1800)",
        set: |settings, value| {
            within(value, 10, 86_400).map(|value| settings.pods.load_time = Duration::from_secs(value))
        },
    },
    Flag {
        name: "runtime-class",
        value: "NAME",
        help: "runtimeClassName of the pods, such as nvidia on k3s (default: none)",
        set: |settings, value| optional(value).map(|value| settings.pods.runtime_class = value),
    },
    Flag {
        name: "pod-policy",
        value: "POLICY",
        help: "what the pods of InferenceServices may be: baseline (what Kubernetes' Pod Security Standard of that name \
               allows), closed (the same, without spec.template, a ServiceAccount, Secrets other than the token's, and \
               Services beyond the cluster) or privileged (anything) (default: baseline)",
        set: |settings, value| {
            settings.pods.policy = value.parse()?;
            Ok(())
        },
    },
    Flag {
        name: "allow-host-path",
        value: "DIRECTORY",
        help: "directory of the nodes that pods may mount, and all below it; may be repeated (in the environment: \
               separated by ':')",
        set: |settings, value| {
            let mut paths = value.split(':').filter(|path| !path.is_empty());
            paths.try_for_each(|path| settings.pods.allow_host_path(path))
        },
    },
    Flag {
        name: "cluster-domain",
        value: "DOMAIN",
        help: "DNS domain of the cluster, for status.endpoint (default: cluster.local)",
        set: |settings, value| required(value).map(|value| settings.cluster_domain = value),
    },
    Flag {
        name: "rollout-max-unavailable",
        value: "COUNT|PERCENT%",
        help: "how many InferenceServices another release, or a change of these flags, may take down at a time: the \
               next ones follow when those are Ready again (default: 1)",
        set: |settings, value| value.parse().map(|value| settings.max_unavailable = value),
    },
    Flag {
        name: "resync-seconds",
        value: "SECONDS",
        help: "interval of the check for missed work; /livez fails if the controller's loop is stuck for three \
               intervals (default: 30)",
        set: |settings, value| within(value, 1, 3600).map(|value| settings.resync = Duration::from_secs(value)),
    },
    Flag {
        name: "concurrency",
        value: "COUNT",
        help: "how many InferenceServices are reconciled at the same time (default: 8)",
        set: |settings, value| within(value, 1, 64).map(|value| settings.concurrency = value),
    },
    Flag {
        name: "leader-elect",
        value: SWITCH,
        help: "run as one of several instances, of which one acts, as long as it holds the Lease inference-operator in \
               the namespace of the InferenceCatalog, and the others stand by (default: off; in the environment: true or false)",
        set: |settings, value| {
            settings.leader_elect = value.parse().map_err(|_| "expected true or false")?;
            Ok(())
        },
    },
    Flag {
        name: "telemetry-address",
        value: "ADDRESS",
        help: "address of /metrics, /livez and /readyz, or 'off'; [::] means all addresses, IPv6 and IPv4 (default: \
               [::]:8080)",
        set: |settings, value| {
            settings.telemetry_address = match value {
                "off" => None,
                value => Some(value.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080, or off")?),
            };
            Ok(())
        },
    },
    Flag {
        name: "log-level",
        value: "LEVEL[,TARGET=LEVEL...]",
        help: "error, warn, info, debug, trace or off; TARGET=LEVEL sets another level for one module and its submodules: \
               info,inference_operator::kubernetes=debug (default: info)",
        set: |settings, value| log::levels(value).map(|value| settings.log_levels = value),
    },
    Flag {
        name: "log-format",
        value: "FORMAT",
        help: "text, or json for one object per line (default: text)",
        set: |settings, value| {
            settings.log_format = value.parse()?;
            Ok(())
        },
    },
    Flag {
        name: "service-account",
        value: "DIRECTORY",
        help: "directory of the ServiceAccount's token and ca.crt (default: /var/run/secrets/kubernetes.io/serviceaccount)",
        set: |settings, value| required(value).map(|value| settings.service_account = value.into()),
    },
    #[cfg(feature = "kubeconfig")]
    Flag {
        name: "kubeconfig",
        value: "FILE",
        help: "kubeconfig to use instead of the ServiceAccount (default: without a ServiceAccount, the same as kubectl's)",
        set: |settings, value| required(value).map(|value| settings.kubeconfig = Some(value.into())),
    },
    #[cfg(feature = "kubeconfig")]
    Flag {
        name: "context",
        value: "NAME",
        help: "context in the kubeconfig (default: the current context)",
        set: |settings, value| required(value).map(|value| settings.context = Some(value)),
    },
];

impl Flag {
    fn variable(&self) -> String {
        format!("{}{}", environment::PREFIX, self.name.to_uppercase().replace('-', "_"))
    }
}

/// Parses the command line (without the program's name) and the environment; a flag takes precedence over its variable.
/// The error is one line for stderr.
pub fn parse(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Invocation, String> {
    let mut settings = Settings::default();
    for flag in FLAGS {
        let variable = flag.variable();
        if let Some(value) = environment(&variable).filter(|value| !is_service_link(&variable, value, &environment)) {
            (flag.set)(&mut settings, &value).map_err(|problem| format!("invalid {variable}={value:?}: {problem}"))?;
        }
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(Invocation::Help),
            lexopt::Arg::Short('V') | lexopt::Arg::Long("version") => return Ok(Invocation::Version),
            lexopt::Arg::Long("print-catalog") => return Ok(Invocation::PrintCatalog),
            lexopt::Arg::Long(name) => {
                let flag = FLAGS
                    .iter()
                    .find(|flag| flag.name == name)
                    .ok_or_else(|| one_line(&format!("unknown flag --{name}")))?;
                let value = match flag.value {
                    SWITCH => parser.optional_value().unwrap_or_else(|| "true".into()),
                    _ => parser.value().map_err(|error| error.to_string())?,
                };
                let value = value.to_str().ok_or_else(|| format!("invalid --{}: not UTF-8", flag.name))?;
                (flag.set)(&mut settings, value)
                    .map_err(|problem| format!("invalid --{}={value:?}: {problem}", flag.name))?;
            }
            other => return Err(one_line(&other.unexpected().to_string())),
        }
    }
    Ok(Invocation::Run(Box::new(settings)))
}

/// Names the variables that look meant for this program but are unknown to it; None: there are none.
pub fn unknown_variables(variables: &[String]) -> Option<String> {
    let known: Vec<String> = FLAGS.iter().map(Flag::variable).collect();
    environment::unknown(variables, &known)
}

/// An argument that is not a flag can hold anything, even terminal control characters.
fn one_line(problem: &str) -> String {
    format!("{} (--help lists the flags)", problem.replace(char::is_control, "?"))
}

pub fn help() -> String {
    use std::fmt::Write;
    let mut text = String::from(
        "inference-operator: turns each InferenceService into a Deployment and a Service\n\n\
         Usage: inference-operator [FLAG]...\n\n\
         Every flag is also an environment variable: --server-image is INFERENCE_OPERATOR_SERVER_IMAGE.\n\nFlags:\n",
    );
    for flag in FLAGS {
        let _ = writeln!(text, "{}", format!("  --{} {}", flag.name, flag.value).trim_end());
        wrap(&mut text, flag.help);
    }
    text.push_str("  --print-catalog\n");
    wrap(&mut text, "print the InferenceCatalog that says what is built in, as a manifest to start from");
    text.push_str("  -h, --help\n        print this help\n  -V, --version\n        print the version\n");
    text
}

/// Appends a paragraph wrapped to the width of a terminal.
fn wrap(text: &mut String, paragraph: &str) {
    const INDENT: &str = "       ";
    const WIDTH: usize = 92;
    text.push_str(INDENT);
    let mut column = INDENT.len();
    for word in paragraph.split(' ') {
        if column + 1 + word.len() > WIDTH {
            text.push('\n');
            text.push_str(INDENT);
            column = INDENT.len();
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push('\n');
}

// === values ===

fn required(value: &str) -> Result<String, String> {
    if value.trim().is_empty() { Err("expected a non-empty value".into()) } else { Ok(value.to_owned()) }
}

#[allow(clippy::unnecessary_wraps)] // the same shape as its siblings
fn optional(value: &str) -> Result<Option<String>, String> {
    Ok(Some(value.trim()).filter(|value| !value.is_empty()).map(str::to_owned))
}

fn within<N: TryFrom<u64>>(value: &str, least: u64, most: u64) -> Result<N, String> {
    let expected = || format!("expected a whole number from {least} to {most}");
    let number = value.parse::<u64>().ok().filter(|number| (least..=most).contains(number)).ok_or_else(expected)?;
    N::try_from(number).map_err(|_| expected())
}

fn strings(value: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(value).map_err(|_| "expected a JSON array of strings, such as [\"--model={model}\"]".into())
}

#[cfg(test)]
mod tests;
