//! The log: one line an entry on stderr, as tracing-subscriber writes it, which costs 25 KB more in
//! the program and 60 KB more in memory. Set up once by main; must never panic, nor write half a line.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::time::Utc;

/// From here on every entry up to `level` is written; what is logged before is lost.
pub fn start(level: LevelFilter) {
    // Fails only where there is one already, which then does the same.
    let _ = tracing::subscriber::set_global_default(Log { level });
}

struct Log {
    level: LevelFilter,
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    /// No spans: the libraries' ones say nothing that their entries do not.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::with_capacity(256));
        event.record(&mut text);
        let metadata = event.metadata();
        let line = line(Utc::now(), *metadata.level(), metadata.target(), &text.0);
        // Nobody is left to be told when stderr is gone.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// ` message field="value" ...`, in the order of the entry.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String fails only where a value's own Debug does.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// The whole line, with its end. What others wrote into a message can neither begin a new entry nor
/// steer the terminal that shows it.
fn line(time: Utc, level: Level, target: &str, text: &str) -> String {
    let mut line = format!("{time:.6} {level:>5} {target}:");
    for letter in text.chars() {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_what_tracing_subscriber_writes() {
        let time = Utc(Duration::from_micros(1_795_528_093_013_280));
        let text = r#" starting version="0.1.0" count=3"#;
        assert_eq!(
            line(time, Level::INFO, "inference_operator", text),
            "2026-11-24T13:48:13.013280Z  INFO inference_operator: starting version=\"0.1.0\" count=3\n"
        );
    }

    #[test]
    fn an_entry_stays_one_line_of_plain_text() {
        assert_eq!(
            line(Utc(Duration::ZERO), Level::ERROR, "a", " b\nc \u{1b}[31m\u{fc}"),
            "1970-01-01T00:00:00.000000Z ERROR a: b\\nc \\u{1b}[31m\u{fc}\n"
        );
    }

    #[test]
    fn fields_follow_the_message_in_their_order() {
        struct Capture(Mutex<String>);
        impl Subscriber for Capture {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }
            fn event(&self, event: &Event<'_>) {
                let mut text = Text(String::new());
                event.record(&mut text);
                *self.0.lock().expect("unpoisoned") = text.0;
            }
            fn new_span(&self, _: &Attributes<'_>) -> Id {
                Id::from_u64(1)
            }
            fn record(&self, _: &Id, _: &Record<'_>) {}
            fn record_follows_from(&self, _: &Id, _: &Id) {}
            fn enter(&self, _: &Id) {}
            fn exit(&self, _: &Id) {}
        }
        let capture = Arc::new(Capture(Mutex::default()));
        tracing::subscriber::with_default(capture.clone(), || {
            let cause = "no route";
            tracing::info!(count = 3, name = "a\"b", error = %cause, maybe = ?Some(1), "it {}", "failed");
        });
        let text = capture.0.lock().expect("unpoisoned").clone();
        assert_eq!(text, r#" it failed count=3 name="a\"b" error=no route maybe=Some(1)"#);
    }
}
