//! What is believed of a usage object, and what is not.

use proptest::prelude::*;
use rateguard_filter::usage::{Reader, Reading};
use rateguard_model::usage::{TokenUsage, UsageFormat, UsageSource};

fn read_with(content_type: Option<&[u8]>, content_encoding: Option<&[u8]>, body: &[u8]) -> Reading {
    let mut reader = Reader::for_response(UsageFormat::Auto, content_type, content_encoding);
    reader.push(body);
    reader.finish(true)
}

fn read(body: &str) -> Reading {
    read_with(None, None, body.as_bytes())
}

/// A document as a body and as the only event of a stream must read the same.
fn read_both(document: &str) -> Reading {
    let body = read(document);
    let event = read(&format!("data: {document}\n\n"));
    assert_eq!(body.tokens, event.tokens, "{document}");
    assert_eq!(body.source, event.source, "{document}");
    body
}

fn openai(figures: [&str; 6]) -> String {
    let [prompt, completion, cached, audio_in, reasoning, audio_out] = figures;
    format!(
        r#"{{"model":"m","choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":{audio_in}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":{audio_out}}}}}}}"#
    )
}

fn anthropic(figures: [&str; 6]) -> String {
    let [input, output, read, written, short, long] = figures;
    format!(
        r#"{{"type":"message","model":"m","usage":{{"input_tokens":{input},"output_tokens":{output},"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written},"cache_creation":{{"ephemeral_5m_input_tokens":{short},"ephemeral_1h_input_tokens":{long}}}}}}}"#
    )
}

/// Is there, but no count.
const REJECTED: &[&str] = &[
    "-1",
    "-0",
    "0.5",
    "12.0",
    "1e2",
    "1E2",
    "1e308",
    "1e400",
    "-1e400",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "\"12\"",
    "\"\"",
    "true",
    "false",
    "[]",
    "[12]",
    "{}",
    "{\"prompt_tokens\":12}",
    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
];

/// No JSON, so the document says nothing.
const BROKEN: &[&str] = &[
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "",
    "12 12",
    "0x10",
    "undefined",
];

#[test]
fn up_06_a_rejected_figure_rejects_the_reading_wherever_it_stands() {
    for document in [openai, anthropic] {
        for place in 0..6 {
            for bad in REJECTED.iter().chain(BROKEN) {
                let mut figures = ["100", "50", "10", "10", "5", "5"];
                figures[place] = bad;
                let document = document(figures);
                let reading = read_both(&document);
                assert_eq!(reading.tokens, None, "{document}");
                assert_eq!(reading.source, Some(UsageSource::Estimated), "{document}");
            }
        }
    }
}

#[test]
fn up_06_null_is_absent_so_required_figures_must_not_be_null() {
    for document in [openai, anthropic] {
        for place in 0..6 {
            let mut figures = ["100", "50", "10", "10", "5", "5"];
            figures[place] = "null";
            let reading = read_both(&document(figures));
            assert_eq!(reading.tokens.is_none(), place < 2, "{}", document(figures));
        }
    }
}

#[test]
fn up_06_the_largest_counts_are_taken_and_do_not_wrap() {
    let most = "9007199254740991";
    let expected = Some(9_007_199_254_740_991);
    let reading = read_both(&openai([most, most, "0", "0", "0", "0"]));
    assert_eq!(reading.tokens.map(|tokens| tokens.fresh_input), expected);
    let tokens = read_both(&anthropic([most, most, most, most, most, most]))
        .tokens
        .expect("all are counts");
    assert_eq!(tokens.input_tokens(), 3 * 9_007_199_254_740_991);
    assert_eq!(tokens.output_text, 9_007_199_254_740_991);
}

