//! Tells the environment variables meant for this program from those that Kubernetes sets for a Service with a similar
//! name. Called by settings.rs; must never read the environment itself.

pub const PREFIX: &str = "INFERENCE_OPERATOR_";

/// Letters by which a variable may differ from the suggested one: enough for two swapped letters.
const TYPING_ERROR: usize = 2;

/// Whether the kubelet set this variable for a Service. In a pod with service links, a Service called
/// `inference-operator-server` sets INFERENCE_OPERATOR_SERVER_PORT=tcp://10.0.0.1:80. The pod's manifest takes
/// precedence over it, so the value has to be checked too. Source: Kubernetes, pkg/kubelet/envvars.
pub fn is_service_link(variable: &str, value: &str, environment: impl Fn(&str) -> Option<String>) -> bool {
    let Some(service) = variable.strip_suffix("_PORT") else { return false };
    let (Some(host), Some(port)) =
        (environment(&format!("{service}_SERVICE_HOST")), environment(&format!("{service}_SERVICE_PORT")))
    else {
        return false;
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    value.split_once("://").is_some_and(|(_, address)| address == format!("{host}:{port}"))
}

/// Names the variables that can only be misspelled ones of this program; None: there are none.
pub fn unknown(variables: &[String], known: &[String]) -> Option<String> {
    let services: Vec<&str> = variables.iter().filter_map(|name| name.strip_suffix("_SERVICE_HOST")).collect();
    let is_link = |name: &str| {
        services.iter().filter_map(|service| name.strip_prefix(service)).any(|rest| {
            rest == "_SERVICE_HOST"
                || rest.starts_with("_SERVICE_PORT")
                || rest == "_PORT"
                || rest.starts_with("_PORT_")
        })
    };
    let is_unknown = |name: &&String| name.starts_with(PREFIX) && !known.contains(name) && !is_link(name);
    let mut unknown: Vec<&String> = variables.iter().filter(is_unknown).collect();
    unknown.sort_unstable();
    let named = unknown.into_iter().map(|name| match known.iter().find(|known| is_near(name, known)) {
        Some(known) => format!("{name} (did you mean {known}?)"),
        None => name.clone(),
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// Whether the names differ only by a typing error, between a common prefix and a common suffix.
fn is_near(name: &str, known: &str) -> bool {
    let (name, known) = (name.as_bytes(), known.as_bytes());
    let shorter = name.len().min(known.len());
    let beginning = name.iter().zip(known).take_while(|(a, b)| a == b).count();
    let ending = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    name.len().max(known.len()) - shorter.min(beginning + ending) <= TYPING_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{PREFIX}{name}")).collect()
    }

    #[test]
    fn a_variable_that_is_not_known_is_named_with_the_one_that_may_be_meant() {
        let known = names(&["GPU_TYPE", "SERVER_IMAGE", "SERVER_PORT", "LOG_LEVEL"]);
        for (variable, meant) in [
            ("GPU_TYPES", Some("GPU_TYPE")),
            ("GPUTYPE", Some("GPU_TYPE")),
            ("SERVER_IMGAE", Some("SERVER_IMAGE")),
            ("SERVER_PART", Some("SERVER_PORT")),
            ("LOGLEVEL", Some("LOG_LEVEL")),
            ("MODEL", None),
            ("", None),
        ] {
            let told = unknown(&names(&[variable, "SERVER_PORT"]), &known).expect("it is named");
            let meant = meant.map(|meant| format!(" (did you mean {PREFIX}{meant}?)")).unwrap_or_default();
            assert_eq!(told, format!("{PREFIX}{variable}{meant}"));
        }
        let all = unknown(&names(&["ZOO", "GPU_TYPE", "A"]), &known).expect("named");
        assert_eq!(all, "INFERENCE_OPERATOR_A, INFERENCE_OPERATOR_ZOO");
        assert_eq!(unknown(&["PATH".to_owned(), "INFERENCE_OPERATORS".to_owned()], &known), None);
    }

    /// All forms that the kubelet sets, for Services called inference-operator and inference-operator-server.
    #[test]
    fn what_kubernetes_sets_for_a_service_is_no_unknown_variable() {
        let forms = [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP_METRICS",
            "PORT",
            "PORT_80_TCP",
            "PORT_80_TCP_PROTO",
            "PORT_80_TCP_PORT",
            "PORT_80_TCP_ADDR",
        ];
        let of_server: Vec<String> = forms.iter().map(|form| format!("SERVER_{form}")).collect();
        let all: Vec<&str> = forms.into_iter().chain(of_server.iter().map(String::as_str)).collect();
        assert_eq!(unknown(&names(&all), &[]), None);
        let told = unknown(&names(&["SERVICE_HOST", "SERVICE_ACOUNT"]), &names(&["SERVICE_ACCOUNT"]));
        assert!(told.expect("named").starts_with("INFERENCE_OPERATOR_SERVICE_ACOUNT (did you mean"));
    }

    #[test]
    fn only_the_address_of_a_service_that_is_there_is_a_service_link() {
        let is_link = |value: &str, host: Option<&str>| {
            is_service_link("INFERENCE_OPERATOR_SERVER_PORT", value, |name| match name {
                "INFERENCE_OPERATOR_SERVER_SERVICE_HOST" => host.map(str::to_owned),
                "INFERENCE_OPERATOR_SERVER_SERVICE_PORT" => Some("80".into()),
                _ => None,
            })
        };
        assert!(is_link("tcp://10.0.0.1:80", Some("10.0.0.1")));
        assert!(is_link("udp://[fd00::1]:80", Some("fd00::1")));
        for (value, host) in [
            ("tcp://10.0.0.1:80", None),
            ("tcp://10.0.0.2:80", Some("10.0.0.1")),
            ("tcp://10.0.0.1:8000", Some("10.0.0.1")),
            ("8000", Some("10.0.0.1")),
            ("99999", Some("10.0.0.1")),
        ] {
            assert!(!is_link(value, host), "{value} {host:?}");
        }
    }
}
