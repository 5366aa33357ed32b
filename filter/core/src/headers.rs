//! A header list as one block of bytes, as the host hands it over: fetched once, read in place, written back once.
//!
//! Layout (all numbers little-endian `u32`): the count; for each header the lengths of its name and its value; then
//! for each header the name, a zero byte, the value, a zero byte. Names are lower case.

use std::fmt;

/// An owned header list. A block that is not of the layout reads as an empty one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Builds a block; the order of `headers` is kept.
    pub fn build(headers: &[(&[u8], &[u8])]) -> Self {
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 10)
            .sum();
        let mut bytes = Vec::with_capacity(4 + size);
        bytes.extend_from_slice(&length(headers.len()));
        for (name, value) in headers {
            bytes.extend_from_slice(&length(name.len()));
            bytes.extend_from_slice(&length(value.len()));
        }
        for (name, value) in headers {
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        Self(bytes)
    }

    pub fn iter(&self) -> Headers<'_> {
        let (count, rest) = match self.0.split_first_chunk::<4>() {
            Some((count, rest)) => (u32::from_le_bytes(*count) as usize, rest),
            None => (0, &[][..]),
        };
        match rest.split_at_checked(count.saturating_mul(8)) {
            Some((lengths, data)) => Headers { lengths, data },
            None => Headers {
                lengths: &[],
                data: &[],
            },
        }
    }

    /// The first value of a header, by its lower-case name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for &'a HeaderBlock {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

fn length(length: usize) -> [u8; 4] {
    (length as u32).to_le_bytes()
}

/// Names only: values may be secrets.
impl fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name)))
            .finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for HeaderBlock {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(headers: I) -> Self {
        let headers: Vec<(&[u8], &[u8])> = headers
            .into_iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        Self::build(&headers)
    }
}

/// Walks a block. Ends early where the block ends early.
pub struct Headers<'a> {
    lengths: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (name_length, lengths) = self.lengths.split_first_chunk::<4>()?;
        let (value_length, lengths) = lengths.split_first_chunk::<4>()?;
        self.lengths = lengths;
        let (name, data) = self
            .data
            .split_at_checked(u32::from_le_bytes(*name_length) as usize)?;
        let data = data.get(1..)?;
        let (value, data) = data.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
        self.data = data.get(1..)?;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_built_is_read_back() {
        let block: HeaderBlock = [
            (":path", "/"),
            ("x-empty", ""),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ]
        .into_iter()
        .collect();
        let read: Vec<_> = block.iter().collect();
        assert_eq!(read.len(), 4);
        assert_eq!(block.get(b"x-twice"), Some(&b"1"[..]));
        assert_eq!(block.get(b"x-empty"), Some(&b""[..]));
        assert_eq!(block.get(b"absent"), None);
    }

    proptest! {
        #[test]
        fn any_list_survives(headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let borrowed: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
            let block = HeaderBlock::build(&borrowed);
            prop_assert_eq!(block.iter().collect::<Vec<_>>(), borrowed);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = HeaderBlock::from_bytes(bytes).iter().count();
        }
    }
}
