//! One key, string or number while it is read: bounded, escapes decoded.

use super::KEPT_BYTES_MAX;

#[derive(Debug, Default)]
pub(super) struct Text {
    kept: Vec<u8>,
    too_long: bool,
    start: usize,
    escape: Escape,
    /// A high surrogate that waits for its low one.
    high: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After the backslash.
    Begun,
    /// After `\u` and `digits` of its four.
    Unicode { digits: u8, unit: u16 },
}

impl Text {
    /// `start` is where the text begins in the document.
    pub(super) fn restart(&mut self, start: usize) {
        self.kept.clear();
        self.too_long = false;
        self.start = start;
        self.escape = Escape::None;
        self.high = None;
    }

    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// Bytes that its buffer takes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// `None` if it was too long or is not UTF-8.
    pub(super) fn read(&self) -> Option<&str> {
        if self.too_long {
            return None;
        }
        std::str::from_utf8(&self.kept).ok()
    }

    /// Adds bytes that stand for themselves.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.end();
            self.keep(bytes);
        }
    }

    /// A high surrogate that stayed alone becomes U+FFFD.
    pub(super) fn end(&mut self) {
        if self.high.take().is_some() {
            self.keep_char(char::REPLACEMENT_CHARACTER);
        }
    }

    pub(super) fn is_in_escape(&self) -> bool {
        self.escape != Escape::None
    }

    pub(super) fn begin_escape(&mut self) {
        self.escape = Escape::Begun;
    }

    /// One byte of an escape; `false` if there is no such escape.
    pub(super) fn escaped(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::Begun if byte == b'u' => {
                self.escape = Escape::Unicode { digits: 0, unit: 0 };
            }
            Escape::Unicode { digits, unit } => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    return false;
                };
                let unit = unit << 4 | digit as u16;
                if digits < 3 {
                    self.escape = Escape::Unicode {
                        digits: digits + 1,
                        unit,
                    };
                } else {
                    self.escape = Escape::None;
                    self.code_unit(unit);
                }
            }
            Escape::Begun | Escape::None => {
                let plain = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return false,
                };
                self.escape = Escape::None;
                self.append(&[plain]);
            }
        }
        true
    }

    fn code_unit(&mut self, unit: u16) {
        match (self.high.take(), unit) {
            (Some(high), 0xdc00..0xe000) => {
                let char = char::decode_utf16([high, unit]).find_map(Result::ok);
                self.keep_char(char.unwrap_or(char::REPLACEMENT_CHARACTER));
                return;
            }
            (Some(_), _) => self.keep_char(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match unit {
            0xd800..0xdc00 => self.high = Some(unit),
            _ => self.keep_char(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    fn keep_char(&mut self, char: char) {
        self.keep(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.too_long || self.kept.len() + bytes.len() > KEPT_BYTES_MAX {
            self.too_long = true;
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }
}
