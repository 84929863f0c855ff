//! The program as a shell sees it: exit codes, and one clear line for what is wrong.

#![allow(clippy::expect_used)]

use std::process::{Command, Output};

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inference-operator"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("it runs")
}

#[test]
fn a_wrong_flag_or_value_is_one_clear_line_and_exit_code_2() {
    let variable = [("INFERENCE_OPERATOR_CONCURRENCY", "many")];
    for (arguments, variables, expected) in [
        (&["--colour=red"][..], &[][..], "inference-operator: unknown flag --colour (--help lists the flags)\n"),
        (
            &["--concurrency", "0"],
            &[],
            "inference-operator: invalid --concurrency=\"0\": expected a whole number from 1 to 64\n",
        ),
        (
            &["--log-level=info,inference_operator::kubernetes=loud"],
            &[],
            "inference-operator: invalid --log-level=\"info,inference_operator::kubernetes=loud\": \"loud\" is not a level: \
             expected error, warn, info, debug, trace or off, and TARGET=LEVEL for one module, such as \
             info,inference_operator::kubernetes=debug\n",
        ),
        (
            &[],
            &variable,
            "inference-operator: invalid INFERENCE_OPERATOR_CONCURRENCY=\"many\": expected a whole number from 1 to 64\n",
        ),
    ] {
        let output = run(arguments, variables);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn help_and_version_are_printed() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("--gpu-type TYPE=PRODUCT[,PRODUCT...]\n"));
    assert!(text.lines().all(|line| line.len() <= 100), "fits a terminal: {text}");
    let version = run(&["--version"], &[]);
    assert_eq!(version.stdout, format!("inference-operator {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

/// Without an API server it ends soon, and says why; what it says before is what is looked at.
#[test]
fn a_variable_that_is_not_known_is_one_warning() {
    let typing_errors = [("INFERENCE_OPERATOR_GPU_TYPES", "T4=Tesla-T4"), ("INFERENCE_OPERATOR_MODELS", "a")];
    let output = run(&["--telemetry-address=off", "--service-account=/"], &typing_errors);
    let log = String::from_utf8_lossy(&output.stderr);
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let expected = "unknown environment variables: INFERENCE_OPERATOR_GPU_TYPES (did you mean \
                    INFERENCE_OPERATOR_GPU_TYPE?), INFERENCE_OPERATOR_MODELS; --help";
    assert!(matches!(warnings[..], [warning] if warning.contains(expected)), "{log}");
}

/// A Service called inference-operator-server in the operator's namespace, with service links.
#[test]
fn a_service_of_a_similar_name_neither_stops_it_nor_is_warned_about() {
    let links = [
        ("INFERENCE_OPERATOR_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("INFERENCE_OPERATOR_SERVER_SERVICE_PORT", "80"),
        ("INFERENCE_OPERATOR_SERVER_PORT", "tcp://10.0.0.1:80"),
        ("INFERENCE_OPERATOR_SERVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("INFERENCE_OPERATOR_SERVER_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    let arguments = ["--telemetry-address=off", "--service-account=/"];
    let output = run(&arguments, &links);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("KUBERNETES_SERVICE_HOST is not set"), "it got to the API server's address: {log}");
    assert!(!log.contains(" WARN "), "{log}");

    // The same text from a person is a wrong value.
    let output = run(&arguments, &links[2..3]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What it writes on its way to the end, for want of an API server.
fn log(arguments: &[&str]) -> String {
    let output = run(&[&["--telemetry-address=off", "--service-account=/"], arguments].concat(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn the_log_has_the_levels_and_the_format_that_were_asked_for() {
    const PROBLEM: &str = "cannot start: KUBERNETES_SERVICE_HOST is not set";
    let text = log(&[]);
    assert!(text.contains(&format!("Z ERROR inference_operator: {PROBLEM}")) && text.lines().count() == 1, "{text}");
    let json = log(&["--log-format=json"]);
    let entry: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((&entry["level"], &entry["target"]), (&"ERROR".into(), &"inference_operator".into()), "{json}");
    assert!(entry["fields"]["message"].as_str().is_some_and(|message| message.starts_with(PROBLEM)), "{json}");
    assert_eq!(log(&["--log-level=off"]), "");
    assert_eq!(log(&["--log-level=debug,inference_operator=off"]), "");
    assert_eq!(log(&["--log-level=off,inference_operator=error"]).lines().count(), 1);
}
