use super::*;
use proptest::prelude::*;

/// Everything that it is told, as text.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Log(Vec<String>);

impl Sink for Log {
    const NAMES: &'static [&'static str] = &["a", "b", "usage"];

    fn item(&mut self, path: &[&'static str], item: Item<'_>, at: usize) {
        self.0.push(format!("{} {item:?} @{at}", path.join(".")));
    }

    fn scalar_ended(&mut self, _path: &[&'static str], end: usize) {
        self.0.push(format!("end {end}"));
    }

    fn other_key(&mut self, path: &[&'static str]) {
        self.0.push(format!("other in {}", path.join(".")));
    }
}

fn scan<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> (bool, Log) {
    let mut scanner = Scanner::new();
    let mut log = Log::default();
    for chunk in chunks {
        scanner.push(chunk, &mut log);
    }
    (scanner.is_done(), log)
}

/// Splits at every position, and byte by byte.
fn scan_every_way(document: &[u8]) -> (bool, Log) {
    let whole = scan([document]);
    for at in 0..=document.len() {
        let (head, tail) = document.split_at(at);
        assert_eq!(scan([head, tail]), whole, "split at {at}");
    }
    assert_eq!(scan(document.chunks(1)), whole);
    whole
}

#[test]
fn follows_known_paths_only() {
    let (done, log) = scan_every_way(br#"{"x":{"a":1},"a":{"b":[true,{"a":2}],"c":3},"b":-1.5e3 }"#);
    assert!(done);
    assert_eq!(
        log.0,
        [
            " Object @0",
            "other in ",
            "a Object @17",
            "a.b Array @22",
            "a.b.[] Bool(true) @23",
            "end 27",
            "a.b.[] Object @28",
            "a.b Closed @35",
            "other in a",
            "a Closed @42",
            "b Number(\"-1.5e3\") @48",
            "end 54",
            " Closed @55",
        ]
    );
}

#[test]
fn escaped_keys_are_the_keys_they_spell() {
    let (done, log) = scan_every_way(br#"{"us\u0061ge":"\ud83e\udd80 \ud83e \n\/\"","\u0061":null}"#);
    assert!(done);
    assert!(
        log.0
            .contains(&"usage String(\"\u{1f980} \u{fffd} \\n/\\\"\") @14".to_owned()),
        "{log:?}"
    );
    assert!(log.0.contains(&"a Null @52".to_owned()), "{log:?}");
}

#[test]
fn up_09_lone_surrogates_and_bad_utf8_are_no_failure() {
    for (document, expected) in [
        (&br#"{"a":"\ud800"}"#[..], "a String(\"\u{fffd}\") @5"),
        (br#"{"a":"\ud800\ud800"}"#, "a String(\"\u{fffd}\u{fffd}\") @5"),
        (br#"{"a":"\udc00x"}"#, "a String(\"\u{fffd}x\") @5"),
        (b"{\"a\":\"\xff\"}", "a Unreadable @5"),
        (b"{\"a\":\"\0\"}", "a String(\"\\0\") @5"),
    ] {
        let (done, log) = scan_every_way(document);
        assert!(done);
        assert!(log.0.iter().any(|line| line == expected), "{log:?}");
    }
}

#[test]
fn a_text_of_256_bytes_is_kept_and_one_of_257_is_not() {
    for (length, kept) in [(256, true), (257, false)] {
        let text = "x".repeat(length);
        let (done, log) = scan([format!("{{\"a\":\"{text}\"}}").as_bytes()]);
        assert!(done);
        assert_eq!(log.0.iter().any(|line| line.contains("Unreadable")), !kept);
    }
}

#[test]
fn what_is_no_json_is_never_done() {
    for document in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "[1}",
        "{]",
        "nul",
        "nulls",
        "NaN",
        "tru e",
        "{}{}",
        "{} x",
        "[1 2]",
        ",",
        "{\"a\":Infinity}",
        "{\"a\":\"\\q\"}",
        "\u{feff}{}",
        "{\"a\":\"\\u12g4\"}",
    ] {
        assert!(!scan_every_way(document.as_bytes()).0, "{document:?}");
    }
}

#[test]
fn up_09_ten_thousand_levels_and_back() {
    for depth in [63_usize, 64, 65, 66, 10_000] {
        let deep = format!(
            "{{\"x\":{}\"]}}\\\"\"{},\"a\":7}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let (done, log) = scan([deep.as_bytes()]);
        assert!(done, "{depth}");
        assert!(
            log.0.iter().any(|line| line.starts_with("a Number(\"7\")")),
            "{depth} {log:?}"
        );
        let (done, _) = scan([&deep.as_bytes()[..deep.len() - 1]]);
        assert!(!done);
    }
}

#[test]
fn up_09_fifty_megabytes_of_one_string_are_not_kept() {
    let mut scanner = Scanner::new();
    let mut log = Log::default();
    scanner.push(b"{\"a\":\"", &mut log);
    let block = vec![b'x'; 1 << 20];
    for _ in 0..50 {
        scanner.push(&block, &mut log);
    }
    scanner.push(b"\",\"b\":1}", &mut log);
    assert!(scanner.is_done());
    assert!(scanner.text.capacity() <= 2 * KEPT_BYTES_MAX);
    assert!(log.0.iter().any(|line| line.starts_with("b Number")));
}

proptest! {
    #[test]
    fn up_09_any_bytes_any_chunks_the_same(bytes in any_json_like(), cuts in prop::collection::vec(0_usize..200, 0..8)) {
        let whole = scan([&bytes[..]]);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(scan(chunks), whole);
    }

    #[test]
    fn accepts_what_serde_json_accepts(bytes in any_json_like()) {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            // A number ends only where something follows it.
            let ended = !value.is_number() || bytes.last().is_some_and(u8::is_ascii_whitespace);
            prop_assert_eq!(scan([&bytes[..]]).0, ended);
        }
    }
}

/// Bytes that are often nearly JSON.
fn any_json_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"{\"a\":".to_vec()),
        Just(b"\"b\"".to_vec()),
        Just(b"\"usage\":".to_vec()),
        prop::sample::select(b"{}[],:\" \\ntfu0123456789-+.eE\r\n".to_vec()).prop_map(|byte| vec![byte]),
        Just(b"null".to_vec()),
        Just(b"12".to_vec()),
        Just(b"\\ud83e\\udd80".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop_oneof![
        prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat()),
        prop::collection::vec(any::<u8>(), 0..200),
        document().prop_map(|value| value.to_string().into_bytes()),
    ]
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            prop::collection::vec(("(a|b|usage|.{0,4})", inner), 0..5)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}
