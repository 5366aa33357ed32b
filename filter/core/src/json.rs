//! An incremental JSON scanner: bytes in, in chunks of any size; the few values that a [`Sink`] knows the path of out.
//!
//! It holds at most [`KEPT_BYTES_MAX`] bytes of one text, a bit for each of the first [`DEPTH_MAX`] levels and a
//! few integers, whatever it reads, and does not recurse; every byte is looked at a fixed number of times.
//!
//! Grammar: RFC 8259. Structure is checked up to [`DEPTH_MAX`] levels; below, brackets are only counted and strings
//! stepped over. Texts and numbers that nobody asked for are not checked, and neither are control characters inside
//! strings: a body that is wrong there is refused by whoever it was written for, not by us. Nothing may follow the
//! document but white space.

mod text;

use memchr::memchr2;
use text::Text;

/// Longest key, string or number that is kept, in bytes. Longer ones are [`Item::Unreadable`]; longer keys are
/// unknown ones.
pub(crate) const KEPT_BYTES_MAX: usize = 256;

/// Levels whose kind of bracket is remembered.
const DEPTH_MAX: u64 = 64;

/// Levels at which a sink is told about values.
const PATH_MAX: usize = 4;

/// The name of an array's elements in a path.
pub(crate) const ELEMENT: &str = "[]";

