//! A streaming JSON filter for API server responses: keeps only the fields that a decision reads, wherever the bytes
//! are split into chunks. Used by request.rs for lists, watches and single objects. Must never hold more of a document
//! than `LIMIT`.
//!
//! Why own code: the authors of annotations determine the size of a line or a page, and kube's watcher reads each
//! whole, into an unbounded buffer that never shrinks. Measured: 100 InferenceServices of 500 kB leave less than 100 kB
//! behind where 5,000 exist (benches/results, `bulky`).

mod skip;

use bytes::{Buf, Bytes};
use skip::{Sink, ValueScan, Within, string_end};

/// Fields to keep, by name, and how much of each. All others are skipped.
pub type Fields = &'static [Field];
pub type Field = (&'static str, Keep);

#[derive(Debug)]
pub enum Keep {
    /// The value unchanged.
    Whole,
    /// The value unchanged, or its length in bytes if it is too long.
    WholeOrLength,
    /// Its length in bytes instead of the value.
    Length,
    /// These fields of an object, or of each object in an array.
    Fields(Fields),
    /// These fields of each object in an array, handed out one by one: the items of a list.
    Each(Fields),
}

/// What `advance` completed, to be read from `Pruner::kept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One element of an array that is `Keep::Each`.
    Item,
    /// A document, without the items handed out before.
    Document,
}

/// Bytes kept of one document or item. This operator's own status takes 1 to 2 kB, 14 kB at most. The excess is
/// replaced by null: the outermost array, or else the value.
const LIMIT: usize = 32 << 10;

/// Bytes kept of one value, so that a long one leaves room for the others.
pub const LONGEST_VALUE: usize = LIMIT / 2;

/// Bytes read in one step, which limits what a step can add. Beyond `LIMIT`, names and brackets may take one more
/// `STEP`, which is more than one object needs.
const STEP: usize = 4 << 10;

/// A buffer that grew beyond this for a long document is shrunk again.
const CAPACITY: usize = 4 << 10;

/// No kept field has a longer name.
const LONGEST_KEY: usize = 64;

