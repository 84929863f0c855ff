//! Parses `--log-level`: a default level, and levels for single targets. Called by settings; pure.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

const EXPECTED: &str = "expected error, warn, info, debug, trace or off, and TARGET=LEVEL for one module, such as \
                        info,inference_operator::kubernetes=debug";

/// tracing-subscriber's own parser takes a misspelled level for a target, and then logs nothing else.
pub fn levels(text: &str) -> Result<Targets, String> {
    let mut everything = None;
    let mut targets: Vec<(&str, LevelFilter)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let Some((target, name)) = part.split_once('=') else {
            if everything.replace(level(part)?).is_some() {
                return Err(format!("{part:?} is a second default level: {EXPECTED}"));
            }
            continue;
        };
        let is_path = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
        if target.is_empty() || !target.chars().all(is_path) {
            return Err(format!("{target:?} is not a target (the path of a Rust module): {EXPECTED}"));
        }
        if targets.iter().any(|(known, _)| *known == target) {
            return Err(format!("{target:?} has two levels: {EXPECTED}"));
        }
        targets.push((target, level(name)?));
    }
    // More detail for one target must not silence all others.
    let everything = everything.unwrap_or(LevelFilter::INFO);
    Ok(Targets::new().with_targets(targets).with_default(everything))
}

fn level(name: &str) -> Result<LevelFilter, String> {
    // tracing would parse an empty string as `error`.
    let known = Some(name).filter(|name| !name.is_empty()).and_then(|name| name.parse().ok());
    known.ok_or_else(|| format!("{name:?} is not a level: {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_for_everything_and_levels_for_targets() {
        for (text, means) in [
            ("info", "info"),
            ("DEBUG", "debug"),
            ("off", "off"),
            (" warn , hyper=off", "hyper=off,warn"),
            ("inference_operator::kubernetes=debug", "inference_operator::kubernetes=debug,info"),
            ("a=trace,ab=error,warn", "ab=error,a=trace,warn"),
        ] {
            assert_eq!(levels(text).map(|levels| levels.to_string()).as_deref(), Ok(means), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            ("", "\"\" is not a level"),
            ("info,", "\"\" is not a level"),
            ("loud", "\"loud\" is not a level"),
            ("info,inference_operator=loud", "\"loud\" is not a level"),
            ("info,inference_operator=", "\"\" is not a level"),
            ("a=b=info", "\"b=info\" is not a level"),
            ("info,=debug", "\"\" is not a target (the path of a Rust module)"),
            ("inference-operator=debug", "\"inference-operator\" is not a target (the path of a Rust module)"),
            ("info,debug", "\"debug\" is a second default level"),
            ("a=info,a=debug", "\"a\" has two levels"),
        ] {
            assert_eq!(levels(text), Err(format!("{problem}: {EXPECTED}")), "{text}");
        }
    }
}
