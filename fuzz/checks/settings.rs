//! Flags and environment: what is wrong is one line, what is right keeps its bounds, and a flag and its
//! variable mean the same.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use inference_operator::settings::{Invocation, Settings, parse};

const PREFIX: &[u8] = b"INFERENCE_OPERATOR_";

/// A line is an argument, or a variable where it begins with the prefix.
pub fn check(data: &[u8]) {
    let mut arguments = Vec::new();
    let mut variables = Vec::new();
    for line in data.split(|&byte| byte == b'\n') {
        let variable = std::str::from_utf8(line).ok().filter(|line| line.as_bytes().starts_with(PREFIX));
        match variable.and_then(|variable| variable.split_once('=')) {
            Some(variable) => variables.push(variable),
            None => arguments.push(OsString::from_vec(written(line))),
        }
    }
    judge(parse(arguments, |name| value(&variables, name)));
    for (name, value) in variables {
        a_flag_means_the_same(name, value);
    }
}

/// A line cannot hold the end of a line, so \x0b stands for it.
fn written(line: &[u8]) -> Vec<u8> {
    line.iter().map(|&byte| if byte == 0x0b { b'\n' } else { byte }).collect()
}

fn value(variables: &[(&str, &str)], name: &str) -> Option<String> {
    variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
}

fn judge(parsed: Result<Invocation, String>) {
    match parsed {
        Ok(Invocation::Run(settings)) => in_bounds(&settings),
        Ok(_) => {}
        Err(problem) => {
            assert!(
                !problem.is_empty() && !problem.contains(char::is_control),
                "not one line for a person: {problem:?}"
            );
        }
    }
}

fn in_bounds(settings: &Settings) {
    assert!((1..=64).contains(&settings.concurrency));
    assert!((Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&settings.resync));
    assert!((10..=86_400).contains(&settings.pods.load_time.as_secs()));
    let engine = settings.catalog.engine(None).expect("a default engine");
    assert!(engine.port > 0 && !engine.image.trim().is_empty());
    assert!(settings.namespace.as_deref() != Some("") && settings.pods.runtime_class.as_deref() != Some(""));
    assert!(settings.catalog.gpu_types().all(|gpu| !gpu.name.is_empty() && !gpu.labels.is_empty()));
}

fn a_flag_means_the_same(name: &str, value: &str) {
    if name.contains(|letter: char| letter.is_lowercase() || letter == '-') {
        return;
    }
    let flag = name[PREFIX.len()..].to_lowercase().replace('_', "-");
    let by_flag = parse([format!("--{flag}={value}").into()], |_| None);
    let by_variable = parse([], |asked| (asked == name).then(|| value.to_owned()));
    match (by_flag, by_variable) {
        // A variable that nobody asks for is nobody's affair.
        (Err(problem), Ok(_)) if problem.starts_with("unknown flag") => {}
        (Ok(Invocation::Help | Invocation::Version), Ok(_)) => {}
        (by_flag, by_variable) => assert_eq!(by_flag.ok(), by_variable.ok(), "--{flag} and {name} differ"),
    }
}