/// The bytes are not JSON objects.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the expected JSON: {0}")]
pub struct Malformed(&'static str);

pub struct Pruner {
    fields: Fields,
    /// Open objects and arrays on the path to the kept fields.
    levels: Vec<Level>,
    state: State,
    key: Vec<u8>,
    kept: Vec<u8>,
    /// Start of the current item in `kept`.
    item: usize,
    /// `kept` is truncated to this length before reading on: the rest was handed out.
    handed_out: Option<usize>,
}

struct Level {
    fields: Fields,
    kind: LevelKind,
    is_empty: bool,
    /// Start of its value in `kept`.
    start: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LevelKind {
    Object,
    /// An object that is handed out when complete.
    Item,
    Array,
    /// An array whose elements are handed out.
    Each,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum State {
    /// Between two documents.
    Between,
    /// In an object, before a key or the end.
    Member,
    Key {
        escaped: bool,
    },
    Colon,
    /// The value of a kept field, or of a skipped one (None).
    Value(Option<&'static Field>),
    /// In an array, before an element or the end.
    Element,
    /// A value that is copied or skipped without looking at its fields.
    Scan(ValueScan),
}

impl Pruner {
    pub fn new(fields: Fields) -> Pruner {
        Pruner {
            fields,
            levels: Vec::new(),
            state: State::Between,
            key: Vec::new(),
            kept: Vec::new(),
            item: 0,
            handed_out: None,
        }
    }

    /// Reads until a piece is complete; None: all input was read. Unread input stays in `input` for the next call.
    pub fn advance(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Malformed> {
        if let Some(length) = self.handed_out.take() {
            self.kept.truncate(length);
            if self.kept.capacity() > CAPACITY {
                self.kept.shrink_to(CAPACITY);
            }
        }
        let mut at = 0;
        let mut complete = Ok(None);
        while at < input.len() && complete == Ok(None) {
            complete = self.step(&input[at..input.len().min(at + STEP)]).map(|(used, piece)| {
                at += used;
                piece
            });
            if complete == Ok(None) && self.length() > LIMIT {
                self.cut();
                if self.length() > LIMIT + STEP {
                    complete = Err(Malformed("more fields than expected"));
                }
            }
        }
        input.advance(at);
        complete
    }

    /// The piece that `advance` completed, valid until its next call.
    pub fn kept(&self) -> &[u8] {
        &self.kept[self.item..]
    }

    fn length(&self) -> usize {
        self.kept.len() - self.item
    }

    /// Whether a document has begun and is not complete.
    pub fn is_within(&self) -> bool {
        !matches!(self.state, State::Between)
    }

    /// Returns the number of bytes used, and the piece that they complete.
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, Option<Piece>), Malformed> {
        let byte = bytes[0];
        let blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.state {
            State::Key { escaped } => return Ok((self.read_key(bytes, escaped), None)),
            State::Scan(scan) => return Ok((self.scan_value(bytes, scan), None)),
            _ if blank => {}
            State::Between if byte == b'{' => {
                self.item = 0;
                self.open(LevelKind::Object, self.fields);
            }
            State::Between => return Err(Malformed("a document does not begin with '{'")),
            State::Member => match byte {
                b',' => {}
                b'"' => return Ok((1 + self.begin_key(&bytes[1..]), None)),
                b'}' => return Ok((1, self.close())),
                _ => return Err(Malformed("a member does not begin with '\"'")),
            },
            State::Colon if byte == b':' => self.state = State::Value(self.field(&self.key)),
            State::Colon => return Err(Malformed("a key without ':'")),
            State::Value(field) => return self.begin_value(byte, field).map(|used| (used, None)),
            State::Element => match byte {
                b',' => {}
                b']' => return Ok((1, self.close())),
                _ => return self.begin_element(byte).map(|used| (used, None)),
            },
        }
        Ok((1, None))
    }

    fn field(&self, key: &[u8]) -> Option<&'static Field> {
        self.levels.last()?.fields.iter().find(|(name, _)| name.as_bytes() == key)
    }

    /// Nearly all keys arrive whole, with their colon: they are looked up in place.
    fn begin_key(&mut self, bytes: &[u8]) -> usize {
        if let Some(end) = string_end(bytes)
            && bytes[end..].starts_with(b"\":")
        {
            self.state = State::Value(self.field(&bytes[..end]));
            return end + 2;
        }
        self.key.clear();
        self.state = State::Key { escaped: false };
        0
    }

    /// A key with an escape is never kept: Kubernetes' field names have no escapes.
    fn read_key(&mut self, bytes: &[u8], escaped: bool) -> usize {
        if escaped {
            self.state = State::Key { escaped: false };
            return 1;
        }
        let end = string_end(bytes);
        let part = &bytes[..end.map_or(bytes.len(), |end| end + usize::from(bytes[end] == b'\\'))];
        let room = (LONGEST_KEY + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&part[..part.len().min(room)]);
        match end {
            None => bytes.len(),
            Some(end) => {
                self.state = if bytes[end] == b'"' { State::Colon } else { State::Key { escaped: true } };
                end + 1
            }
        }
    }

    fn begin_value(&mut self, byte: u8, field: Option<&'static Field>) -> Result<usize, Malformed> {
        let Some((name, keep)) = field else { return self.begin_scan(byte, Sink::Skip) };
        self.separate();
        self.kept.push(b'"');
        self.kept.extend_from_slice(name.as_bytes());
        self.kept.extend_from_slice(b"\":");
        match (keep, byte) {
            (Keep::Fields(fields), b'{') => self.open(LevelKind::Object, fields),
            (Keep::Fields(fields), b'[') => self.open(LevelKind::Array, fields),
            (Keep::Each(fields), b'[') => self.open(LevelKind::Each, fields),
            (Keep::Length, _) => return self.begin_scan(byte, Sink::Count(1)),
            (Keep::WholeOrLength, _) => return self.begin_scan(byte, Sink::CopyOrCount),
            _ => return self.begin_scan(byte, Sink::Copy),
        }
        Ok(1)
    }

    fn begin_element(&mut self, byte: u8) -> Result<usize, Malformed> {
        let Some(&Level { fields, kind, .. }) = self.levels.last() else { return Err(Malformed("no array")) };
        match (kind, byte) {
            (LevelKind::Each, b'{') => {
                self.item = self.kept.len();
                self.open(LevelKind::Item, fields);
            }
            (LevelKind::Array, b'{') => {
                self.separate();
                self.open(LevelKind::Object, fields);
            }
            _ => return self.begin_scan(byte, Sink::Skip),
        }
        Ok(1)
    }

    /// `sink`: if it counts, it has already counted this byte.
    fn begin_scan(&mut self, byte: u8, sink: Sink) -> Result<usize, Malformed> {
        let (depth, text) = match byte {
            b'{' | b'[' => (1, Within::No),
            b'"' => (0, Within::String),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => (0, Within::Scalar),
            _ => return Err(Malformed("a value is missing")),
        };
        let start = self.kept.len();
        if sink.copies() {
            self.kept.push(byte);
        }
        self.state = State::Scan(ValueScan { sink, start, depth, text });
        Ok(1)
    }

    fn scan_value(&mut self, bytes: &[u8], mut scan: ValueScan) -> usize {
        let (used, is_complete) = scan.scan(bytes);
        self.take(&mut scan, &bytes[..used]);
        self.state = State::Scan(scan);
        if scan.sink.copies() && (self.length() > LIMIT || self.kept.len() - scan.start > LONGEST_VALUE) {
            self.cut();
        }
        // After an array was cut, its scan continues.
        if is_complete && let State::Scan(ValueScan { depth: 0, sink, .. }) = self.state {
            if let Sink::Count(length) = sink {
                self.kept.extend_from_slice(length.to_string().as_bytes());
            }
            self.state = self.after_value();
        }
        used
    }

    fn take(&mut self, scan: &mut ValueScan, bytes: &[u8]) {
        match &mut scan.sink {
            Sink::Skip => {}
            Sink::Copy | Sink::CopyOrCount => self.kept.extend_from_slice(bytes),
            Sink::Count(length) => *length += bytes.len(),
        }
    }

    fn after_value(&self) -> State {
        match self.levels.last().map(|level| level.kind) {
            None => State::Between,
            Some(LevelKind::Object | LevelKind::Item) => State::Member,
            Some(LevelKind::Array | LevelKind::Each) => State::Element,
        }
    }

    fn separate(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        if !std::mem::replace(&mut level.is_empty, false) {
            self.kept.push(b',');
        }
    }

    fn open(&mut self, kind: LevelKind, fields: Fields) {
        self.levels.push(Level { fields, kind, is_empty: true, start: self.kept.len() });
        self.kept.push(if matches!(kind, LevelKind::Object | LevelKind::Item) { b'{' } else { b'[' });
        self.state = self.after_value();
    }

    fn close(&mut self) -> Option<Piece> {
        let level = self.levels.pop()?;
        self.kept.push(if matches!(level.kind, LevelKind::Object | LevelKind::Item) { b'}' } else { b']' });
        self.state = self.after_value();
        if level.kind == LevelKind::Each {
            self.item = 0;
        }
        let piece = match level.kind {
            LevelKind::Item => Piece::Item,
            _ if self.levels.is_empty() => Piece::Document,
            _ => return None,
        };
        self.handed_out = Some(self.item);
        Some(piece)
    }

    /// `kept` is too long: replaces the outermost array, or the value being copied, with null (or later the value's
    /// length), and skips the rest of it. Names and brackets stay.
    fn cut(&mut self) {
        let array = self.levels.iter().position(|level| level.kind == LevelKind::Array);
        let scan = if let State::Scan(scan) = self.state { Some(scan) } else { None };
        let (start, popped) = match (array, scan) {
            (Some(array), _) => (self.levels[array].start, self.levels.len() - array),
            (None, Some(scan)) if scan.sink.copies() => (scan.start, 0),
            _ => return,
        };
        let copied = self.kept.len() - start;
        self.kept.truncate(start);
        let sink = match scan {
            Some(ValueScan { sink: Sink::CopyOrCount, .. }) if popped == 0 => Sink::Count(copied),
            _ => {
                self.kept.extend_from_slice(b"null");
                Sink::Skip
            }
        };
        self.levels.truncate(self.levels.len() - popped);
        let (depth, text) = match (self.state, scan) {
            (State::Key { escaped }, _) => (0, if escaped { Within::Escape } else { Within::String }),
            (_, Some(scan)) if popped > 0 && scan.text == Within::Scalar => (0, Within::No),
            (_, Some(scan)) => (scan.depth, scan.text),
            _ => (0, Within::No),
        };
        self.state = State::Scan(ValueScan { sink, start, depth: depth + popped, text });
    }
}

#[cfg(test)]
mod tests;
