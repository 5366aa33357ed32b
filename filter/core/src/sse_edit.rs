//! Hides the usage chunk that the client did not ask for (SPEC 1.6).
//!
//! With `stream_options.include_usage` OpenAI sends one more chunk before `[DONE]`: `choices` is an empty array and `usage`
//! an object. A client that did not ask may take the first choice of every chunk, so that event is taken out, whole,
//! with whatever comment or other field it has. All other bytes go on as they came.

use crate::json::{ELEMENT, Item, Scanner, Sink};
use crate::usage::sse::{Piece, SseParser};
use std::borrow::Cow;

/// An event larger than this is no usage chunk; it goes on. Bytes.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// Takes the chunks of an OpenAI event stream and gives back what may go on. Only for streams: other bodies would be
/// held, up to its bound, until their end.
///
/// It holds back at most the current event, and that only while the event can still turn out to be a usage chunk: an
/// ordinary chunk goes on from the first byte of its first choice.
#[derive(Debug)]
pub struct UsageChunkHider {
    parser: SseParser,
    scanner: Scanner,
    shape: Shape,
    /// The event at hand from its first byte, while it is undecided.
    held: Vec<u8>,
    /// The event at hand goes on.
    passing: bool,
    /// The event at hand has data.
    has_data: bool,
    /// The event before was hidden.
    hid_last: bool,
}

/// What tells a usage chunk.
#[derive(Debug, Default)]
struct Shape {
    choices: Choices,
    usage: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Choices {
    #[default]
    Absent,
    Empty,
    /// At least one, or no array.
    Other,
}

impl Sink for Shape {
    const NAMES: &'static [&'static str] = &["choices", "usage"];

    fn item(&mut self, path: &[&'static str], item: Item<'_>, _at: usize) {
        match (path, item) {
            (_, Item::Closed) => {}
            (["choices"], Item::Array) if self.choices == Choices::Absent => self.choices = Choices::Empty,
            (["choices", ELEMENT] | ["choices"], _) => self.choices = Choices::Other,
            (["usage"], item) => self.usage = item == Item::Object,
            _ => {}
        }
    }
}

impl Default for UsageChunkHider {
    fn default() -> Self {
        Self {
            parser: SseParser::new(),
            scanner: Scanner::new(),
            shape: Shape::default(),
            held: Vec::new(),
            passing: false,
            has_data: false,
            hid_last: false,
        }
    }
}

impl UsageChunkHider {
    /// What may go on now. `Borrowed` if and only if that is the whole chunk, as it is.
    pub fn push<'c>(&mut self, chunk: &'c [u8]) -> Cow<'c, [u8]> {
        let mut changed = !self.held.is_empty();
        let mut out = Vec::with_capacity(self.held.len() + chunk.len());
        let mut rest = chunk;
        while let Some((bytes, piece, after)) = self.parser.next(rest) {
            rest = after;
            if piece == Piece::EventEndTail && self.hid_last {
                changed = true;
                continue;
            }
            if piece == Piece::EventEndTail {
                out.extend_from_slice(bytes);
                continue;
            }
            self.hold(bytes, &mut out);
            self.look(bytes, piece);
            if !self.passing && !self.can_be_usage_chunk() {
                self.pass(&mut out);
            }
            if piece == Piece::EventEnd {
                changed |= self.end_event(&mut out);
            }
        }
        if changed || !self.held.is_empty() {
            Cow::Owned(out)
        } else {
            Cow::Borrowed(chunk)
        }
    }

    /// What is still held, untouched: an event without its end is none.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.passing && self.held.len() + bytes.len() > HELD_BYTES_MAX {
            self.pass(out);
        }
        if self.passing {
            out.extend_from_slice(bytes);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.passing = true;
    }

    fn look(&mut self, bytes: &[u8], piece: Piece) {
        match piece {
            _ if self.passing => {}
            Piece::DataLine if self.has_data => self.scanner.push(b"\n", &mut self.shape),
            Piece::DataLine => {
                self.has_data = true;
                self.scanner.restart();
                self.shape = Shape::default();
            }
            Piece::Data => self.scanner.push(bytes, &mut self.shape),
            Piece::Other | Piece::EventEnd | Piece::EventEndTail => {}
        }
    }

    fn can_be_usage_chunk(&self) -> bool {
        !self.has_data || !(self.scanner.is_failed() || self.shape.choices == Choices::Other)
    }

    /// Returns whether the event was hidden.
    fn end_event(&mut self, out: &mut Vec<u8>) -> bool {
        let is_usage_chunk = self.has_data
            && self.scanner.is_done()
            && self.shape.usage
            && self.shape.choices == Choices::Empty;
        self.hid_last = is_usage_chunk && !self.passing;
        if self.hid_last {
            self.held.clear();
        } else {
            out.append(&mut self.held);
        }
        self.passing = false;
        self.has_data = false;
        self.hid_last
    }
}
