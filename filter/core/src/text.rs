//! Header values written one after the other into one buffer: a response has a dozen of them.

use std::fmt;
use std::fmt::Write as _;

/// Names and values to be added to a response.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HeaderText {
    text: String,
    /// Where each value ends.
    ends: Vec<(&'static str, usize)>,
}

impl HeaderText {
    pub fn with_capacity(headers: usize) -> Self {
        Self {
            text: String::with_capacity(headers * 16),
            ends: Vec::with_capacity(headers),
        }
    }

    pub fn push(&mut self, name: &'static str, value: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
        self.ends.push((name, self.text.len()));
    }

    pub fn push_str(&mut self, name: &'static str, value: &str) {
        self.text.push_str(value);
        self.ends.push((name, self.text.len()));
    }

    /// Starts a value that is written in parts; [`Self::close`] ends it.
    pub fn part(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn close(&mut self, name: &'static str) {
        self.ends.push((name, self.text.len()));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |(name, end)| {
            let value = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            (*name, value)
        })
    }

    pub fn has(&self, name: &[u8]) -> bool {
        self.ends.iter().any(|(known, _)| known.as_bytes() == name)
    }
}