#[test]
fn up_06_usage_of_another_type_is_rejected_and_null_is_none() {
    for usage in [
        "12",
        "\"12\"",
        "true",
        "[]",
        "[{\"prompt_tokens\":1,\"completion_tokens\":1}]",
        "{}",
        "null",
    ] {
        let reading = read_both(&format!(r#"{{"choices":[],"usage":{usage}}}"#));
        assert_eq!(reading.tokens, None, "{usage}");
        assert_eq!(reading.source, Some(UsageSource::Estimated), "{usage}");
        assert_eq!(reading.irregular, usage != "null", "{usage}");
    }
    for details in ["12", "\"x\"", "[]", "true"] {
        let document = format!(
            r#"{{"usage":{{"prompt_tokens":1,"completion_tokens":1,"completion_tokens_details":{details}}}}}"#
        );
        assert_eq!(read_both(&document).tokens, None, "{details}");
    }
    let document = r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"completion_tokens_details":null}}"#;
    assert!(read_both(document).tokens.is_some());
}

/// Parts, then the buckets: fresh, read, 5 m, 1 h, text, reasoning, audio in, audio out.
#[test]
fn parts_larger_than_their_whole_are_cut_and_flagged() {
    let cases = [
        (
            openai(["100", "50", "30", "20", "10", "5"]),
            [50, 30, 0, 0, 35, 10, 20, 5],
            false,
        ),
        (
            openai(["100", "50", "130", "20", "60", "5"]),
            [0, 100, 0, 0, 0, 50, 0, 0],
            true,
        ),
        (
            openai(["100", "50", "90", "20", "40", "20"]),
            [0, 90, 0, 0, 0, 40, 10, 10],
            true,
        ),
        (openai(["0", "0", "0", "0", "0", "0"]), [0; 8], false),
        (
            anthropic(["7", "9", "30", "20", "15", "5"]),
            [7, 30, 15, 5, 9, 0, 0, 0],
            false,
        ),
        (
            anthropic(["7", "9", "30", "20", "5", "5"]),
            [7, 30, 15, 5, 9, 0, 0, 0],
            false,
        ),
        (
            anthropic(["7", "9", "30", "20", "15", "25"]),
            [7, 30, 0, 20, 9, 0, 0, 0],
            true,
        ),
        (
            anthropic(["7", "9", "30", "null", "15", "25"]),
            [7, 30, 15, 25, 9, 0, 0, 0],
            false,
        ),
        (
            anthropic(["7", "9", "30", "20", "null", "null"]),
            [7, 30, 20, 0, 9, 0, 0, 0],
            false,
        ),
    ];
    for (document, expected, irregular) in cases {
        let reading = read_both(&document);
        let tokens = reading.tokens.expect("all are counts");
        let TokenUsage {
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        } = tokens;
        let buckets = [
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        ];
        assert_eq!(buckets, expected, "{document}");
        assert_eq!(reading.irregular, irregular, "{document}");
    }
}

fn input_and_output(reading: &Reading) -> Option<(i64, i64)> {
    reading
        .tokens
        .map(|tokens| (tokens.input_tokens(), tokens.output_tokens()))
}

#[test]
fn up_07_of_duplicate_keys_the_last_wins_and_the_reading_is_flagged() {
    for (document, expected) in [
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens":3}}"#,
            Some((3, 2)),
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"pr\u006fmpt_tokens":3}}"#,
            Some((3, 2)),
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2},"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            Some((3, 4)),
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2},"usage":{"prompt_tokens":3}}"#,
            None,
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2},"usage":null}"#,
            None,
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"completion_tokens":-1}}"#,
            None,
        ),
    ] {
        let reading = read_both(document);
        assert_eq!(input_and_output(&reading), expected, "{document}");
        assert!(reading.irregular, "{document}");
    }
}

