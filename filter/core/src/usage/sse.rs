//! A server-sent event stream, cut into pieces that are never copied.
//!
//! Grammar, from the HTML standard, section 9.2.5 "Parsing an event stream"
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>):
//!
//! ```abnf
//! stream        = [ bom ] *event
//! event         = *( comment / field ) end-of-line
//! comment       = colon *any-char end-of-line
//! field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
//! end-of-line   = ( cr lf / cr / lf )
//! ```
//!
//! Only `data` fields matter here: both providers repeat the event's name inside of its JSON, so `event` lines may come
//! before, after or not at all. Several `data` lines of one event are joined by a line feed. A line is never stored, so
//! one of any length costs no memory.

use memchr::memchr2;

const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";

/// What the bytes at the front of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Field names, comments, line ends within an event, other fields.
    Other,
    /// The next `data` line of the event begins; the bytes themselves belong to its name.
    DataLine,
    /// Part of the value of a `data` line.
    Data,
    /// The empty line that ends an event, or its CR if it has both.
    EventEnd,
    /// The LF of a CRLF whose CR was an [`Piece::EventEnd`].
    EventEndTail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Bom {
        matched: usize,
    },
    LineStart,
    /// Within the first bytes of a line, which are those of [`DATA`].
    Name {
        matched: usize,
    },
    /// After `data:`, where one space is not part of the value.
    Space,
    Value,
    /// In a line that does not matter.
    Skip,
}

/// Finds the pieces.
#[derive(Debug)]
pub(crate) struct SseParser {
    state: State,
    /// The last byte was a CR; `Some(true)` if it ended an event.
    after_cr: Option<bool>,
}

