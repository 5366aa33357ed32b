//! Reads what a response consumed, while its bytes pass (SPEC 1.6).
//!
//! Nothing of the body is stored: JSON goes through an incremental scanner, the data of each server-sent event as
//! well. Any split of the bytes into chunks gives the same reading, and memory is bounded whatever comes.
//!
//! Rules that the providers leave open, so that the same bytes always cost the same:
//! - **Which reader.** `content-type` is not trusted: a body whose first byte that is neither white space nor part of a
//!   byte order mark is `{` is one JSON document, any other is an event stream. Images, audio, video and fonts are not read.
//! - **Numbers.** A count is an integer without sign, fraction or exponent, less than 2^53. Anything else, `12.0` and
//!   `1e2` included, rejects the field, and a rejected field of the usage rejects the reading: the estimate is charged.
//!   `null` means that the provider does not say; so does a missing key.
//! - **Required** are `prompt_tokens` and `completion_tokens`, or `input_tokens` and `output_tokens`; else the reading is
//!   estimated. All others default to 0.
//! - **Duplicate keys.** The last wins, of an object as a whole, and the reading is `irregular`. Keys written with
//!   escapes are the keys that they spell.
//! - **Streams.** OpenAI: the last chunk with a usage object stands alone. Anthropic: the figures of `message_start` are
//!   replaced one by one by those that a `message_delta` states; none are added.
//! - **Broken.** A document that is not JSON, or is followed by anything but white space, says nothing: a body is estimated,
//!   an event skipped. A document that is cut off says what it said until there: if all required figures are among it,
//!   the reading is `Partial`. So is that of a stream which ends without its last figures (Anthropic's `message_delta`).
//! - **Mixed providers.** The first document with usage settles whose figures count; the other provider's are skipped.
//! - **Formats** other than these two are not read yet: estimated.

mod document;
mod figures;
pub(crate) mod sse;
mod tally;

use crate::json::Scanner;
use document::Document;
use rateguard_model::usage::{TokenUsage, UsageFormat, UsageSource};
use sse::{Piece, SseParser};
use tally::{Followed, Tally};

/// What the body said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Present if and only if `source` is `Reported` or `Partial`.
    pub tokens: Option<TokenUsage>,
    /// `Estimated`: no usage, or none that can be trusted, was there. `None`: the API has none to read.
    pub source: Option<UsageSource>,
    /// The model that answered, at most 256 bytes. Also there when `tokens` is not.
    pub model: Option<String>,
    /// Usage was there, but not as the provider documents it: a key twice, a required figure missing, one rejected, or a
    /// part larger than its whole.
    pub irregular: bool,
}

/// Follows one response body.
#[derive(Debug)]
pub struct Reader {
    tally: Tally,
    body: Body,
    /// What the reading says when there are no tokens.
    fallback: Option<UsageSource>,
}

#[derive(Debug)]
enum Body {
    /// Nothing to find: compressed, binary, or a format that is not read.
    Unread,
    /// Only white space so far.
    Undecided(Box<Events>),
    Json(Box<Parse>),
    Events(Box<Events>),
}

/// One JSON document as it comes.
#[derive(Debug)]
struct Parse {
    scanner: Scanner,
    document: Document,
}

impl Parse {
    fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            document: Document::default(),
        }
    }

    fn restart(&mut self) {
        self.scanner.restart();
        self.document = Document::default();
    }

    fn push(&mut self, bytes: &[u8]) {
        self.scanner.push(bytes, &mut self.document);
    }
}

/// An event stream as it comes.
#[derive(Debug)]
struct Events {
    parser: SseParser,
    parse: Parse,
    /// The event at hand has data.
    has_data: bool,
    /// Bytes of [`DONE`] that the event's data began with; `None` if it is something else.
    done_matched: Option<usize>,
}

/// The data of OpenAI's last event.
const DONE: &[u8] = b"[DONE]";

