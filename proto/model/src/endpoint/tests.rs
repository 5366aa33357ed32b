use super::*;
use proptest::prelude::*;

/// The definition, in exponential time.
fn reference(pattern: &[u8], path: &[u8]) -> bool {
    let star = |run: usize, across: bool| {
        (0..=path.len())
            .take_while(|taken| across || !path[..*taken].contains(&b'/'))
            .any(|taken| reference(&pattern[run..], &path[taken..]))
    };
    match (star_run(pattern, 0), pattern.first(), path.first()) {
        (0, None, None) => true,
        (0, Some(p), Some(t)) => p == t && reference(&pattern[1..], &path[1..]),
        (0, ..) => false,
        (run, ..) => star(run, run > 1),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    EndpointPattern::parse(pattern)
        .expect("valid pattern")
        .matches(path.as_bytes())
}

#[test]
fn one_star_stays_within_a_segment() {
    assert!(matches("/v1/chat/*", "/v1/chat/completions"));
    assert!(matches("/v1/chat/*", "/v1/chat/"));
    assert!(matches("/v1/*/completions", "/v1/chat/completions"));
    assert!(!matches("/v1/chat/*", "/v1/chat"));
    assert!(!matches("/v1/*", "/v1/chat/completions"));
    assert!(!matches("/v1/chat/*", "/v1/chat/a/b"));
}

#[test]
fn an_escaped_slash_is_no_separator() {
    assert!(matches("/projects/*/x", "/projects/group%2Fproject/x"));
    assert!(!matches("/a/b", "/a%2fb"));
}

#[test]
fn two_stars_cross_segments() {
    assert!(matches("**", ""));
    assert!(matches("**", "/anything/at/all"));
    assert!(matches("/v1/**", "/v1/a/b/c"));
    assert!(matches("/**/messages", "/v1/x/messages"));
    assert!(matches("/**/*.json", "/a/b/c.json"));
    assert!(!matches("/**/messages", "/messages"));
    assert!(!matches("/v1/**/x", "/v1/a/y"));
}

#[test]
fn refuses_patterns_that_can_never_match_or_cost_too_much() {
    for (pattern, error) in [
        ("", InvalidPattern::NoSlash),
        ("v1/*", InvalidPattern::NoSlash),
        ("*", InvalidPattern::NoSlash),
        ("/v1?x=1", InvalidPattern::Character),
        ("/v1#x", InvalidPattern::Character),
        ("/v1 x", InvalidPattern::Character),
        ("/v1\n", InvalidPattern::Character),
        ("/*/*/*/*/*/*/*/*/*", InvalidPattern::TooManyWildcards),
    ] {
        assert_eq!(EndpointPattern::parse(pattern), Err(error), "{pattern}");
    }
    assert!(EndpointPattern::parse(&format!("/{}", "x".repeat(255))).is_ok());
    let long = format!("/{}", "x".repeat(256));
    assert_eq!(EndpointPattern::parse(&long), Err(InvalidPattern::TooLong));
    assert!(EndpointPattern::parse("/*/*/*/*/*/*/*/***").is_ok());
}

#[test]
fn a_hostile_path_takes_linear_time() {
    let pattern = format!("/{}b", "**a*".repeat(4));
    assert!(!matches(&pattern, &format!("/{}", "a".repeat(200_000))));
}

#[test]
fn the_longest_pattern_uses_its_last_state() {
    let pattern = format!("/*{}", "a".repeat(254));
    assert!(matches(&pattern, &format!("/x{}", "a".repeat(254))));
    assert!(!matches(&pattern, &format!("/x{}", "a".repeat(253))));
}

#[test]
fn ids_in_paths_are_replaced() {
    for (path, expected) in [
        ("", ""),
        ("/", "/"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/users/42/orders", "/v1/users/{id}/orders"),
        ("/x/0191B5E4-7b1c-7d3a-8a5e-0123456789ab", "/x/{id}"),
        ("/v1/files/file-abc123XYZ456def789ghi012", "/v1/files/{id}"),
        ("/v1/threads/thread_Jd8sKq2lP0aZ/runs", "/v1/threads/{id}/runs"),
        ("/v1/customers/cus_NffrFeUfNV2Hib", "/v1/customers/{id}"),
        ("/commit/3f2504e0", "/commit/{id}"),
        ("/commit/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/commit/{id}"),
        (
            "/model/arn%3Aaws%3Abedrock%3A%3A123456789012%3Ax/invoke",
            "/model/{id}/invoke",
        ),
        (
            "/v1/models/claude-3-5-sonnet-20241022",
            "/v1/models/claude-3-5-sonnet-20241022",
        ),
        (
            "/v1/models/gpt-4o-mini-2024-07-18",
            "/v1/models/gpt-4o-mini-2024-07-18",
        ),
        (
            "/v1beta/models/gemini-1.5-pro:generateContent",
            "/v1beta/models/gemini-1.5-pro:generateContent",
        ),
        (
            "/model/us.anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse-stream",
            "/model/us.anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse-stream",
        ),
        ("/v1/text-embedding-3-small", "/v1/text-embedding-3-small"),
        ("/a//b/", "/a//b/"),
        ("/search?q=secret", "/search"),
        ("/%", "/%"),
        ("/é%zé", "/é%zé"),
    ] {
        assert_eq!(template(path), expected, "{path}");
    }
}

proptest! {
    #[test]
    fn agrees_with_the_definition(pattern in "/[ab/*]{0,7}", path in "/[abc/]{0,9}") {
        let pattern = EndpointPattern::parse(&pattern).unwrap();
        prop_assert_eq!(
            pattern.matches(path.as_bytes()),
            reference(pattern.as_str().as_bytes(), path.as_bytes()),
            "{:?} {:?}", pattern, path
        );
    }

    #[test]
    fn any_pattern_is_read_or_refused(pattern in "/?[a*/\\PC]{0,300}", path: Vec<u8>) {
        if let Ok(pattern) = EndpointPattern::parse(&pattern) {
            pattern.matches(&path);
            prop_assert_eq!(EndpointPattern::parse(pattern.as_str()), Ok(pattern));
        }
    }

    #[test]
    fn a_template_has_no_query_and_as_many_segments(path in "[/a-f0-9%?\\PC]{0,60}") {
        let path = path.replace('#', "");
        let template = template(&path);
        prop_assert!(!template.contains('?'));
        let plain = path.split('?').next().unwrap();
        prop_assert_eq!(template.split('/').count(), plain.split('/').count());
    }
}
