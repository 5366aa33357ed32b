//! Globs over names (model names): `*` stands for any run of characters. Linear time, no recursion.

/// Whether `text` matches `pattern` as a whole. Bytes, case-sensitive.
///
/// The pieces between stars are looked for from left to right; taking the leftmost place of each is never worse than
/// a later one, so nothing is tried twice (`str::find` is linear).
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in exponential time.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                reference(rest, text) || text.split_first().is_some_and(|(_, t)| reference(pattern, t))
            }
            (Some((p, rest)), Some((t, tail))) => p == t && reference(rest, tail),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    #[test]
    fn matches_model_names() {
        assert!(matches("gpt-4o*", "gpt-4o-mini"));
        assert!(matches("gpt-4o*", "gpt-4o"));
        assert!(matches("*", ""));
        assert!(matches("", ""));
        assert!(matches("claude-*-sonnet*", "claude-3-5-sonnet-20241022"));
        assert!(matches("*.claude-*-v2:0", "us.anthropic.claude-3-v2:0"));
        assert!(!matches("gpt-4o", "gpt-4o-mini"));
        assert!(!matches("gpt-4O", "gpt-4o"));
        assert!(!matches("", "x"));
        assert!(!matches("ab*ba", "aba"));
    }

    #[test]
    fn a_hostile_pattern_takes_linear_time() {
        let text = "a".repeat(100_000);
        let pattern = format!("{}b", "a*".repeat(10_000));
        assert!(!matches(&pattern, &text));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", text in "[abc]{0,10}") {
            prop_assert_eq!(
                matches(&pattern, &text),
                reference(pattern.as_bytes(), text.as_bytes()),
                "{:?} {:?}", pattern, text
            );
        }

        #[test]
        fn any_text_can_be_asked_for(pattern in "\\PC{0,20}", text in "\\PC{0,20}") {
            let _ = matches(&pattern, &text);
            let own = matches(&text, &text);
            prop_assert!(own);
        }
    }
}