#[test]
fn anthropic_delta_replaces_field_by_field_and_adds_nothing() {
    let start = r#"data: {"type":"message_start","message":{"model":"m","usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":3}}}"#;
    for (delta, expected) in [
        (r#"{"output_tokens":40}"#, Some((15, 40))),
        (r#"{"input_tokens":11,"output_tokens":40}"#, Some((16, 40))),
        (
            r#"{"input_tokens":null,"cache_read_input_tokens":null,"output_tokens":40}"#,
            Some((15, 40)),
        ),
        (
            r#"{"input_tokens":10,"cache_read_input_tokens":0,"output_tokens":40}"#,
            Some((10, 40)),
        ),
        (r#"{"output_tokens":-1}"#, None),
        (r#"{"input_tokens":"11","output_tokens":40}"#, None),
    ] {
        let stream = format!("{start}\n\ndata: {{\"type\":\"message_delta\",\"usage\":{delta}}}\n\n");
        assert_eq!(input_and_output(&read(&stream)), expected, "{delta}");
        let twice = format!("{stream}data: {{\"type\":\"message_delta\",\"usage\":{delta}}}\n\n");
        assert_eq!(input_and_output(&read(&twice)), expected, "{delta}");
    }
}

#[test]
fn whose_documents_count_is_settled_by_the_first_with_usage() {
    let openai = format!("data: {CHAT}\n\n");
    let anthropic = "data: {\"type\":\"message\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n";
    assert_eq!(
        input_and_output(&read(&format!("{openai}{anthropic}"))),
        Some((1, 2))
    );
    assert_eq!(
        input_and_output(&read(&format!("{anthropic}{openai}"))),
        Some((3, 4))
    );
}

#[test]
fn up_03_data_lines_are_joined_by_a_line_feed_so_a_number_ends_with_its_line() {
    let event = |two_lines: &str| {
        format!("data: {{\"usage\":{{\"prompt_tokens\":{two_lines},\"completion_tokens\":2}}}}\n\n")
    };
    assert_eq!(input_and_output(&read(&event("1\ndata: "))), Some((1, 2)));
    assert_eq!(input_and_output(&read(&event("1\ndata:0"))), None);
}

#[test]
fn figures_in_text_or_elsewhere_are_not_usage() {
    for document in [
        r#"{"choices":[{"usage":{"prompt_tokens":1,"completion_tokens":2}}]}"#,
        r#"{"message":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
        r#"{"message":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
        r#"{"text":"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"}"#,
        r#"{"usage":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
        r#"{"type":"message_stop","usage":{"input_tokens":1,"output_tokens":2}}"#,
        r#"{"type":"error","usage":{"input_tokens":1,"output_tokens":2}}"#,
        r#"{"prompt_tokens":1,"completion_tokens":2}"#,
    ] {
        assert_eq!(read_both(document).tokens, None, "{document}");
    }
}

#[test]
fn the_model_is_bounded() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    for (length, kept) in [(1, true), (256, true), (257, false), (1 << 20, false)] {
        let model = "m".repeat(length);
        let reading = read_both(&format!(r#"{{"model":"{model}",{usage}}}"#));
        assert_eq!(reading.model, kept.then_some(model));
        assert!(reading.tokens.is_some());
    }
    for model in ["5", "null", "\"\"", "[]", "{}"] {
        assert_eq!(read_both(&format!(r#"{{"model":{model},{usage}}}"#)).model, None);
    }
}

const CHAT: &str = r#"{"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

#[test]
fn up_05_a_coded_body_is_not_read() {
    for coding in [
        "gzip",
        "br",
        "deflate",
        "GZIP",
        "identity, gzip",
        "gzip, gzip",
        "x",
    ] {
        let reading = read_with(None, Some(coding.as_bytes()), CHAT.as_bytes());
        assert_eq!(reading.tokens, None, "{coding}");
        assert_eq!(reading.source, Some(UsageSource::Estimated), "{coding}");
    }
    for coding in ["identity", "", " Identity ", "identity,identity"] {
        assert!(
            read_with(None, Some(coding.as_bytes()), CHAT.as_bytes())
                .tokens
                .is_some(),
            "{coding}"
        );
    }
}

#[test]
fn up_11_a_content_type_that_lies_changes_nothing() {
    let stream = format!("data: {CHAT}\n\n");
    for content_type in [
        &b"application/json"[..],
        b"application/json; charset=x",
        b"APPLICATION/JSON",
        b"text/event-stream",
        b"text/html",
        b"",
        b"\xff",
        b"application/octet-stream",
    ] {
        for body in [
            CHAT,
            &format!(" \r\n\t{CHAT}\n"),
            &format!("\u{feff}{CHAT}"),
            &stream,
        ] {
            let reading = read_with(Some(content_type), None, body.as_bytes());
            assert_eq!(
                input_and_output(&reading),
                Some((1, 2)),
                "{content_type:?} {body}"
            );
        }
    }
    for content_type in ["image/png", "Audio/mpeg", "video/mp4", "font/woff2"] {
        let reading = read_with(Some(content_type.as_bytes()), None, CHAT.as_bytes());
        assert_eq!(reading.source, Some(UsageSource::Estimated));
    }
    let page =
        "<!doctype html><html>data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n</html>";
    assert_eq!(read(page).tokens, None);
}

#[test]
fn up_12_an_error_in_a_200_is_estimated() {
    for body in [
        r#"{"error":{"message":"no","type":"server_error"}}"#,
        r#"{"type":"error","error":{}}"#,
        "",
        "  ",
    ] {
        let reading = read(body);
        assert_eq!(
            (reading.tokens, reading.source),
            (None, Some(UsageSource::Estimated)),
            "{body}"
        );
    }
}

#[test]
fn up_09_odd_bytes_around_the_usage_do_not_hide_it() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for odd in [
        "\"\\ud800\"",
        "\"\0\"",
        "\"\u{7f}\"",
        deep.as_str(),
        "-0.0e-0",
        "{\"\":{\"\":[]}}",
    ] {
        let document =
            format!(r#"{{"x":{odd},"usage":{{"prompt_tokens":1,"completion_tokens":2}},"y":{odd}}}"#);
        assert_eq!(
            input_and_output(&read(&document)),
            Some((1, 2)),
            "{}",
            &document[..40]
        );
    }
    let not_utf8 = b"{\"x\":\"\xff\xfe\",\"\xc3\":1,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}";
    assert_eq!(input_and_output(&read_with(None, None, not_utf8)), Some((1, 2)));
}

/// Fragments that readers look for, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        &b"data: "[..],
        b"data",
        b":",
        b"\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b"event: message_delta\n",
        b"\xef\xbb\xbf",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"usage\":",
        b"\"message\":",
        b"\"type\":",
        b"\"message_start\"",
        b"\"message_delta\"",
        b",",
        b"\"model\":",
        b"\"m\"",
        b"\"prompt_tokens\":",
        b"\"completion_tokens\":",
        b"\"input_tokens\":",
        b"\"output_tokens\":",
        b"1",
        b"-1",
        b"1e400",
        b"null",
        b"\"\\ud83e",
        b"\\",
        b"\"",
        b"[DONE]",
        b"\xff",
        b"\0",
        b"\"cache_creation\":",
        b"\"prompt_tokens_details\":",
    ]);
    prop_oneof![
        prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat()),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn up_09_any_bytes_never_panic_and_read_the_same_byte_by_byte(bytes in soup(), complete: bool) {
        for format in [UsageFormat::Auto, UsageFormat::OpenAi, UsageFormat::Anthropic] {
            let mut whole = Reader::for_response(format, None, None);
            whole.push(&bytes);
            let whole = whole.finish(complete);
            let mut parts = Reader::for_response(format, None, None);
            bytes.chunks(1).for_each(|byte| parts.push(byte));
            prop_assert_eq!(&parts.finish(complete), &whole);
            prop_assert_eq!(
                whole.tokens.is_some(),
                matches!(whole.source, Some(UsageSource::Reported | UsageSource::Partial))
            );
        }
    }

    #[test]
    fn the_buckets_of_openai_add_up_to_its_totals(figures in prop::array::uniform6(0_i64..2_000)) {
        let text = figures.map(|figure| figure.to_string());
        let reading = read(&openai(std::array::from_fn(|index| text[index].as_str())));
        prop_assert_eq!(input_and_output(&reading), Some((figures[0], figures[1])));
        let tokens = reading.tokens.unwrap_or_default();
        prop_assert!(tokens.fresh_input >= 0 && tokens.output_text >= 0 && tokens.audio_in >= 0 && tokens.audio_out >= 0);
    }
}