impl Reader {
    /// `content_type` and `content_encoding` are the values of the response's headers, as they came.
    pub fn for_response(
        format: UsageFormat,
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
    ) -> Self {
        let followed = Followed::of(format);
        let readable = content_encoding.is_none_or(is_identity) && !content_type.is_some_and(is_binary);
        let body = match followed {
            Some(_) if readable => Body::Undecided(Box::new(Events::new())),
            _ => Body::Unread,
        };
        Self {
            tally: Tally::new(followed.unwrap_or(Followed::Any)),
            body,
            fallback: (format != UsageFormat::None).then_some(UsageSource::Estimated),
        }
    }

    /// Looks at the next bytes of the body; costs time linear in their number and no memory.
    pub fn push(&mut self, chunk: &[u8]) {
        match &mut self.body {
            Body::Unread => {}
            Body::Undecided(_) => self.decide(chunk),
            Body::Json(parse) => parse.push(chunk),
            Body::Events(events) => events.push(chunk, &mut self.tally),
        }
    }

    fn decide(&mut self, chunk: &[u8]) {
        let insignificant = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf);
        let begin = chunk.iter().position(|byte| !insignificant(byte));
        let (blank, rest) = chunk
            .split_at_checked(begin.unwrap_or(chunk.len()))
            .unwrap_or((chunk, &[]));
        if rest.first() == Some(&b'{') {
            let mut parse = Box::new(Parse::new());
            parse.push(rest);
            self.body = Body::Json(parse);
        } else if let Body::Undecided(mut events) = std::mem::replace(&mut self.body, Body::Unread) {
            events.push(blank, &mut self.tally);
            events.push(rest, &mut self.tally);
            self.body = if begin.is_some() {
                Body::Events(events)
            } else {
                Body::Undecided(events)
            };
        }
    }

    /// `complete`: the upstream ended the body in good order, and all of it was pushed.
    ///
    /// A stream that said `[DONE]` or `message_stop` is complete even if the connection was not closed in good order:
    /// clients leave there.
    pub fn finish(self, complete: bool) -> Reading {
        let Self {
            mut tally,
            body,
            fallback,
        } = self;
        let ended = match body {
            Body::Unread | Body::Undecided(_) => false,
            Body::Json(parse) => {
                if !parse.scanner.is_failed() {
                    tally.absorb(&parse.document);
                }
                complete && parse.scanner.is_done()
            }
            Body::Events(mut events) => {
                events.end_event(&mut tally);
                complete || tally.is_ended()
            }
        };
        let tokens = tally.tokens();
        let source = match tokens {
            None => fallback,
            Some(_) if ended && tally.is_final() => Some(UsageSource::Reported),
            Some(_) => Some(UsageSource::Partial),
        };
        Reading {
            tokens,
            source,
            irregular: tally.is_irregular(),
            model: tally.into_model(),
        }
    }
}

impl Events {
    fn new() -> Self {
        Self {
            parser: SseParser::new(),
            parse: Parse::new(),
            has_data: false,
            done_matched: None,
        }
    }

    fn push(&mut self, chunk: &[u8], tally: &mut Tally) {
        let mut rest = chunk;
        while let Some((bytes, piece, after)) = self.parser.next(rest) {
            rest = after;
            match piece {
                Piece::DataLine if self.has_data => self.data(b"\n"),
                Piece::DataLine => {
                    self.has_data = true;
                    self.done_matched = Some(0);
                    self.parse.restart();
                }
                Piece::Data => self.data(bytes),
                Piece::EventEnd => self.end_event(tally),
                Piece::Other | Piece::EventEndTail => {}
            }
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.parse.push(bytes);
        if let Some(matched) = self.done_matched {
            let tail = DONE.get(matched..).unwrap_or_default();
            self.done_matched = tail.starts_with(bytes).then_some(matched + bytes.len());
        }
    }

    fn end_event(&mut self, tally: &mut Tally) {
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        if self.done_matched == Some(DONE.len()) {
            tally.end();
        } else if self.parse.scanner.is_done() {
            tally.absorb(&self.parse.document);
        }
    }
}

/// `content-encoding` names no coding, or only `identity`.
fn is_identity(value: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

fn is_binary(content_type: &[u8]) -> bool {
    let kind = content_type
        .trim_ascii()
        .split(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    [&b"image"[..], b"audio", b"video", b"font"]
        .iter()
        .any(|binary| kind.eq_ignore_ascii_case(binary))
}
