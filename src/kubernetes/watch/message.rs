//! Log messages that say what a watch is waiting for, for the person who has to act. Called by watch.rs; must never
//! send a request.

/// What the watch is waiting for. Logged once, and not again if only the digits in it (a time) changed.
#[derive(Default)]
pub struct Message(Option<String>);

impl Message {
    pub fn report(&mut self, resource: &str, message: String) {
        let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
        if self.0.as_deref().map(words) != Some(words(&message)) {
            tracing::warn!(resource, "{message}");
            self.0 = Some(message);
        }
    }

    /// Called for each event, so the name is built only when it is logged.
    pub fn is_over(&mut self, resource: fn() -> String) {
        if self.0.take().is_some() {
            tracing::info!(resource = resource(), "watching");
        }
    }
}

pub fn message(resource: &str, error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return format!("waiting for the API server: {}", crate::kubernetes::refusal::describe(error));
    };
    let message = &status.message;
    match status.code {
        401 => format!(
            "the API server rejects the token (an audience in the operator's manifest must be one of the API server's): \
             {message}"
        ),
        403 => format!("not permitted to list or watch {resource} (apply k3s-manifests/rbac.yaml): {message}"),
        404 => format!("waiting for the CRD: the API server does not know {resource} (apply k3s-manifests/crd.yaml)"),
        code => format!("waiting for the API server: {message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_a_watch_waits_for_names_who_has_to_see_to_it() {
        let refused = |code, message: &str| {
            kube::Error::Api(Status { code, message: message.into(), ..Status::default() }.into())
        };
        for (error, expected) in [
            (refused(404, ""), "waiting for the CRD: the API server does not know a.b (apply k3s-manifests/crd.yaml)"),
            (
                refused(401, "who?"),
                "the API server rejects the token (an audience in the operator's manifest must be one of the API server's): who?",
            ),
            (refused(403, "no"), "not permitted to list or watch a.b (apply k3s-manifests/rbac.yaml): no"),
            (refused(500, "no"), "waiting for the API server: no (500)"),
            (kube::Error::Service("no route".into()), "waiting for the API server: no route"),
        ] {
            assert_eq!(message("a.b", &error), expected);
        }
    }
}
