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
