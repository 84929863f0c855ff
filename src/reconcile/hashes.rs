//! Are the children of an InferenceService those that its spec, the settings and this release build? Asked for each
//! InferenceService of the first list, where the spec is at hand and nothing is read; pure.

use serde_json::{Map, Value, json};

use super::validate::{Valid, decode, validate};
use super::{deployment, service};
use crate::api::{InferenceServiceSpec, InferenceServiceStatus, Phase};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::model::Instance;
use crate::model::hashes::{Hash, Hashes, Standing};
use crate::model::uid::Uid;
use crate::model::view::{InferenceServiceView, RawSpec};
use crate::settings::Settings;

/// How it stands with an InferenceService that has this status. The inputs are compared first: to build 5,000 times takes
/// a quarter of a second. `config_hash`: of the settings. What a newer instance than `own` has brought is not rolled
/// out over.
pub fn judge(
    settings: &Settings,
    config_hash: u64,
    own: &Instance,
    object: &InferenceServiceView,
    status: &InferenceServiceStatus,
) -> Standing {
    let observed = status.observed.as_ref();
    let brought = observed.and_then(|observed| observed.instance.as_deref()?.parse::<Instance>().ok());
    if brought.is_some_and(|instance| instance > *own) {
        return Standing::UpToDate;
    }
    let built = observed.and_then(|observed| observed.hashes.as_deref()?.parse::<Hashes>().ok());
    // Another domain changes the status and no child.
    let port = observed.and_then(|observed| observed.service_port);
    let endpoint = service::endpoint(&object.meta.namespace, &object.meta.name, port, settings);
    let is_said = status.endpoint.as_ref().is_none_or(|said| *said == endpoint);
    if let Some(built) = built.filter(|built| is_said && built.inputs == inputs(config_hash, &object.spec)) {
        return if built.by_rollout { Standing::RolledOut } else { Standing::UpToDate };
    }
    let meta = &object.meta;
    let (children, replicas) = builds(settings, &meta.namespace, &meta.name, meta.uid, &object.spec);
    match built {
        // Other settings build the same.
        Some(built) if built.children == children && is_said && is_taken_down(built, status) => Standing::RolledOut,
        Some(built) if built.children == children && is_said => Standing::UpToDate,
        Some(built) if built.children == children => Standing::Outdated { replicas: 0 },
        Some(built) if replicas > 0 && is_taken_down(built, status) => Standing::TakenDown { replicas },
        _ => Standing::Outdated { replicas },
    }
}

/// Has a rollout brought these children, which were not Ready since?
fn is_taken_down(built: Hashes, status: &InferenceServiceStatus) -> bool {
    built.by_rollout && !matches!(status.phase, Phase::Ready | Phase::Failed | Phase::Paused)
}

/// A hash over all that decides what is built.
pub fn inputs(config_hash: u64, spec: &RawSpec) -> u64 {
    Hash::default().text(&config_hash.to_string()).text(spec.text().unwrap_or_default()).finish()
}

/// A hash over the children that this InferenceService should have, and the number of replicas that a change of them may
/// take down: none if the spec is refused, because then the children stay as they are.
pub fn builds(settings: &Settings, namespace: &str, name: &str, uid: Uid, spec: &RawSpec) -> (u64, u32) {
    let built = decode(spec).and_then(|spec| {
        if spec.paused {
            return Ok((of_paused(), 0));
        }
        let valid = validate(namespace, name, uid, &spec, &settings.catalog)?;
        let deployment = deployment::build(&valid, &settings.pods)?;
        Ok((of_children(&valid, &deployment), u32::try_from(spec.replicas).unwrap_or(0)))
    });
    built.unwrap_or_else(|error| (of_refusal(&error), 0))
}

