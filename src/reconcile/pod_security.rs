//! Kubernetes' Pod Security Standard `baseline`, held against the built pod: whoever may create an InferenceService
//! gains no power over nodes by it. Pure. Source: k8s.io/pod-security-admission v1.36, policy/check_*.go.

use serde_json::Value;

use crate::api::InferenceServiceSpec;
use crate::error::Error;
use crate::settings::{PodPolicy, Pods, is_plain};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

const PROFILES: [&str; 2] = ["RuntimeDefault", "Localhost"];

/// How many violations a message names.
const NAMED: usize = 5;

/// Is this pod allowed by the administrator's policy?
pub fn check(template: &Value, spec: &InferenceServiceSpec, pods: &Pods) -> Result<(), Error> {
    let violations = match pods.policy {
        PodPolicy::Privileged => return Ok(()),
        PodPolicy::Baseline => baseline(template, &pods.host_paths),
        PodPolicy::Closed => [closed(spec), baseline(template, &pods.host_paths)].concat(),
    };
    if violations.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = violations.iter().take(NAMED).cloned().collect();
    if violations.len() > NAMED {
        named.push(format!("and {} more", violations.len() - NAMED));
    }
    Err(Error::PodNotAllowed { policy: pods.policy.as_str(), violations: named.join("; ") })
}

/// What an InferenceService may not set where it is handed to people who may not create pods.
fn closed(spec: &InferenceServiceSpec) -> Vec<String> {
    let is_secret = |variable: &Value| variable.pointer("/valueFrom/secretKeyRef").is_some();
    let secrets = spec.env.as_ref().and_then(Value::as_array).is_some_and(|env| env.iter().any(is_secret));
    let service = spec.service.as_ref();
    let is_opened = service.is_some_and(|service| service.type_.as_deref().is_some_and(|type_| type_ != "ClusterIP"));
    [
        ("template", spec.template.is_some()),
        ("serviceAccountName", spec.service_account_name.is_some()),
        ("imagePullSecrets", spec.image_pull_secrets.is_some()),
        ("env: valueFrom.secretKeyRef", secrets),
        ("service.type", is_opened),
        ("service.annotations", service.is_some_and(|service| service.annotations.is_some())),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .map(|(field, _)| format!("{field} is not allowed"))
    .collect()
}

/// The violations of `baseline` in a pod template, each with its path. Host paths below `allowed` are none.
pub fn baseline(template: &Value, allowed: &[String]) -> Vec<String> {
    let mut found = Violations::default();
    let pod = &template["spec"];
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        found.unless(pod[field] != true, || format!("spec.{field} is true"));
    }
    for volume in items(&pod["volumes"]) {
        let path = &volume["hostPath"];
        let is_allowed = path.is_null() || path["path"].as_str().is_some_and(|path| is_below(path, allowed));
        found.unless(is_allowed, || format!("spec.volumes[{}].hostPath", text(&volume["name"])));
    }
    for sysctl in items(&pod["securityContext"]["sysctls"]) {
        let name = text(&sysctl["name"]);
        found.unless(SYSCTLS.contains(&name), || format!("spec.securityContext.sysctls: {name}"));
    }
    found.security_context("spec", &pod["securityContext"]);
    for (annotation, value) in template["metadata"]["annotations"].as_object().into_iter().flatten() {
        let profile = text(value);
        let is_fine = !annotation.starts_with("container.apparmor.security.beta.kubernetes.io/")
            || matches!(profile, "" | "runtime/default")
            || profile.starts_with("localhost/");
        found.unless(is_fine, || format!("metadata.annotations: {annotation} is {profile}"));
    }
    for list in ["initContainers", "containers"] {
        for container in items(&pod[list]) {
            found.container(&format!("spec.{list}[{}]", text(&container["name"])), container);
        }
    }
    found.0
}

#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn unless(&mut self, is_fine: bool, violation: impl FnOnce() -> String) {
        if !is_fine {
            self.0.push(violation());
        }
    }

    fn container(&mut self, path: &str, container: &Value) {
        let context = &container["securityContext"];
        self.unless(context["privileged"] != true, || format!("{path}.securityContext.privileged is true"));
        for capability in items(&context["capabilities"]["add"]) {
            let capability = text(capability);
            let is_fine = CAPABILITIES.contains(&capability);
            self.unless(is_fine, || format!("{path}.securityContext.capabilities.add: {capability}"));
        }
        let mount = &context["procMount"];
        let is_fine = mount.is_null() || mount == "Default";
        self.unless(is_fine, || format!("{path}.securityContext.procMount is {}", text(mount)));
        self.security_context(path, context);
        for port in items(&container["ports"]) {
            let host = &port["hostPort"];
            self.unless(host.is_null() || *host == 0, || format!("{path}.ports: hostPort {host}"));
        }
        for handler in ["livenessProbe", "readinessProbe", "startupProbe"] {
            self.handler(&format!("{path}.{handler}"), &container[handler]);
        }
        for handler in ["postStart", "preStop"] {
            self.handler(&format!("{path}.lifecycle.{handler}"), &container["lifecycle"][handler]);
        }
    }

    /// What pods and containers have in common.
    fn security_context(&mut self, path: &str, context: &Value) {
        for profile in ["seccompProfile", "appArmorProfile"] {
            let type_ = &context[profile]["type"];
            let is_fine = type_.is_null() || PROFILES.contains(&text(type_));
            self.unless(is_fine, || format!("{path}.securityContext.{profile}.type is {}", text(type_)));
        }
        let selinux = &context["seLinuxOptions"];
        let is_fine = SELINUX_TYPES.contains(&text(&selinux["type"]))
            && text(&selinux["user"]).is_empty()
            && text(&selinux["role"]).is_empty();
        self.unless(is_fine, || format!("{path}.securityContext.seLinuxOptions"));
        let is_fine = context["windowsOptions"]["hostProcess"] != true;
        self.unless(is_fine, || format!("{path}.securityContext.windowsOptions.hostProcess is true"));
    }

    /// A probe or a lifecycle handler: the kubelet would send its request to any address.
    fn handler(&mut self, path: &str, handler: &Value) {
        for kind in ["httpGet", "tcpSocket"] {
            let host = text(&handler[kind]["host"]);
            self.unless(host.is_empty(), || format!("{path}.{kind}.host is {host}"));
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Is this path one of these folders, or below one? Names alone are compared: no link can be resolved here.
fn is_below(path: &str, folders: &[String]) -> bool {
    let below = |folder: &String| {
        path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_plain(path) && folders.iter().any(below)
}

#[cfg(test)]
mod tests;