/// Receives the values whose path is made of known names.
pub(crate) trait Sink {
    /// The keys to follow. A value below any other key is stepped over.
    const NAMES: &'static [&'static str];

    /// `at` is the offset of the item's first byte in the document; for [`Item::Closed`] that of the bracket.
    ///
    /// Elements of an array are reported under [`ELEMENT`], but what is inside of them is not.
    fn item(&mut self, path: &[&'static str], item: Item<'_>, at: usize);

    /// A number, string or literal that was reported ended before offset `end`.
    fn scalar_ended(&mut self, _path: &[&'static str], _end: usize) {}

    /// A key that is not one of `NAMES` where one was possible.
    fn other_key(&mut self, _path: &[&'static str]) {}
}

/// One value, or one end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Object,
    Array,
    /// The end of an object or array whose members were followed.
    Closed,
    /// Escapes decoded, lone surrogates replaced by U+FFFD.
    String(&'a str),
    /// As written.
    Number(&'a str),
    /// A string or number over [`KEPT_BYTES_MAX`], or a string that is not UTF-8.
    Unreadable,
    Bool(bool),
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value must follow.
    Value,
    /// After `[`: a value or `]`.
    ValueOrEnd,
    /// After `{`: a key or `}`.
    KeyOrEnd,
    /// After `,` in an object.
    Key,
    Colon,
    /// After a value: `,` or an end.
    CommaOrEnd,
    InString {
        key: bool,
        kept: bool,
    },
    /// After a backslash in a string that is not kept.
    SkipEscaped {
        key: bool,
    },
    InNumber {
        kept: bool,
    },
    InLiteral {
        rest: &'static [u8],
        item: Literal,
    },
    /// Below [`DEPTH_MAX`], this many levels.
    Deep {
        levels: u64,
    },
    DeepString {
        levels: u64,
    },
    DeepEscaped {
        levels: u64,
    },
    Done,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    const fn item(self) -> Item<'static> {
        match self {
            Self::True => Item::Bool(true),
            Self::False => Item::Bool(false),
            Self::Null => Item::Null,
        }
    }
}

/// Reads one document.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// Open containers, at most [`DEPTH_MAX`].
    depth: u64,
    /// Bit n: the container at level n is an object.
    objects: u64,
    /// How many of the outermost open containers are followed, at most [`PATH_MAX`].
    followed: usize,
    /// Name of the current member of each followed container; `None`: not one to follow.
    names: [Option<&'static str>; PATH_MAX],
    text: Text,
    /// Offset of the next byte.
    offset: usize,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Value,
            depth: 0,
            objects: 0,
            followed: 0,
            names: [None; PATH_MAX],
            text: Text::default(),
            offset: 0,
        }
    }

    /// Forgets everything but its buffer.
    pub(crate) fn restart(&mut self) {
        let text = std::mem::take(&mut self.text);
        *self = Self { text, ..Self::new() };
    }

    /// A whole document and nothing else was read. A number at top level never is: only what follows could end it.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What was read cannot be the beginning of a document.
    pub(crate) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    pub(crate) fn push<S: Sink>(&mut self, chunk: &[u8], sink: &mut S) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            let taken = match self.state {
                State::InString { key, kept } => self.string(rest, key, kept, sink),
                State::DeepString { levels } => self.deep_string(rest, levels),
                State::InNumber { kept } => self.number(rest, kept, sink),
                State::Failed => return,
                _ => {
                    self.byte(byte, sink);
                    1
                }
            };
            // Only request bodies need offsets; a response may be larger than a 32-bit one.
            self.offset = self.offset.wrapping_add(taken);
            rest = rest.get(taken..).unwrap_or(after);
        }
    }

    fn byte<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        match self.state {
            State::SkipEscaped { key } => self.state = State::InString { key, kept: false },
            State::DeepEscaped { levels } => self.state = State::DeepString { levels },
            State::InLiteral { rest, item } => self.literal(byte, rest, item, sink),
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            State::Deep { levels } => self.deep(byte, levels),
            State::ValueOrEnd if byte == b']' => self.close(byte, sink),
            State::Value | State::ValueOrEnd => self.value(byte, sink),
            State::KeyOrEnd if byte == b'}' => self.close(byte, sink),
            State::Key | State::KeyOrEnd if byte == b'"' => self.begin_key(),
            State::Colon if byte == b':' => self.state = State::Value,
            State::CommaOrEnd => self.comma_or_end(byte, sink),
            _ => self.state = State::Failed,
        }
    }

    fn value<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        let kept = self.is_reported();
        match byte {
            b'{' => self.open(true, sink),
            b'[' => self.open(false, sink),
            b'"' => {
                self.text.restart(self.offset);
                self.state = State::InString { key: false, kept };
            }
            b'-' | b'0'..=b'9' => {
                self.text.restart(self.offset);
                self.text.append(&[byte]);
                self.state = State::InNumber { kept };
            }
            b't' => self.begin_literal(b"rue", Literal::True),
            b'f' => self.begin_literal(b"alse", Literal::False),
            b'n' => self.begin_literal(b"ull", Literal::Null),
            _ => self.state = State::Failed,
        }
    }

    fn begin_literal(&mut self, rest: &'static [u8], item: Literal) {
        self.text.restart(self.offset);
        self.state = State::InLiteral { rest, item };
    }

    fn literal<S: Sink>(&mut self, byte: u8, rest: &'static [u8], item: Literal, sink: &mut S) {
        self.state = match rest.split_first() {
            Some((&expected, rest)) if expected == byte => State::InLiteral { rest, item },
            _ => State::Failed,
        };
        if matches!(self.state, State::InLiteral { rest: [], .. }) {
            self.end_scalar(Some(item), self.offset.wrapping_add(1), sink);
        }
    }

    /// Steps over, or keeps, a run of a string; returns its length.
    fn string<S: Sink>(&mut self, rest: &[u8], key: bool, kept: bool, sink: &mut S) -> usize {
        if kept && self.text.is_in_escape() {
            if !self.text.escaped(rest.first().copied().unwrap_or_default()) {
                self.state = State::Failed;
            }
            return 1;
        }
        let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let (text, stop) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        if kept {
            self.text.append(text);
        }
        match stop.first() {
            None => return run,
            Some(b'\\') if kept => self.text.begin_escape(),
            Some(b'\\') => self.state = State::SkipEscaped { key },
            Some(_) if key => self.end_key(kept, sink),
            Some(_) => {
                self.text.end();
                self.state = State::InString { key, kept };
                self.end_scalar(None, self.offset.wrapping_add(run + 1), sink);
            }
        }
        run + 1
    }

    fn number<S: Sink>(&mut self, rest: &[u8], kept: bool, sink: &mut S) -> usize {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let run = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        if kept {
            self.text.append(rest.get(..run).unwrap_or_default());
        }
        if run < rest.len() {
            self.end_scalar(None, self.offset.wrapping_add(run), sink);
        }
        run
    }

    /// Reports the string, number or literal that the current state has read; `end` is the offset behind it.
    fn end_scalar<S: Sink>(&mut self, literal: Option<Literal>, end: usize, sink: &mut S) {
        if self.is_reported() {
            let item = match (literal, self.state) {
                (Some(literal), _) => literal.item(),
                (None, State::InNumber { .. }) => self.text.read().map_or(Item::Unreadable, Item::Number),
                (None, _) => self.text.read().map_or(Item::Unreadable, Item::String),
            };
            with_path(&self.names, self.followed, |path| {
                sink.item(path, item, self.text.start());
                sink.scalar_ended(path, end);
            });
        }
        self.end_value();
    }

    fn begin_key(&mut self) {
        self.text.restart(self.offset);
        self.state = State::InString {
            key: true,
            kept: self.is_followed(),
        };
    }

    fn end_key<S: Sink>(&mut self, kept: bool, sink: &mut S) {
        self.state = State::Colon;
        if !kept {
            return;
        }
        self.text.end();
        let name = self
            .text
            .read()
            .and_then(|key| S::NAMES.iter().copied().find(|name| *name == key));
        if let Some(current) = self
            .followed
            .checked_sub(1)
            .and_then(|level| self.names.get_mut(level))
        {
            *current = name;
        }
        if name.is_none() {
            with_path(&self.names, self.followed.saturating_sub(1), |path| {
                sink.other_key(path);
            });
        }
    }

    /// The innermost container's keys and elements may be known.
    fn is_followed(&self) -> bool {
        self.followed as u64 == self.depth
    }

    /// The value at hand has a path made of known names.
    fn is_reported(&self) -> bool {
        self.is_followed() && self.current_name().is_some()
    }

    /// The name of the innermost followed container's member; empty at top level, `None` if unknown.
    fn current_name(&self) -> Option<&'static str> {
        match self.followed.checked_sub(1) {
            Some(level) => self.names.get(level).copied().flatten(),
            None => Some(""),
        }
    }

    fn open<S: Sink>(&mut self, object: bool, sink: &mut S) {
        let is_element = self.current_name() == Some(ELEMENT);
        if self.is_reported() {
            let item = if object { Item::Object } else { Item::Array };
            let at = self.offset;
            with_path(&self.names, self.followed, |path| sink.item(path, item, at));
            if !is_element && let Some(name) = self.names.get_mut(self.followed) {
                *name = if object { None } else { Some(ELEMENT) };
                self.followed += 1;
            }
        }
        if self.depth == DEPTH_MAX {
            self.state = State::Deep { levels: 1 };
            return;
        }
        let bit = 1_u64 << self.depth;
        self.objects = if object {
            self.objects | bit
        } else {
            self.objects & !bit
        };
        self.depth += 1;
        self.state = if object {
            State::KeyOrEnd
        } else {
            State::ValueOrEnd
        };
    }

    fn close<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        if self.in_object() != (byte == b'}') {
            self.state = State::Failed;
            return;
        }
        let was_followed = self.is_followed();
        self.depth = self.depth.saturating_sub(1);
        if was_followed {
            self.followed = self.followed.saturating_sub(1);
            let at = self.offset;
            with_path(&self.names, self.followed, |path| {
                sink.item(path, Item::Closed, at);
            });
        }
        self.end_value();
    }

    fn in_object(&self) -> bool {
        self.depth
            .checked_sub(1)
            .is_some_and(|level| self.objects >> level & 1 == 1)
    }

    fn end_value(&mut self) {
        self.state = if self.depth == 0 {
            State::Done
        } else {
            State::CommaOrEnd
        };
    }

    fn comma_or_end<S: Sink>(&mut self, byte: u8, sink: &mut S) {
        match byte {
            b',' if self.in_object() => self.state = State::Key,
            b',' => self.state = State::Value,
            b'}' | b']' => self.close(byte, sink),
            _ => self.state = State::Failed,
        }
    }

    fn deep(&mut self, byte: u8, levels: u64) {
        match byte {
            b'{' | b'[' => {
                self.state = State::Deep {
                    levels: levels.saturating_add(1),
                }
            }
            b'}' | b']' if levels == 1 => self.end_value(),
            b'}' | b']' => self.state = State::Deep { levels: levels - 1 },
            b'"' => self.state = State::DeepString { levels },
            _ => {}
        }
    }

    fn deep_string(&mut self, rest: &[u8], levels: u64) -> usize {
        let run = memchr2(b'"', b'\\', rest);
        match run.and_then(|at| rest.get(at)) {
            Some(b'\\') => self.state = State::DeepEscaped { levels },
            Some(_) => self.state = State::Deep { levels },
            None => {}
        }
        run.map_or(rest.len(), |at| at + 1)
    }
}

/// Calls back with the names of the outermost `length` levels, all of which are known.
fn with_path(names: &[Option<&'static str>; PATH_MAX], length: usize, call: impl FnOnce(&[&'static str])) {
    let mut path = [ELEMENT; PATH_MAX];
    for (to, from) in path.iter_mut().zip(names) {
        *to = from.unwrap_or_default();
    }
    call(path.get(..length).unwrap_or_default());
}

#[cfg(test)]
mod tests;
