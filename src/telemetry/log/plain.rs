//! Escapes terminal control characters in a log line. Used by log; must never return an error of stderr.

use std::fmt::Write as _;
use std::io::{Result, Write};

use super::LogFormat;

/// Expects one whole line per write.
pub struct Plain<W> {
    pub output: W,
    pub format: LogFormat,
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, line: &[u8]) -> Result<usize> {
        let text = String::from_utf8_lossy(line);
        let entry = text.strip_suffix('\n').unwrap_or(&text);
        // If stderr is gone, there is nowhere to report it.
        let _ = if entry.contains(is_unsafe) {
            self.output.write_all(escaped(entry, self.format).as_bytes())
        } else {
            self.output.write_all(line)
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Text from outside must not start a new line, control the terminal, or change the reading direction: matches control
/// characters, line separators, and the marks for bidirectional text (Unicode's `Bidi_Control`).
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The whole line, including its newline.
fn escaped(entry: &str, format: LogFormat) -> String {
    let mut line = String::with_capacity(entry.len() + 32);
    for letter in entry.chars() {
        if !is_unsafe(letter) {
            line.push(letter);
        } else if format == LogFormat::Text {
            line.extend(letter.escape_default());
        } else {
            // These occur only within strings, as JSON has them nowhere else; four digits are enough for all.
            let _ = write!(line, "\\u{:04x}", u32::from(letter));
        }
    }
    line.push('\n');
    line
}
