//! Request paths: which API they name, whether they are safe to match, and the caller's key in their query.

pub use rateguard_model::proxy_path::{join, split_proxy, split_query};
use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("the path must start with /")]
    NotAbsolute,
    #[error("the path must not contain NUL, a backslash or dot segments, in any encoding")]
    Unsafe,
}

/// Rounds of percent-decoding that are looked through: an upstream may decode more than once.
const DECODE_ROUNDS: usize = 4;

/// Refuses what an upstream could read as another path than the one that rules are matched on. `%2f` stays legal:
/// it is never taken for a separator here, except when looking for dot segments.
pub fn check(path: &[u8]) -> Result<(), InvalidPath> {
    if path.first() != Some(&b'/') {
        return Err(InvalidPath::NotAbsolute);
    }
    if !path.iter().any(|byte| matches!(byte, b'%' | b'.' | b'\\' | 0)) {
        return Ok(());
    }
    let mut decoded = Cow::Borrowed(path);
    for _ in 0..DECODE_ROUNDS {
        if is_unsafe(&decoded) {
            return Err(InvalidPath::Unsafe);
        }
        match percent_decode(&decoded) {
            Some(next) => decoded = Cow::Owned(next),
            None => return Ok(()),
        }
    }
    // Still encoded after that many rounds: nobody sends this in good faith.
    Err(InvalidPath::Unsafe)
}

fn is_unsafe(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, 0 | b'\\')) || path.split(|byte| *byte == b'/').any(is_dot_segment)
}

/// `.` and `..`, also with parameters (`..;x`), which some servers cut off.
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or(segment);
    matches!(name, b"." | b"..")
}

/// One round; `None` if there is nothing to decode. Malformed escapes stay as they are.
fn percent_decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    let mut changed = false;
    while let Some((byte, after)) = rest.split_first() {
        let escape = (*byte == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let decoded = escape.and_then(|([high, low], after)| Some((hex(*high)? << 4 | hex(*low)?, after)));
        changed |= decoded.is_some();
        let (byte, after) = decoded.unwrap_or((*byte, after));
        out.push(byte);
        rest = after;
    }
    changed.then_some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Values of `key=` in a query (with its `?`) that look like our keys.
pub fn query_candidates(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    pairs(query).filter_map(candidate)
}

/// The query without the `key=` parameters that hold a candidate; the rest stays byte for byte.
pub fn without_candidates(query: &[u8]) -> Cow<'_, [u8]> {
    if query_candidates(query).next().is_none() {
        return Cow::Borrowed(query);
    }
    let mut out = Vec::with_capacity(query.len());
    for pair in pairs(query).filter(|pair| candidate(pair).is_none()) {
        out.push(if out.is_empty() { b'?' } else { b'&' });
        out.extend_from_slice(pair);
    }
    Cow::Owned(out)
}

fn pairs(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query
        .strip_prefix(b"?")
        .into_iter()
        .flat_map(|query| query.split(|byte| *byte == b'&'))
}

fn candidate(pair: &[u8]) -> Option<&[u8]> {
    pair.strip_prefix(b"key=")
        .filter(|value| value.starts_with(rateguard_model::api_key::ApiKey::PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn au_07_dot_segments_nul_and_backslash_are_refused_in_any_encoding() {
        for path in [
            "/proxy/a/../b",
            "/proxy/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/..",
            "/a/%2e",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a/%252e%252e/b",
            "/a/%25252e/b",
            "/a/..;v=1/b",
            "/a%00",
            "/a%5cb",
            "/a\\b",
            "/a%255c",
            "/%2525252525252e",
        ] {
            assert_eq!(check(path.as_bytes()), Err(InvalidPath::Unsafe), "{path}");
        }
        assert_eq!(check(b"proxy"), Err(InvalidPath::NotAbsolute));
        assert_eq!(check(b""), Err(InvalidPath::NotAbsolute));
    }

    #[test]
    fn real_paths_pass() {
        for path in [
            "/",
            "/v1/chat/completions",
            "/model/arn:aws:bedrock:eu%2Fprofile/converse",
            "/group%2Fproject",
            "/v1.5/x",
            "/files/a..b",
            "/a/...",
            "/100%",
            "/%zz",
            "/a%20b",
            "//double",
        ] {
            assert_eq!(check(path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn joins_with_one_slash() {
        assert_eq!(join("/v1", b"/chat", b"?a=1"), b"/v1/chat?a=1");
        assert_eq!(join("", b"", b""), b"/");
        assert_eq!(join("/v1", b"", b"?q"), b"/v1?q");
        assert_eq!(join("", b"/x", b""), b"/x");
    }

    #[test]
    fn splits_the_slug() {
        assert_eq!(
            split_proxy(b"/proxy/openai/v1/chat"),
            Some(("openai", &b"/v1/chat"[..]))
        );
        assert_eq!(split_proxy(b"/proxy/openai"), Some(("openai", &b""[..])));
        assert_eq!(split_proxy(b"/proxy/"), Some(("", &b""[..])));
        assert_eq!(split_proxy(b"/other"), None);
    }

    #[test]
    fn only_candidates_leave_the_query() {
        assert_eq!(
            &*without_candidates(b"?key=rg_live_x&alt=sse&key=AIza"),
            b"?alt=sse&key=AIza"
        );
        assert_eq!(&*without_candidates(b"?a=1&key=rg_test_y"), b"?a=1");
        assert_eq!(&*without_candidates(b"?key=rg_test_y"), b"");
        assert_eq!(&*without_candidates(b"?a=%zz&&b"), b"?a=%zz&&b");
    }

    proptest! {
        #[test]
        fn no_path_panics_and_no_dot_segment_passes(path in prop::collection::vec(prop::sample::select(b"/.%2eE5cf;a0\\".to_vec()), 0..40)) {
            let mut path = path;
            path.insert(0, b'/');
            if check(&path).is_ok() {
                prop_assert!(!is_unsafe(&path));
                if let Some(decoded) = percent_decode(&path) {
                    prop_assert!(!is_unsafe(&decoded));
                }
            }
        }

        #[test]
        fn any_query_is_split_without_panic(query in prop::collection::vec(any::<u8>(), 0..80)) {
            let rest = without_candidates(&query).into_owned();
            prop_assert!(query_candidates(&rest).next().is_none());
        }
    }
}
