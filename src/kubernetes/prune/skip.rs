//! A value that is copied, counted or skipped without looking at its fields: where it ends. Used by prune.rs, and the
//! most of its work; pure, and must never keep a byte of it.

#[derive(Clone, Copy)]
pub struct ValueScan {
    pub sink: Sink,
    /// Where it begins in `kept`.
    pub start: usize,
    /// Objects and arrays that are open in it.
    pub depth: usize,
    pub text: Within,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    Skip,
    Copy,
    /// Copied, and counted as soon as it is too long to be kept.
    CopyOrCount,
    /// How many have passed.
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
    /// A number, true, false or null that is the whole value.
    Scalar,
    String,
    Escape,
}

impl ValueScan {
    /// How many of the bytes belong to the value, and whether it is complete with them.
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

/// What changes the depth of a value that is copied or skipped, or begins a string in it.
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

/// Where the string ends that goes on with these bytes, or else the next escape in it.
pub fn string_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}
