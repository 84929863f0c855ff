//! What a user may put into each field of the spec, and what it may reach; and what is refused.

/// For each field of the spec: potentially harmful values, and the only paths in the Deployment that they may change.
/// A new field must be added here before its test passes.
pub const FIELDS: &[(&str, &[&str], &[&str])] = &[
    (
        "model",
        &[
            r#""x\" --trust-remote-code""#,
            r#""$(KUBERNETES_SERVICE_HOST)""#,
            r#""a\n  hostNetwork: true""#,
            r#""x\",\"image\":\"evil\"""#,
        ],
        &["/spec/template/spec/containers/0/args/0", "/spec/template/spec/containers/0/args/6"],
    ),
    ("replicas", &["0", "3"], &["/spec/replicas"]),
    (
        "gpuType",
        &[r#""A100""#, r#""H100""#],
        &["/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution"],
    ),
    ("maxBatchSize", &["1", "4294967295"], &["/spec/template/spec/containers/0/args"]),
    ("imagePullPolicy", &[r#""Always""#, r#""Never""#], &["/spec/template/spec/containers/0/imagePullPolicy"]),
    ("engine", &[r#""sglang""#, r#""llamacpp""#], SERVER),
    ("gpuCount", &["2", "8"], &["/spec/template/spec/containers/0", "/spec/template/spec/volumes"]),
    ("image", &[r#""example.com/evil""#], &["/spec/template/spec/containers/0/image"]),
    ("imagePullSecrets", &[r#"[{"name": "any"}]"#], &["/spec/template/spec/imagePullSecrets"]),
    ("args", &[r#"["--trust-remote-code", "\n  hostNetwork: true"]"#], &["/spec/template/spec/containers/0/args"]),
    (
        "env",
        &[
            r#"[{"name": "LD_PRELOAD", "value": "/evil.so"}]"#,
            r#"[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "any", "key": "any"}}}]"#,
        ],
        &["/spec/template/spec/containers/0/env"],
    ),
    ("resources", &[r#"{"requests": {"cpu": "1000"}}"#], &["/spec/template/spec/containers/0/resources"]),
    ("huggingFaceTokenSecret", &[r#"{"name": "any", "key": "any"}"#], &["/spec/template/spec/containers/0/env"]),
    (
        "cache",
        &[r#"{"persistentVolumeClaim": {"claimName": "any"}}"#, r#"{"emptyDir": {"medium": "Memory"}}"#],
        VOLUMES,
    ),
    ("modelVolume", &[r#"{"image": {"reference": "example.com/evil"}}"#], VOLUMES),
    ("sharedMemory", &[r#""64Gi""#], VOLUMES),
    ("nodeSelector", &[r#"{"node-role.kubernetes.io/control-plane": ""}"#], &["/spec/template/spec/nodeSelector"]),
    ("tolerations", &[r#"[{"operator": "Exists"}]"#], &["/spec/template/spec/tolerations"]),
    ("runtimeClassName", &[r#""any""#], &["/spec/template/spec/runtimeClassName"]),
    ("serviceAccountName", &[r#""any""#], &["/spec/template/spec/serviceAccount"]),
    ("priorityClassName", &[r#""system-node-critical""#], &["/spec/template/spec/priorityClassName"]),
    (
        "loadSeconds",
        &["10", "86400"],
        &["/spec/progressDeadlineSeconds", "/spec/template/spec/containers/0/startupProbe"],
    ),
    // Leaves the children as they are: paused.rs.
    ("paused", &[], &[]),
    (
        "service",
        &[r#"{"type": "NodePort", "port": 8080}"#, r#"{"type": "LoadBalancer", "annotations": {"a": "b"}}"#],
        &["/service/metadata/annotations", "/service/spec/type", "/service/spec/ports"],
    ),
    ("nodeLossSeconds", &["0", "2592000"], &["/spec/template/spec/tolerations"]),
    // What it may not reach is below, and in pod_security.rs.
    (
        "template",
        &[r#"{"spec": {"initContainers": [{"name": "a", "image": "example.com/evil"}]}}"#],
        &["/spec/template"],
    ),
];

const SERVER: &[&str] = &["/spec/template/spec/containers/0"];

const VOLUMES: &[&str] = &[
    "/spec/template/spec/volumes",
    "/spec/template/spec/containers/0/volumeMounts",
    "/spec/template/spec/containers/0/env",
];

/// Fields with which a user would gain power over nodes or take the pod from the operator, and why each is refused.
pub const REFUSED: &[(&str, &str, &str)] = &[
    ("cache", r#"{"hostPath": {"path": "/"}}"#, "spec.volumes[cache].hostPath"),
    ("modelVolume", r#"{"hostPath": {"path": "/etc"}}"#, "spec.volumes[models].hostPath"),
    ("template", r#"{"spec": {"hostNetwork": true}}"#, "spec.hostNetwork is true"),
    (
        "template",
        r#"{"spec": {"containers": [{"name": "server", "securityContext": {"privileged": true}}]}}"#,
        "spec.containers[server].securityContext.privileged is true",
    ),
    (
        "template",
        r#"{"spec": {"initContainers": [{"name": "a", "image": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}}"#,
        "spec.initContainers[a].securityContext.capabilities.add: SYS_ADMIN",
    ),
    (
        "template",
        r#"{"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}"#,
        "app.kubernetes.io/managed-by is the operator's own",
    ),
    (
        "template",
        r#"{"spec": {"containers": [{"name": "server", "ports": [{"containerPort": 8000, "name": "web"}]}]}}"#,
        "must keep its port 8000 with the name http",
    ),
];
