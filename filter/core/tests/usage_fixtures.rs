//! Every provider body of `tests/fixtures/providers`: what it is read as, and that no split of its bytes and no other
//! way to write the same events changes that.

use proptest::prelude::*;
use rateguard_filter::usage::{Reader, Reading};
use rateguard_model::usage::{TokenUsage, UsageFormat, UsageSource};
use std::fs;
use std::path::PathBuf;

/// Buckets in the order of [`TokenUsage`].
type Buckets = [i64; 8];

const REPORTED: UsageSource = UsageSource::Reported;
const PARTIAL: UsageSource = UsageSource::Partial;

/// File, usage, model.
type Row = (&'static str, Option<(UsageSource, Buckets)>, Option<&'static str>);

#[rustfmt::skip]
const EXPECTED: &[Row] = &[
    //                                                             fresh  read   5m   1h  text reas  a_in a_out
    ("anthropic/error_401.json",               None,                                                    None),
    ("anthropic/error_529.json",               None,                                                    None),
    ("anthropic/message.json",                 Some((REPORTED, [ 2095,     0,   0,    0, 503,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/message_cached.json",          Some((REPORTED, [   50,  1800, 148,  100, 300,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/message_null_cache.json",      Some((REPORTED, [   12,     0,   0,    0,   6,   0,   0,  0])), Some("claude-3-5-haiku-20241022")),
    ("anthropic/message_tools.json",           Some((REPORTED, [  403,     0,   0,    0,  71,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/stream.sse",                   Some((REPORTED, [   25,     0,   0,    0,  15,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/stream_cached.sse",            Some((REPORTED, [    4, 18000, 500, 1000, 220,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/stream_error.sse",             Some((PARTIAL,  [   25,     0,   0,    0,   1,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("anthropic/stream_output_only.sse",       Some((REPORTED, [   25,     0,   0,    0,  15,   0,   0,  0])), Some("claude-3-5-haiku-20241022")),
    ("anthropic/stream_thinking.sse",          Some((REPORTED, [   43,     0,   0,    0, 178,   0,   0,  0])), Some("claude-opus-4-1-20250805")),
    ("anthropic/stream_tools.sse",             Some((REPORTED, [  472,     0,   0,    0,  89,   0,   0,  0])), Some("claude-sonnet-4-5-20250929")),
    ("openai/azure_stream.sse",                Some((REPORTED, [   12,     0,   0,    0,   2,   0,   0,  0])), Some("gpt-4o-mini-2024-07-18")),
    ("openai/chat.json",                       Some((REPORTED, [   19,     0,   0,    0,  10,   0,   0,  0])), Some("gpt-4o-mini-2024-07-18")),
    ("openai/chat_audio.json",                 Some((REPORTED, [   17,     0,   0,    0,  20,   0, 100, 60])), Some("gpt-4o-audio-preview-2024-12-17")),
    ("openai/chat_cached_reasoning.json",      Some((REPORTED, [   86,  1920,   0,    0,  44, 256,   0,  0])), Some("o4-mini-2025-04-16")),
    ("openai/chat_tools.json",                 Some((REPORTED, [   82,     0,   0,    0,  17,   0,   0,  0])), Some("gpt-4o-2024-08-06")),
    ("openai/chat_unicode.json",               Some((REPORTED, [   31,     0,   0,    0,  44,   0,   0,  0])), Some("gpt-4o-mini-2024-07-18")),
    ("openai/compatible_stream_continuous.sse", Some((REPORTED, [  11,     0,   0,    0,   3,   0,   0,  0])), Some("meta-llama/Llama-3.1-8B-Instruct")),
    ("openai/embeddings.json",                 None,                                                    Some("text-embedding-3-small")),
    ("openai/error_401.json",                  None,                                                    None),
    ("openai/error_429.json",                  None,                                                    None),
    ("openai/responses.json",                  None,                                                    Some("gpt-4.1-2025-04-14")),
    ("openai/stream.sse",                      Some((REPORTED, [   19,     0,   0,    0,  10,   0,   0,  0])), Some("gpt-4o-mini-2024-07-18")),
    ("openai/stream_cached_reasoning.sse",     Some((REPORTED, [   86,  1920,   0,    0,  44, 256,   0,  0])), Some("o4-mini-2025-04-16")),
    ("openai/stream_error.sse",                None,                                                    Some("gpt-4o-mini-2024-07-18")),
    ("openai/stream_no_usage.sse",             None,                                                    Some("gpt-4o-mini-2024-07-18")),
    ("openai/stream_tools.sse",                Some((REPORTED, [   82,     0,   0,    0,  17,   0,   0,  0])), Some("gpt-4o-2024-08-06")),
    ("openai/stream_unicode.sse",              Some((REPORTED, [   31,     0,   0,    0,  44,   0,   0,  0])), Some("gpt-4o-mini-2024-07-18")),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/providers")
}

fn body(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn is_a(name: &str, kind: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(_, extension)| extension == kind)
}

fn own_format(name: &str) -> UsageFormat {
    if name.starts_with("openai/") {
        UsageFormat::OpenAi
    } else {
        UsageFormat::Anthropic
    }
}

fn read_as<'c>(format: UsageFormat, chunks: impl IntoIterator<Item = &'c [u8]>, complete: bool) -> Reading {
    let mut reader = Reader::for_response(format, None, None);
    for chunk in chunks {
        reader.push(chunk);
    }
    reader.finish(complete)
}

fn read(body: &[u8]) -> Reading {
    read_as(UsageFormat::Auto, [body], true)
}

fn tokens(buckets: Buckets) -> TokenUsage {
    let [
        fresh_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_text,
        reasoning,
        audio_in,
        audio_out,
    ] = buckets;
    TokenUsage {
        fresh_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_text,
        reasoning,
        audio_in,
        audio_out,
    }
}

#[test]
fn the_table_has_every_fixture() {
    let mut found = Vec::new();
    for provider in ["anthropic", "openai"] {
        for file in fs::read_dir(folder().join(provider)).expect("the folder is there") {
            let file = file.expect("a file").file_name();
            found.push(format!("{provider}/{}", file.to_string_lossy()));
        }
    }
    found.sort();
    let known: Vec<_> = EXPECTED.iter().map(|(name, ..)| *name).collect();
    assert_eq!(found, known);
}

#[test]
fn each_is_read_as_the_table_says_by_shape_and_by_its_own_format() {
    for (name, usage, model) in EXPECTED {
        let body = body(name);
        for format in [UsageFormat::Auto, own_format(name)] {
            let reading = read_as(format, [&body[..]], true);
            let (source, buckets) = usage.map_or((UsageSource::Estimated, None), |(source, buckets)| {
                (source, Some(tokens(buckets)))
            });
            assert_eq!(reading.tokens, buckets, "{name} {format:?}");
            assert_eq!(reading.source, Some(source), "{name} {format:?}");
            if format == UsageFormat::Auto || usage.is_some() {
                assert_eq!(reading.model.as_deref(), *model, "{name} {format:?}");
            }
            assert!(!reading.irregular || usage.is_none(), "{name} {format:?}");
        }
    }
}

#[test]
fn the_other_providers_format_and_formats_not_read_are_estimated() {
    for (name, ..) in EXPECTED {
        let other = match own_format(name) {
            UsageFormat::OpenAi => UsageFormat::Anthropic,
            _ => UsageFormat::OpenAi,
        };
        for format in [
            other,
            UsageFormat::Gemini,
            UsageFormat::Bedrock,
            UsageFormat::Cohere,
            UsageFormat::Generic,
        ] {
            let reading = read_as(format, [&body(name)[..]], true);
            assert_eq!(reading.tokens, None, "{name} {format:?}");
            assert_eq!(reading.source, Some(UsageSource::Estimated), "{name} {format:?}");
        }
        assert_eq!(
            read_as(UsageFormat::None, [&body(name)[..]], true),
            Reading::default()
        );
    }
}

#[test]
fn up_01_up_02_every_split_and_one_byte_per_chunk_read_the_same() {
    for (name, ..) in EXPECTED {
        let body = body(name);
        let whole = read(&body);
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(
                read_as(UsageFormat::Auto, [head, tail], true),
                whole,
                "{name} split at {at}"
            );
        }
        assert_eq!(
            read_as(UsageFormat::Auto, body.chunks(1), true),
            whole,
            "{name} byte by byte"
        );
    }
}

/// The same stream with other line ends.
fn line_ends(stream: &str, end: &str) -> String {
    stream.replace('\n', end)
}

/// Other ways to write the events of `stream`, which has LF line ends and single data lines.
fn rewritten(stream: &str) -> Vec<(&'static str, String)> {
    let without_event_lines: String = stream
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("event:"))
        .collect();
    let event_after_data: String = stream
        .split("\n\n")
        .map(|event| match event.split_once('\n') {
            Some((name, data)) if name.starts_with("event:") => format!("{data}\n{name}\n\n"),
            _ if event.is_empty() => String::new(),
            _ => format!("{event}\n\n"),
        })
        .collect();
    vec![
        ("CRLF", line_ends(stream, "\r\n")),
        ("CR", line_ends(stream, "\r")),
        ("mixed", stream.replace("\n\n", "\r\n\n")),
        ("BOM", format!("\u{feff}{stream}")),
        ("comments", stream.replace("data:", ": a comment\n:\ndata:")),
        ("blank lines", stream.replace("\n\n", "\n\n\n\n")),
        (
            "other fields",
            stream.replace("data:", "id: 7\nretry: 10\nfoo\ndata:"),
        ),
        ("no space", stream.replace("data: ", "data:")),
        (
            "several data lines",
            stream.replace("data: {", "data: {\ndata\ndata:  "),
        ),
        ("no event lines", without_event_lines),
        ("event after data", event_after_data),
        ("no mark of the end", stream.replace("data: [DONE]\n\n", "")),
        (
            "no last newlines",
            stream.replace("data: [DONE]\n\n", "").trim_end().to_owned(),
        ),
        ("one last newline", format!("{}\n", stream.trim_end())),
        (
            "bad event",
            stream.replace("\n\n", "\n\ndata: {\"usage\":\n\ndata: \u{1}\n\n"),
        ),
    ]
}

#[test]
fn up_03_every_way_to_write_the_events_reads_the_same() {
    for (name, ..) in EXPECTED.iter().filter(|(name, ..)| is_a(name, "sse")) {
        let stream = String::from_utf8(body(name)).expect("fixtures are UTF-8");
        let expected = read(stream.as_bytes());
        for (what, other) in rewritten(&stream) {
            assert_ne!(other.as_bytes(), b"");
            let other = other.as_bytes();
            assert_eq!(read(other), expected, "{name} {what}");
            assert_eq!(
                read_as(UsageFormat::Auto, other.chunks(1), true),
                expected,
                "{name} {what}"
            );
        }
    }
}

#[test]
fn up_03_every_split_between_and_within_crlf_reads_the_same() {
    for (name, ..) in EXPECTED.iter().filter(|(name, ..)| is_a(name, "sse")) {
        let stream = String::from_utf8(body(name)).expect("fixtures are UTF-8");
        let stream = line_ends(&stream, "\r\n");
        let whole = read(stream.as_bytes());
        for at in 0..=stream.len() {
            let (head, tail) = stream.as_bytes().split_at(at);
            assert_eq!(
                read_as(UsageFormat::Auto, [head, tail], true),
                whole,
                "{name} split at {at}"
            );
        }
    }
}

/// A body that was cut off is never taken for a whole one, and what is believed of it was in it.
#[test]
fn up_10_a_body_cut_off_anywhere_is_partial_or_estimated() {
    for (name, usage, _) in EXPECTED {
        let body = body(name);
        let whole = read(&body);
        let json_end = body.trim_ascii_end().len();
        let marks: [&[u8]; 2] = [b"data: [DONE]", b"\"type\":\"message_stop\""];
        let mut sources = Vec::new();
        for at in 0..body.len() {
            let head = &body[..at];
            let reading = read_as(UsageFormat::Auto, [head], false);
            let ended = marks
                .iter()
                .any(|mark| head.windows(mark.len()).any(|window| window == *mark));
            if reading.source == Some(UsageSource::Reported) {
                assert!(ended, "{name} cut at {at}");
                assert_eq!(reading.tokens, whole.tokens, "{name} cut at {at}");
            }
            assert_eq!(
                reading.tokens.is_some(),
                matches!(reading.source, Some(UsageSource::Reported | UsageSource::Partial)),
            );
            if is_a(name, "json") && at < json_end {
                let claimed_whole = read_as(UsageFormat::Auto, [head], true);
                assert_ne!(
                    claimed_whole.source,
                    Some(UsageSource::Reported),
                    "{name} cut at {at}"
                );
            }
            sources.extend(reading.source);
        }
        assert_eq!(sources.contains(&UsageSource::Partial), usage.is_some(), "{name}");
        assert!(sources.contains(&UsageSource::Estimated), "{name}");
    }
}

#[test]
fn up_10_a_stream_left_after_its_mark_of_the_end_is_reported() {
    for name in ["openai/stream.sse", "anthropic/stream.sse"] {
        let body = body(name);
        assert_eq!(
            read_as(UsageFormat::Auto, [&body[..]], false),
            read(&body),
            "{name}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn up_01_random_splits_read_the_same(index in 0..EXPECTED.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24)) {
        let body = body(EXPECTED[index].0);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        prop_assert_eq!(read_as(UsageFormat::Auto, chunks, true), read(&body));
    }

    /// Damage anywhere: no panic, and the same for every split.
    #[test]
    fn up_09_damaged_fixtures_read_the_same_for_every_split(
        index in 0..EXPECTED.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = body(EXPECTED[index].0);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let (head, tail) = body.split_at(cut.index(body.len() + 1));
        prop_assert_eq!(read_as(UsageFormat::Auto, [head, tail], true), read(&body));
    }
}
