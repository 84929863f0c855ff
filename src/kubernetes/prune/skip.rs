//! Finds the end of a value that is copied, counted or skipped without looking at its fields. Used by prune.rs, for
//! most of its work; pure, and must never keep a byte of the value.

#[derive(Clone, Copy)]
pub struct ValueScan {
    pub sink: Sink,
    /// Start of the value in `kept`.
    pub start: usize,
    /// Open objects and arrays within it.
    pub depth: usize,
    pub text: Within,
}

/// What happens to the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    Skip,
    Copy,
    /// Copied, and counted once it is too long to keep.
    CopyOrCount,
    /// Number of bytes so far.
    Count(usize),
}

impl Sink {
    pub fn copies(self) -> bool {
        matches!(self, Sink::Copy | Sink::CopyOrCount)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// Not in a string.
    No,
    /// The whole value is a number, true, false or null.
    Scalar,
    String,
    Escape,
}

impl ValueScan {
    /// Returns how many of the bytes belong to the value, and whether they complete it.
    pub fn scan(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (mut at, mut depth, mut text) = (0, self.depth, self.text);
        let is_complete = loop {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { break false };
            match text {
                Within::Escape => {
                    text = Within::String;
                    at += 1;
                }
                Within::String => {
                    let Some(end) = string_end(rest) else {
                        at = bytes.len();
                        break false;
                    };
                    at += end + 1;
                    text = if rest[end] == b'"' { Within::No } else { Within::Escape };
                    if text == Within::No && depth == 0 {
                        break true;
                    }
                }
                Within::Scalar => match rest[0] {
                    b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' => break true,
                    _ => at += 1,
                },
                Within::No => {
                    let Some(mark) = rest.iter().position(|&byte| IS_MARK[usize::from(byte)]) else {
                        at = bytes.len();
                        break false;
                    };
                    at += mark + 1;
                    match rest[mark] {
                        b'"' => text = Within::String,
                        b'{' | b'[' => depth += 1,
                        _ => depth -= 1,
                    }
                    if depth == 0 {
                        break true;
                    }
                }
            }
        };
        (self.depth, self.text) = (depth, text);
        (at, is_complete)
    }
}

/// Bytes that change the depth of a scanned value, or begin a string in it.
static IS_MARK: [bool; 256] = {
    let mut marks = [false; 256];
    let mut at = 0;
    while at < MARKS.len() {
        marks[MARKS[at] as usize] = true;
        at += 1;
    }
    marks
};
const MARKS: &[u8; 5] = b"\"{}[]";

/// Index of the end of the string that these bytes continue, or of the next escape in it.
pub fn string_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}