pub fn of_children(valid: &Valid, deployment: &Value) -> u64 {
    let service = service::build(valid);
    let (of_deployment, of_service) = (&deployment["metadata"]["labels"], &service["metadata"]);
    // Not over the owner: children that were restored are adopted as they are.
    let hash = Hash::default().json(of_deployment).json(&deployment["spec"]);
    hash.json(&of_service["labels"]).json(&of_service["annotations"]).json(&service["spec"]).finish()
}

/// A spec that cannot be built has children of another one, or none.
pub fn of_refusal(error: &Error) -> u64 {
    Hash::default().text(&error.to_string()).finish()
}

pub fn of_paused() -> u64 {
    Hash::default().text("paused").finish()
}

/// A hash over the settings and the release, as the children of one InferenceService for each GPU type and each engine.
/// Anything that would build other children changes it, and then each InferenceService is looked at more closely.
pub fn config_hash(settings: &Settings) -> u64 {
    let endpoint = service::endpoint("namespace", "name", None, settings);
    let mut hash = Hash::default().text(env!("CARGO_PKG_VERSION")).text(&endpoint);
    hash = hash.text(settings.pods.policy.as_str()).text(&settings.pods.host_paths.join(":"));
    for spec in specs(&settings.catalog) {
        // By name an InferenceService chooses: two that build the same are not the same.
        hash = hash.text(spec.gpu_type.as_deref().unwrap_or_default()).text(spec.engine.as_deref().unwrap_or_default());
        let valid = validate("namespace", "name", Uid::default(), &spec, &settings.catalog);
        let built = valid.and_then(|valid| {
            let deployment = deployment::build(&valid, &settings.pods)?;
            Ok(of_children(&valid, &deployment))
        });
        hash = hash.text(&built.unwrap_or_else(|error| of_refusal(&error)).to_string());
    }
    hash.finish()
}

