//! The extra usage chunk is taken out, and nothing else, however the stream is split.

use proptest::prelude::*;
use rateguard_filter::sse_edit::UsageChunkHider;
use std::borrow::Cow;
use std::fs;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/providers");

fn hide<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut hider = UsageChunkHider::default();
    let mut out = Vec::new();
    for chunk in chunks {
        let passed = hider.push(chunk);
        if let Cow::Borrowed(passed) = passed {
            assert_eq!(passed, chunk, "borrowed is the whole chunk");
        }
        out.extend_from_slice(&passed);
    }
    out.extend(hider.finish());
    out
}

fn streams() -> Vec<(String, String)> {
    let mut streams = Vec::new();
    for provider in ["openai", "anthropic"] {
        for file in fs::read_dir(format!("{FOLDER}/{provider}")).expect("the folder is there") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "sse") {
                let name = path
                    .file_name()
                    .expect("it has a name")
                    .to_string_lossy()
                    .into_owned();
                streams.push((name, fs::read_to_string(&path).expect("fixtures are UTF-8")));
            }
        }
    }
    assert!(streams.len() > 10);
    streams
}

/// The stream without its usage chunk, by the simplest reading of its text.
fn without_usage_chunk(stream: &str, blank_line: &str) -> String {
    stream
        .split_inclusive(blank_line)
        .filter(|event| !(event.contains("\"choices\":[]") && event.contains("\"usage\":{")))
        .collect()
}

#[test]
fn up_01_exactly_the_usage_chunk_is_missing_for_every_split() {
    let mut hidden = 0;
    for (name, stream) in streams() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            let expected = without_usage_chunk(&stream, &end.repeat(2));
            hidden += usize::from(expected != stream);
            for at in 0..=stream.len() {
                let (head, tail) = stream.as_bytes().split_at(at);
                assert!(
                    hide([head, tail]) == expected.as_bytes(),
                    "{name} {end:?} split at {at}"
                );
            }
            assert!(
                hide(stream.as_bytes().chunks(1)) == expected.as_bytes(),
                "{name} {end:?} byte by byte"
            );
        }
    }
    assert_eq!(hidden, 3 * 6, "six streams have one");
}

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}";

#[test]
fn hides_a_usage_chunk_however_it_is_written() {
    for event in [
        format!("{USAGE}\n\n"),
        format!("{USAGE}\r\n\r\n"),
        format!("{USAGE}\r\r"),
        format!(": comment\nid: 1\nevent: x\n{USAGE}\nretry: 1\n\n"),
        "data:{\"usage\" : { } , \"choices\" : [ ] }\n\n".to_owned(),
        "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n".to_owned(),
        "data: {\"ch\\u006fices\":[],\"usage\":{}}\n\n".to_owned(),
    ] {
        let stream = format!("data: 1\n\n{event}data: [DONE]\n\n");
        for at in 0..=stream.len() {
            let (head, tail) = stream.as_bytes().split_at(at);
            let out = hide([head, tail]);
            assert_eq!(
                String::from_utf8_lossy(&out),
                "data: 1\n\ndata: [DONE]\n\n",
                "{event:?} {at}"
            );
        }
    }
}

#[test]
fn every_other_event_goes_on() {
    for event in [
        "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"choices\":[0],\"usage\":{}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"prompt_filter_results\":[{\"usage\":{}}]}\n\n",
        "data: {\"choices\":{},\"usage\":{}}\n\n",
        "data: {\"choices\":null,\"usage\":{}}\n\n",
        "data: {\"usage\":{}}\n\n",
        "data: {\"x\":{\"choices\":[],\"usage\":{}}}\n\n",
        "data: [{\"choices\":[],\"usage\":{}}]\n\n",
        "data: {\"choices\":[],\"usage\":{}}x\n\n",
        "data: {\"choices\":[],\"usage\":{}\n\n",
        "data: {\"choices\":[0],\"choices\":[],\"usage\":{}}\n\n",
        "event: {\"choices\":[],\"usage\":{}}\n\n",
        ": {\"choices\":[],\"usage\":{}}\n\n",
        "data: {\"choices\":[],\"usage\":{}}\n",
        "data: {\"choices\":[],\"usage\":{}}",
        "{\"choices\":[],\"usage\":{}}",
        "",
    ] {
        for at in 0..=event.len() {
            let (head, tail) = event.as_bytes().split_at(at);
            assert_eq!(hide([head, tail]), event.as_bytes(), "{event:?} {at}");
        }
    }
}

#[test]
fn an_ordinary_chunk_is_not_held_once_its_first_choice_begins() {
    let mut hider = UsageChunkHider::default();
    assert_eq!(
        hider.push(b"data: {\"id\":\"x\",\"choices\":["),
        Cow::Borrowed(&b""[..])
    );
    assert_eq!(
        *hider.push(b"{\"delta\""),
        *b"data: {\"id\":\"x\",\"choices\":[{\"delta\""
    );
    assert!(matches!(hider.push(b":{\"content\":\"a"), Cow::Borrowed(_)));
    assert!(matches!(hider.push(b"b\"}}]}\n"), Cow::Borrowed(_)));
    assert!(matches!(hider.push(b"\n"), Cow::Borrowed(_)));
}

/// The bound is 16 KiB for the whole event, wherever it is split.
#[test]
fn up_09_an_event_over_the_bound_is_no_usage_chunk() {
    for (pad, hidden) in [(16_000, true), (16_500, false)] {
        let event = format!(
            "data: {{\"x\":\"{}\",\"choices\":[],\"usage\":{{}}}}\n\n",
            "x".repeat(pad)
        );
        for size in [1, 7, 1_000, event.len()] {
            let out = hide(event.as_bytes().chunks(size));
            assert_eq!(out.is_empty(), hidden, "{pad} in {size}");
            assert!(hidden || out == event.as_bytes());
        }
    }
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        &b"data: "[..],
        b"data",
        b":",
        b"\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\r",
        b"\xef\xbb\xbf",
        b"{",
        b"}",
        b"[]",
        b"[",
        b"]",
        b"\"choices\":",
        b"\"usage\":",
        b",",
        b"{}",
        b"\\",
        b"\"",
        b"[DONE]",
        b"\xff",
        b"data: {\"choices\":[],\"usage\":{}}",
        b"data: {\"choices\":[{}]}",
    ]);
    prop_oneof![
        prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat()),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// `part` is `whole` with some bytes left out.
fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn up_09_any_bytes_never_panic_and_every_split_gives_the_same(bytes in soup(), cut in any::<prop::sample::Index>()) {
        let whole = hide([&bytes[..]]);
        let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(&hide([head, tail]), &whole);
        prop_assert_eq!(&hide(bytes.chunks(1)), &whole);
        prop_assert!(is_subsequence(&whole, &bytes));
        if !bytes.windows(7).any(|window| window == b"choices") {
            prop_assert_eq!(whole, bytes);
        }
    }
}
