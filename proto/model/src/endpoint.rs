//! Endpoint patterns over the upstream path (SPEC 1.3): `*` within a segment, `**` across segments, nothing = all.

use crate::id::RequestId;

/// A pattern that was checked when it was written.
///
/// Both wildcards also stand for nothing: `/v1/*` matches `/v1/`, `/v1/**` matches `/v1/` and `/v1/a/b` but not `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPattern(String);

/// Why a pattern is refused when a rule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("must start with / or be **")]
    NoSlash,
    #[error("longer than 256 bytes")]
    TooLong,
    #[error("more than 8 wildcards")]
    TooManyWildcards,
    #[error("has a query, a fragment, a space or a control character")]
    Character,
}

/// Longest pattern in bytes.
const LEN_MAX: usize = 256;

/// Most wildcards of a pattern; a run of stars is one.
const WILDCARDS_MAX: usize = 8;

impl EndpointPattern {
    pub fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern != "**" && !pattern.starts_with('/') {
            return Err(InvalidPattern::NoSlash);
        }
        if pattern.len() > LEN_MAX {
            return Err(InvalidPattern::TooLong);
        }
        if pattern.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control()) {
            return Err(InvalidPattern::Character);
        }
        let stars = pattern.as_bytes().chunk_by(|a, b| (*a == b'*') == (*b == b'*'));
        if stars.filter(|run| run.starts_with(b"*")).count() > WILDCARDS_MAX {
            return Err(InvalidPattern::TooManyWildcards);
        }
        Ok(Self(pattern.to_owned()))
    }

    /// Matches the exact bytes of a path sent upstream, without its query. `%2f` is no separator.
    ///
    /// Time grows with the path's length alone: the pattern runs as a finite automaton of at most 257 states.
    pub fn matches(&self, path: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let literal = pattern.iter().position(|b| *b == b'*').unwrap_or(pattern.len());
        let (prefix, wild) = pattern.split_at(literal);
        let Some(path) = path.strip_prefix(prefix) else {
            return false;
        };
        if wild.is_empty() {
            return path.is_empty();
        }
        if wild == b"**" {
            return true;
        }
        let mut states = States::default();
        states.enter(wild, 0);
        for byte in path {
            states = states.step(wild, *byte);
            if states.is_empty() {
                return false;
            }
        }
        states.contains(wild.len())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which places of a pattern may come next, one bit each.
#[derive(Default)]
struct States([u64; LEN_MAX / 64 + 1]);

impl States {
    /// Adds a place; a wildcard may stand for nothing, so the place after it too.
    fn enter(&mut self, pattern: &[u8], place: usize) {
        let mut place = place;
        loop {
            if let Some(word) = self.0.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
            match star_run(pattern, place) {
                0 => return,
                run => place += run,
            }
        }
    }

    fn step(&self, pattern: &[u8], byte: u8) -> Self {
        let mut next = Self::default();
        for place in self.places() {
            match (star_run(pattern, place), pattern.get(place)) {
                (0, Some(literal)) if *literal == byte => next.enter(pattern, place + 1),
                (1, _) if byte != b'/' => next.enter(pattern, place),
                (2.., _) => next.enter(pattern, place),
                _ => {}
            }
        }
        next
    }

    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            std::iter::successors(Some(*word), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| index * 64 + rest.trailing_zeros() as usize)
        })
    }

    fn contains(&self, place: usize) -> bool {
        self.0
            .get(place / 64)
            .is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// How many stars stand at a place: 0 a literal or the end, 1 within a segment, more across segments.
fn star_run(pattern: &[u8], place: usize) -> usize {
    pattern
        .get(place..)
        .map_or(0, |rest| rest.iter().take_while(|b| **b == b'*').count())
}

/// The path as events name it: segments that look like ids (UUIDs, digits, long hex or random text) become `{id}`.
///
/// A query is cut off. Model names with a date or a version (`claude-3-5-sonnet-20241022`) stay.
pub fn template(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut template = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            template.push('/');
        }
        template.push_str(if is_id(segment) { "{id}" } else { segment });
    }
    template
}

fn is_id(segment: &str) -> bool {
    if segment.is_empty() {
        return false;
    }
    segment.bytes().all(|b| b.is_ascii_digit())
        || segment.parse::<RequestId>().is_ok()
        || words(segment).any(is_random)
}

/// Runs of letters and digits; `%2F` and its like separate.
fn words(segment: &str) -> impl Iterator<Item = &str> {
    segment.split('%').enumerate().flat_map(|(index, part)| {
        let part = if index == 0 {
            part
        } else {
            part.get(2..).unwrap_or_default()
        };
        part.split(|c: char| !c.is_ascii_alphanumeric())
    })
}

/// Longer than any word of a path that people wrote.
const WORD_LEN_MAX: usize = 40;

/// Digits from which a number inside a segment is no date.
const NUMBER_LEN_MIN: usize = 10;

/// Shortest abbreviated hash.
const HEX_LEN_MIN: usize = 8;

/// Shortest random text that is told from a word with a version.
const RANDOM_LEN_MIN: usize = 12;

fn is_random(word: &str) -> bool {
    let bytes = word.as_bytes();
    if bytes.len() > WORD_LEN_MAX {
        return true;
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        return bytes.len() >= NUMBER_LEN_MIN;
    }
    let is_digit = |b: &u8| b.is_ascii_digit();
    let changes = bytes.chunk_by(|a, b| is_digit(a) == is_digit(b)).count() - 1;
    let is_hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let mixed_case = bytes.iter().any(u8::is_ascii_lowercase) && bytes.iter().any(u8::is_ascii_uppercase);
    match changes {
        0 => false,
        1 => bytes.len() >= RANDOM_LEN_MIN && (is_hex || mixed_case),
        _ => bytes.len() >= RANDOM_LEN_MIN || (is_hex && bytes.len() >= HEX_LEN_MIN),
    }
}

#[cfg(test)]
mod tests;