/// Specs that together show all that a setting can change.
fn specs(catalog: &Catalog) -> impl Iterator<Item = InferenceServiceSpec> {
    let of_types = catalog.gpu_types().map(|gpu| InferenceServiceSpec::new("model", &gpu.name));
    let of_engines = catalog.engines().flat_map(|engine| {
        let spec = InferenceServiceSpec { engine: Some(engine.name.clone()), ..InferenceServiceSpec::of("model") };
        let source = || Some(Map::from_iter([("emptyDir".to_owned(), json!({}))]));
        let full = InferenceServiceSpec {
            max_batch_size: Some(1),
            gpu_count: Some(2),
            cache: source(),
            model_volume: source(),
            hugging_face_token_secret: Some(json!({"name": "secret"})),
            node_loss_seconds: Some(1),
            service_account_name: Some("account".to_owned()),
            ..spec.clone()
        };
        let file = InferenceServiceSpec { model: "/model".to_owned(), gpu_count: Some(0), ..spec.clone() };
        [spec, full, file]
    });
    of_types.chain(of_engines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Observed;
    use crate::settings::PodPolicy;
    use crate::testing::fixtures::{UID, object};

    /// An operator with other settings.
    fn operator(change: fn(&mut Settings)) -> (Settings, u64) {
        let mut settings = Settings::default();
        change(&mut settings);
        let hash = config_hash(&settings);
        (settings, hash)
    }

    fn with(spec: &Value) -> InferenceServiceView {
        let mut object = object(UID, 100, 1, Value::Null);
        object.spec = RawSpec::from(spec);
        object
    }

    fn own() -> Instance {
        Instance::of_this_release(1000)
    }

    /// What this operator writes.
    fn built((settings, hash): &(Settings, u64), object: &InferenceServiceView) -> Hashes {
        let (inputs, (children, _)) =
            (inputs(*hash, &object.spec), builds(settings, "ns", "demo", object.meta.uid, &object.spec));
        Hashes { inputs, children, by_rollout: false }
    }

    /// How an operator judges what another one has written.
    fn standing(after: &(Settings, u64), before: &(Settings, u64), object: &InferenceServiceView) -> Standing {
        let endpoint = service::endpoint("ns", "demo", None, &before.0);
        let status = of(Some(built(before, object)), Some(endpoint));
        judge(&after.0, after.1, &own(), object, &status)
    }

    fn of(hashes: Option<Hashes>, endpoint: Option<String>) -> InferenceServiceStatus {
        let hashes = hashes.map(|hashes| hashes.to_string());
        let observed = Some(Observed { hashes, ..Observed::default() });
        InferenceServiceStatus { endpoint, observed, ..InferenceServiceStatus::default() }
    }

    /// A change of the settings, and which of the InferenceServices it concerns.
    type Change = (&'static str, fn(&mut Settings), [bool; 6]);

    #[test]
    fn other_settings_concern_those_whose_children_they_change_and_no_others() {
        let of_vllm = json!({"model": "m"});
        let of_sglang = json!({"model": "m", "engine": "sglang"});
        let of_gpu = json!({"model": "m", "gpuType": "L40S"});
        let of_unknown_gpu = json!({"model": "m", "gpuType": "T4"});
        let of_host_path = json!({"model": "m", "cache": {"hostPath": {"path": "/models"}}});
        let paused = json!({"model": "m", "paused": true, "gpuType": "T4"});
        let all = [of_vllm, of_sglang, of_gpu, of_unknown_gpu, of_host_path, paused];
        let before = operator(|_| {});
        let changes: [Change; 7] = [
            ("none", |_| {}, [false; 6]),
            (
                "another image of vLLM",
                |settings| settings.catalog.change_default_engine(|engine| engine.image.push('x')),
                [true, false, true, false, false, false],
            ),
            (
                "another GPU type",
                |settings| settings.catalog.add_gpu_type("T4=Tesla-T4").expect("added"),
                [false, false, false, true, false, false],
            ),
            (
                "another product of a GPU type",
                |settings| settings.catalog.add_gpu_type("L40S=other").expect("added"),
                [false, false, true, false, false, false],
            ),
            (
                "a folder of the nodes",
                |settings| settings.pods.host_paths.push("/models".into()),
                [false, false, false, false, true, false],
            ),
            (
                "another policy that allows the same",
                |settings| settings.pods.policy = PodPolicy::Closed,
                [false, false, false, false, true, false],
            ),
            ("another domain", |settings| settings.cluster_domain.push('x'), [true; 6]),
        ];
        for (what, change, expected) in changes {
            let after = operator(change);
            let concerned = all.each_ref().map(|spec| standing(&after, &before, &with(spec)) != Standing::UpToDate);
            assert_eq!(concerned, expected, "{what}");
        }
    }

    /// One that an administrator renames builds the same, and is no longer there under its name.
    #[test]
    fn two_gpu_types_of_the_same_nodes_are_not_the_same() {
        let before = operator(|settings| settings.catalog.add_gpu_type("T4=Tesla-T4").expect("added"));
        let after = operator(|settings| settings.catalog.add_gpu_type("T4-16=Tesla-T4").expect("added"));
        let object = with(&json!({"model": "m", "gpuType": "T4", "replicas": 1}));
        assert_eq!(standing(&after, &before, &object), Standing::Outdated { replicas: 0 });
    }

    /// A rollout waits for what it takes down. A refusal takes nothing down, and neither does another endpoint.
    #[test]
    fn what_takes_nothing_down_does_not_wait() {
        let before = operator(|settings| settings.pods.host_paths.push("/models".into()));
        let (refusing, other_domain) = (
            operator(|_| {}),
            operator(|settings| {
                settings.pods.host_paths.push("/models".into());
                settings.cluster_domain.push('x');
            }),
        );
        let refused = with(&json!({"model": "m", "replicas": 3, "cache": {"hostPath": {"path": "/models"}}}));
        assert_eq!(standing(&refusing, &before, &refused), Standing::Outdated { replicas: 0 });
        assert_eq!(standing(&other_domain, &before, &refused), Standing::Outdated { replicas: 0 });
        let same_inputs = of(Some(built(&before, &refused)), Some("http://demo.ns.svc.other".to_owned()));
        assert_eq!(judge(&before.0, before.1, &own(), &refused, &same_inputs), Standing::Outdated { replicas: 0 });
        let other_image = operator(|settings| settings.catalog.change_default_engine(|engine| engine.image.push('x')));
        let object = with(&json!({"model": "m", "replicas": 3}));
        assert_eq!(standing(&other_image, &before, &object), Standing::Outdated { replicas: 3 });
    }

    #[test]
    fn what_no_operator_has_said_is_not_up_to_date() {
        let operator = operator(|_| {});
        let known = built(&operator, &with(&json!({"model": "m"})));
        let judge = |spec: &Value, hashes| judge(&operator.0, operator.1, &own(), &with(spec), &of(hashes, None));
        let same = json!({"model": "m", "replicas": 1});
        assert_eq!(judge(&same, None), Standing::Outdated { replicas: 1 });
        assert_eq!(judge(&same, Some(known)), Standing::UpToDate, "it builds the same");
        assert_eq!(judge(&json!({"model": "other"}), Some(known)), Standing::Outdated { replicas: 1 });
        let by_rollout = Hashes { by_rollout: true, ..known };
        assert_eq!(judge(&json!({"model": "m"}), Some(by_rollout)), Standing::RolledOut);
    }

    /// Or else a restart would let the next one go before this one is Ready again. One that was Ready since, and is down by
    /// something else, must not halt the rollout of another change.
    #[test]
    fn what_a_rollout_of_other_settings_has_taken_down_is_on_its_way_until_it_was_ready() {
        let before = operator(|_| {});
        let no_concern = operator(|settings| settings.catalog.add_gpu_type("T4=Tesla-T4").expect("added"));
        let other_image = operator(|settings| settings.catalog.change_default_engine(|engine| engine.image.push('x')));
        let object = with(&json!({"model": "m", "replicas": 2}));
        let standing = |after: &(Settings, u64), phase, by_rollout| {
            let status = of(Some(Hashes { by_rollout, ..built(&before, &object) }), None);
            judge(&after.0, after.1, &own(), &object, &InferenceServiceStatus { phase, ..status })
        };
        let outdated = Standing::Outdated { replicas: 2 };
        for phase in [Phase::Progressing, Phase::Degraded, Phase::Pending] {
            let both = |by_rollout| [&no_concern, &other_image].map(|after| standing(after, phase, by_rollout));
            assert_eq!(both(true), [Standing::RolledOut, Standing::TakenDown { replicas: 2 }], "{phase:?}");
            assert_eq!(both(false), [Standing::UpToDate, outdated], "{phase:?}");
        }
        for phase in [Phase::Ready, Phase::Failed, Phase::Paused] {
            let both = [&no_concern, &other_image].map(|after| standing(after, phase, true));
            assert_eq!(both, [Standing::UpToDate, outdated], "{phase:?}");
        }
    }

    /// Nor does a status that says nothing of it, or nothing that can be read: it is older than any.
    #[test]
    fn what_a_newer_instance_has_brought_is_not_rolled_out_over() {
        let operator = operator(|_| {});
        let standing = |instance: Option<String>| {
            let observed = Some(Observed { instance, ..Observed::default() });
            let status = InferenceServiceStatus { observed, ..InferenceServiceStatus::default() };
            judge(&operator.0, operator.1, &own(), &with(&json!({"model": "m"})), &status)
        };
        let of = |started| Some(Instance::of_this_release(started).to_string());
        assert_eq!(standing(of(1001)), Standing::UpToDate);
        for older in [of(1000), of(999), None, Some("yesterday".to_owned())] {
            assert_eq!(standing(older), Standing::Outdated { replicas: 1 });
        }
    }
}