impl SseParser {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Bom { matched: 0 },
            after_cr: None,
        }
    }

    /// Takes the next piece off the front of `input`: its bytes, what they are, and what is left. `None` when `input`
    /// is empty. A piece may be empty.
    pub(crate) fn next<'i>(&mut self, input: &'i [u8]) -> Option<(&'i [u8], Piece, &'i [u8])> {
        let &byte = input.first()?;
        let (length, piece) = match self.after_cr.take() {
            Some(true) if byte == b'\n' => (1, Piece::EventEndTail),
            Some(false) if byte == b'\n' => (1, Piece::Other),
            _ => self.in_line(byte, input),
        };
        let (taken, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        Some((taken, piece, rest))
    }

    fn in_line(&mut self, byte: u8, input: &[u8]) -> (usize, Piece) {
        match self.state {
            State::Bom { matched } => self.bom(byte, matched),
            State::LineStart if matches!(byte, b'\r' | b'\n') => {
                self.end_line(byte, true);
                (1, Piece::EventEnd)
            }
            State::LineStart => {
                self.state = if byte == b'd' {
                    State::Name { matched: 1 }
                } else {
                    State::Skip
                };
                // The byte of a skipped line may be a colon or the beginning of a name, never a line end.
                (1, Piece::Other)
            }
            State::Name { matched } => self.name(byte, matched),
            State::Space => {
                self.state = State::Value;
                (usize::from(byte == b' '), Piece::Other)
            }
            State::Value | State::Skip => self.run(byte, input),
        }
    }

    fn bom(&mut self, byte: u8, matched: usize) -> (usize, Piece) {
        if BOM.get(matched) == Some(&byte) {
            let matched = matched + 1;
            self.state = if matched == BOM.len() {
                State::LineStart
            } else {
                State::Bom { matched }
            };
            return (1, Piece::Other);
        }
        // Part of a mark that was none belongs to the name of a field that nobody knows.
        self.state = if matched == 0 {
            State::LineStart
        } else {
            State::Skip
        };
        (0, Piece::Other)
    }

    fn name(&mut self, byte: u8, matched: usize) -> (usize, Piece) {
        match (DATA.get(matched), byte) {
            (Some(&expected), _) if expected == byte => {
                self.state = State::Name { matched: matched + 1 };
                (1, Piece::Other)
            }
            (None, b':') => {
                self.state = State::Space;
                (1, Piece::DataLine)
            }
            // `data` without a colon is a data line with an empty value.
            (None, b'\r' | b'\n') => {
                self.end_line(byte, false);
                (1, Piece::DataLine)
            }
            _ => {
                self.state = State::Skip;
                (0, Piece::Other)
            }
        }
    }

    fn run(&mut self, byte: u8, input: &[u8]) -> (usize, Piece) {
        if matches!(byte, b'\r' | b'\n') {
            self.end_line(byte, false);
            return (1, Piece::Other);
        }
        let length = memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        (
            length,
            if self.state == State::Value {
                Piece::Data
            } else {
                Piece::Other
            },
        )
    }

    fn end_line(&mut self, byte: u8, ends_event: bool) {
        self.state = State::LineStart;
        self.after_cr = (byte == b'\r').then_some(ends_event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of each event, and that of the unfinished last one.
    fn events(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let mut parser = SseParser::new();
        let mut done = Vec::new();
        let mut data: Option<Vec<u8>> = None;
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some((bytes, piece, after)) = parser.next(rest) {
                match piece {
                    Piece::DataLine => match &mut data {
                        Some(data) => data.push(b'\n'),
                        None => data = Some(Vec::new()),
                    },
                    Piece::Data => data.as_mut().expect("data comes after its line").extend(bytes),
                    Piece::EventEnd => done.extend(data.take()),
                    Piece::Other | Piece::EventEndTail => {}
                }
                rest = after;
            }
        }
        (done, data)
    }

    /// Both halves of every split, and one byte at a time, give what the whole gives.
    fn same_for_every_split(stream: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let whole = events(&[stream]);
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(events(&[head, tail]), whole, "split at {at}");
        }
        assert_eq!(events(&stream.chunks(1).collect::<Vec<_>>()), whole);
        whole
    }

    #[test]
    fn up_03_every_way_to_write_an_event_gives_its_data() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"data: a\n\ndata: b\n\n", &["a", "b"]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            (b"data: a\r\rdata: b\r\r", &["a", "b"]),
            (b"data: a\r\n\ndata: b\n\r\n", &["a", "b"]),
            (b"\xef\xbb\xbfdata: a\n\n", &["a"]),
            (b"\xef\xbbdata: a\n\ndata: b\n\n", &["b"]),
            (b"data:a\n\n", &["a"]),
            (b"data:  a\n\n", &[" a"]),
            (b"data: a\ndata: b\n\n", &["a\nb"]),
            (b"data\n\n", &[""]),
            (b"data:\n\n", &[""]),
            (b"data: a\nevent: x\n\nevent: y\ndata: b\n\n", &["a", "b"]),
            (b": comment\n\ndata: a\n: comment\n\n", &["a"]),
            (
                b"id: 1\nretry: 5\ndatax: no\ndat: no\n data: no\ndata: a\n\n",
                &["a"],
            ),
            (b"\n\n\r\n\rdata: a\n\n", &["a"]),
            ("data: \u{e9}\u{1f980}\n\n".as_bytes(), &["\u{e9}\u{1f980}"]),
        ];
        for (stream, expected) in cases {
            let (done, open) = same_for_every_split(stream);
            let done: Vec<_> = done.iter().map(|data| String::from_utf8_lossy(data)).collect();
            assert_eq!(done, *expected, "{}", String::from_utf8_lossy(stream));
            assert_eq!(open, None);
        }
    }

    #[test]
    fn up_10_an_event_without_its_empty_line_is_not_ended() {
        assert_eq!(same_for_every_split(b"data: a\n"), (vec![], Some(b"a".to_vec())));
        assert_eq!(same_for_every_split(b"data: a"), (vec![], Some(b"a".to_vec())));
    }
}
