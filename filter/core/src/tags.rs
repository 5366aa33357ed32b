//! Tags that a client gives a request with `X-RateGuard-Tags: name=value, …` (SPEC 4).

/// Pairs taken at most; the rest is ignored.
const PAIRS_MAX: usize = 8;
const NAME_LEN_MAX: usize = 32;
const VALUE_LEN_MAX: usize = 64;

/// The valid pairs. A malformed one is left out: a label is no reason to refuse a request.
pub fn parse(value: &[u8]) -> Vec<(String, String)> {
    let Ok(text) = std::str::from_utf8(value) else {
        return Vec::new();
    };
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, value)| is_name(name) && is_value(value))
        .take(PAIRS_MAX)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A key's tags with a request's: the key's win, for a client must not relabel them. Sorted by name.
pub fn merge(key: &[(String, String)], request: &[(String, String)]) -> Vec<(String, String)> {
    let mut tags = key.to_vec();
    for (name, value) in request {
        if !tags.iter().any(|(known, _)| known == name) {
            tags.push((name.clone(), value.clone()));
        }
    }
    tags.sort();
    tags
}

fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_value(value: &str) -> bool {
    (1..=VALUE_LEN_MAX).contains(&value.len()) && value.chars().all(|character| !character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_pairs_are_taken() {
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(
            parse(b"team=core, feature=chat"),
            owned(&[("team", "core"), ("feature", "chat")])
        );
        assert_eq!(parse(b"no pair,=x,a=,b b=1,c=ok"), owned(&[("c", "ok")]));
        assert_eq!(parse(b"\xff=1"), owned(&[]));
        assert_eq!(parse(b"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1").len(), 8);
        assert_eq!(
            merge(
                &owned(&[("team", "core")]),
                &owned(&[("team", "evil"), ("a", "1")])
            ),
            owned(&[("a", "1"), ("team", "core")])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).len() <= PAIRS_MAX);
        }
    }
}
