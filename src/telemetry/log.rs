//! The log: one line per entry on stderr, by tracing-subscriber's `fmt` layer, as text or as JSON. Set up once by main;
//! must never panic, nor write half a line.

mod levels;
pub mod no_spans;
mod plain;

use std::io;
use std::str::FromStr;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

pub use self::levels::levels;
use self::no_spans::NoSpans;
use self::plain::Plain;
use crate::time::Utc;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// Starts writing every entry within `levels`; earlier entries are lost.
pub fn start(levels: Targets, format: LogFormat) {
    // Fails only if a subscriber is already set, which then does the same.
    let _ = tracing::subscriber::set_global_default(subscriber(levels, format, io::stderr));
}

/// `output` is called for each entry, and receives it in one write.
fn subscriber<W: io::Write + 'static>(
    levels: Targets,
    format: LogFormat,
    output: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let lines = fmt::layer()
        .event_format(match format {
            LogFormat::Text => Lines::Text(fmt::format().with_timer(Clock)),
            LogFormat::Json => Lines::Json(fmt::format().with_timer(Clock).json()),
        })
        .with_writer(move || Plain { output: output(), format })
        // Plain escapes the whole line instead.
        .with_ansi_sanitization(false)
        // If a value cannot be formatted, the line says so in its place.
        .log_internal_errors(true);
    NoSpans.with(lines).with(levels)
}

/// The formatter of an entry.
enum Lines {
    Text(Format<Full, Clock>),
    Json(Format<Json, Clock>),
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        match self {
            Lines::Text(lines) => lines.format_event(context, out, event),
            Lines::Json(lines) => lines.format_event(context, out, event),
        }
    }
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        write!(out, "{:.6}", Utc::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<String>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").push(String::from_utf8(bytes.to_vec()).expect("UTF-8"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The output for what `log` logs, one string per write, without the time.
    fn written(level: &str, format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        const TIME: usize = "2026-11-24T13:48:13.013280Z".len();
        let output = Output::default();
        let lines = output.clone();
        let subscriber = subscriber(levels(level).expect("levels"), format, move || lines.clone());
        tracing::subscriber::with_default(subscriber, log);
        let begin = if format == LogFormat::Json { "{\"timestamp\":\"".len() } else { 0 };
        let lines = output.0.lock().expect("unpoisoned").clone();
        for line in &lines {
            let (seconds, micros) = line[begin..begin + TIME].split_once('.').expect("a fraction");
            assert!(Utc::parse(&format!("{seconds}Z")).is_some() && micros.len() == 7, "{line}");
        }
        lines.iter().map(|line| line[..begin].to_owned() + &line[begin + TIME..]).collect()
    }

    fn log_one_of_each() {
        let cause = "no route";
        tracing::info!(count = 3, name = "a\"b", error = %cause, maybe = ?Some(1), yes = true, "it {}", "failed");
        tracing::warn!(target: "else\u{202e}where", "b\nc \u{1b}[31m\u{9b}\u{fc} \u{202e}\u{2028}");
    }

    #[test]
    fn an_entry_is_one_line_of_plain_text_with_its_fields_in_their_order() {
        let expected = [
            "  INFO inference_operator::telemetry::log::tests: it failed count=3 name=\"a\\\"b\" error=no route \
             maybe=Some(1) yes=true\n",
            "  WARN else\\u{202e}where: b\\nc \\u{1b}[31m\\u{9b}\u{fc} \\u{202e}\\u{2028}\n",
        ];
        assert_eq!(written("info", LogFormat::Text, log_one_of_each), expected);
    }

    #[test]
    fn an_entry_is_one_json_object_a_line() {
        let expected = [
            "{\"timestamp\":\"\",\"level\":\"INFO\",\"fields\":{\"message\":\"it failed\",\"count\":3,\
             \"name\":\"a\\\"b\",\"error\":\"no route\",\"maybe\":\"Some(1)\",\"yes\":true},\
             \"target\":\"inference_operator::telemetry::log::tests\"}\n",
            "{\"timestamp\":\"\",\"level\":\"WARN\",\"fields\":{\"message\":\
             \"b\\nc \\u001b[31m\\u009b\u{fc} \\u202e\\u2028\"},\"target\":\"else\\u202ewhere\"}\n",
        ];
        let lines = written("info", LogFormat::Json, log_one_of_each);
        assert_eq!(lines, expected);
        let entry: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!(entry["fields"]["message"], "b\nc \u{1b}[31m\u{9b}\u{fc} \u{202e}\u{2028}");
    }

    #[test]
    fn each_target_has_its_own_level() {
        let log = || {
            tracing::debug!(target: "inference_operator::kubernetes::watch", "1");
            tracing::debug!(target: "inference_operator::controller", "2");
            tracing::info!(target: "inference_operator::controller", "3");
            tracing::error!(target: "hyper", "4");
        };
        let heard = |level| {
            let lines = written(level, LogFormat::Text, log);
            lines.iter().map(|line| line.trim_end().chars().last().expect("a number")).collect::<String>()
        };
        assert_eq!(heard("info"), "34");
        assert_eq!(heard("off"), "");
        assert_eq!(heard("info,inference_operator::kubernetes=debug"), "134");
        assert_eq!(heard("inference_operator::kubernetes=debug"), "134", "the rest has the default");
        assert_eq!(heard("debug,hyper=off,inference_operator=error"), "");
    }

    #[test]
    fn spans_are_left_out_and_harm_nothing() {
        let lines = written("trace", LogFormat::Text, || {
            let span = tracing::error_span!("outer", number = 1);
            assert!(span.is_disabled());
            span.in_scope(|| tracing::info!("within"));
        });
        assert_eq!(lines, ["  INFO inference_operator::telemetry::log::tests: within\n"]);
    }

    /// A library's `impl Debug` can fail, and stderr can be gone.
    #[test]
    fn what_cannot_be_formatted_or_written_ends_nothing() {
        struct Fails;
        impl std::fmt::Debug for Fails {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                Err(std::fmt::Error)
            }
        }
        struct Gone;
        impl io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = || tracing::info!(value = ?Fails, "it");
        let gone = subscriber(levels("info").expect("levels"), LogFormat::Text, || Gone);
        tracing::subscriber::with_default(gone, log);
        let output = Output::default();
        let lines = output.clone();
        let subscriber = subscriber(levels("info").expect("levels"), LogFormat::Text, move || lines.clone());
        tracing::subscriber::with_default(subscriber, log);
        let lines = output.0.lock().expect("unpoisoned").clone();
        assert!(matches!(&lines[..], [line] if line.starts_with("Unable to format")), "{lines:?}");
    }
}
