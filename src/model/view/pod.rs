//! What is kept of a pod: what may tell why it is not ready.

use serde::Deserialize;
use serde_json::Value;

use super::CONDITIONS;
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::resource::Resource;

/// A pod from a list, as far as it is kept. Not decoded further: it is looked at once, and types for its many parts would
/// add 25 kB to the program.
#[derive(Clone, Debug, Deserialize)]
pub struct PodView(pub Value);

const CONTAINERS: Keep = Keep::Fields(&[
    ("name", Keep::Whole),
    ("image", Keep::Whole),
    ("resources", Keep::Fields(&[("limits", Keep::Fields(&[("memory", Keep::Whole)]))])),
]);

const TERMINATED: (&str, Keep) =
    ("terminated", Keep::Fields(&[("reason", Keep::Whole), ("exitCode", Keep::Whole), ("message", Keep::Whole)]));

const CONTAINER_STATUSES: Keep = Keep::Fields(&[
    ("name", Keep::Whole),
    ("ready", Keep::Whole),
    (
        "state",
        Keep::Fields(&[
            ("waiting", Keep::Fields(&[("reason", Keep::Whole), ("message", Keep::Whole)])),
            ("running", Keep::Fields(&[("startedAt", Keep::Whole)])),
            TERMINATED,
        ]),
    ),
    ("lastState", Keep::Fields(&[TERMINATED])),
]);

const NODE_AFFINITY: Keep = Keep::Fields(&[(
    "requiredDuringSchedulingIgnoredDuringExecution",
    Keep::Fields(&[(
        "nodeSelectorTerms",
        Keep::Fields(&[(
            "matchExpressions",
            Keep::Fields(&[("key", Keep::Whole), ("operator", Keep::Whole), ("values", Keep::Whole)]),
        )]),
    )]),
)]);

impl Resource for PodView {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "pods";
    const FIELDS: Fields = &[
        (
            "metadata",
            Keep::Fields(&[
                ("creationTimestamp", Keep::Whole),
                ("deletionTimestamp", Keep::Whole),
                ("labels", Keep::Fields(&[("pod-template-hash", Keep::Whole)])),
            ]),
        ),
        (
            "spec",
            Keep::Fields(&[
                ("nodeName", Keep::Whole),
                ("nodeSelector", Keep::Whole),
                ("affinity", Keep::Fields(&[("nodeAffinity", NODE_AFFINITY)])),
                ("containers", CONTAINERS),
                ("initContainers", CONTAINERS),
                ("readinessGates", Keep::Whole),
                (
                    "volumes",
                    Keep::Fields(&[
                        ("secret", Keep::Fields(&[("secretName", Keep::Whole), ("optional", Keep::Whole)])),
                        ("configMap", Keep::Fields(&[("name", Keep::Whole), ("optional", Keep::Whole)])),
                        ("persistentVolumeClaim", Keep::Fields(&[("claimName", Keep::Whole)])),
                    ]),
                ),
            ]),
        ),
        (
            "status",
            Keep::Fields(&[
                ("phase", Keep::Whole),
                ("reason", Keep::Whole),
                ("message", Keep::Whole),
                ("startTime", Keep::Whole),
                ("conditions", CONDITIONS),
                ("containerStatuses", CONTAINER_STATUSES),
                ("initContainerStatuses", CONTAINER_STATUSES),
            ]),
        ),
    ];
}
