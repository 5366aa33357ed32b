//! The fields of a request body, and the splice of `include_usage`.

use proptest::prelude::*;
use rateguard_filter::request_body::{Dialect, RequestBodyError, inject_include_usage, read};
use serde_json::{Value, json};

#[test]
fn reads_what_limits_and_prices_need() {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"{\"model\":\"x\"}","model":"y"}],"stream":true,
        "max_tokens":10,"max_completion_tokens":20,"n":3,"stream_options":{"include_usage":false}}"#;
    let facts = read(body.as_bytes()).expect("it is a request");
    assert_eq!(facts.model.as_deref(), Some("gpt-4o"));
    assert!(facts.stream);
    assert_eq!(facts.max_output_tokens, Some(20));
    assert_eq!(facts.choice_count, Some(3));
    assert_eq!(facts.include_usage, Some(false));
    assert!(facts.has_messages);
}

#[test]
fn null_is_absent() {
    let body =
        br#"{"model":null,"stream":null,"max_tokens":null,"n":null,"messages":null,"stream_options":null}"#;
    let facts = read(body).expect("it is a request");
    assert_eq!(facts.model, None);
    assert!(!facts.stream && !facts.has_messages);
    assert_eq!(
        (facts.max_output_tokens, facts.choice_count, facts.include_usage),
        (None, None, None)
    );
    assert_eq!(read(b"{}").expect("it is an object").model, None);
}

#[test]
fn numbers_that_limit_the_output() {
    for (text, expected) in [
        ("0", Some(0)),
        ("4096", Some(4096)),
        ("4096.0", Some(4096)),
        ("0.5", Some(1)),
        ("1e3", Some(1000)),
        ("1e400", Some(1 << 53)),
        ("18446744073709551616", Some(1 << 53)),
        ("-1", None),
        ("-1e400", None),
    ] {
        let facts = read(format!(r#"{{"max_tokens":{text}}}"#).as_bytes()).expect("it is a number");
        assert_eq!(facts.max_output_tokens, expected, "{text}");
    }
}

#[test]
fn what_it_must_read_and_cannot_is_an_error() {
    use RequestBodyError::{Duplicate, Invalid, NotAnObject, NotJson};
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(257));
    for (body, expected) in [
        ("", NotJson),
        ("{", NotJson),
        ("{}{}", NotJson),
        ("{\"model\":\"a\"} x", NotJson),
        ("{\"temperature\":NaN}", NotJson),
        ("\u{feff}{}", NotJson),
        ("model=gpt-4o", NotJson),
        ("[]", NotAnObject),
        ("\"x\"", NotAnObject),
        ("[{\"model\":\"a\"}]", NotAnObject),
        (r#"{"model":"a","model":"b"}"#, Duplicate { field: "model" }),
        (r#"{"model":"a","mod\u0065l":"b"}"#, Duplicate { field: "model" }),
        (r#"{"model":null,"model":"b"}"#, Duplicate { field: "model" }),
        (r#"{"stream":true,"stream":false}"#, Duplicate { field: "stream" }),
        (
            r#"{"stream_options":{},"stream_options":null}"#,
            Duplicate {
                field: "stream_options",
            },
        ),
        (
            r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#,
            Duplicate {
                field: "stream_options.include_usage",
            },
        ),
        (r#"{"model":5}"#, Invalid { field: "model" }),
        (r#"{"model":["a"]}"#, Invalid { field: "model" }),
        (long.as_str(), Invalid { field: "model" }),
        (r#"{"stream":"true"}"#, Invalid { field: "stream" }),
        (r#"{"stream":1}"#, Invalid { field: "stream" }),
        (r#"{"max_tokens":"12"}"#, Invalid { field: "max_tokens" }),
        (r#"{"max_tokens":[]}"#, Invalid { field: "max_tokens" }),
        (
            r#"{"max_completion_tokens":true}"#,
            Invalid {
                field: "max_completion_tokens",
            },
        ),
        (r#"{"max_tokens":--1}"#, Invalid { field: "max_tokens" }),
        (r#"{"n":{}}"#, Invalid { field: "n" }),
        (
            r#"{"stream_options":true}"#,
            Invalid {
                field: "stream_options",
            },
        ),
        (
            r#"{"stream_options":{"include_usage":"yes"}}"#,
            Invalid {
                field: "stream_options.include_usage",
            },
        ),
    ] {
        assert_eq!(read(body.as_bytes()), Err(expected), "{body}");
    }
    assert_eq!(read(b"{\"model\":\"\xff\"}"), Err(Invalid { field: "model" }));
}

#[test]
fn dialect_comes_from_path_and_shape() {
    use Dialect::{AnthropicMessages, OpenAiChatCompletions, Other};
    for (path, body, expected) in [
        (
            "/v1/chat/completions",
            r#"{"messages":[]}"#,
            OpenAiChatCompletions,
        ),
        (
            "/openai/deployments/x/chat/completions?api-version=1",
            r#"{"messages":[]}"#,
            OpenAiChatCompletions,
        ),
        ("/chat/completions/", r#"{"messages":[]}"#, OpenAiChatCompletions),
        ("/v1/messages", r#"{"messages":[]}"#, AnthropicMessages),
        ("/v1/threads/t/messages", r#"{"role":"user"}"#, Other),
        ("/v1/chat/completions", r#"{"prompt":"x"}"#, Other),
        ("/v1/chat/completions", r#"{"messages":"x"}"#, Other),
        ("/v1/messages/count_tokens", r#"{"messages":[]}"#, Other),
        ("/v1/embeddings?x=/chat/completions", r#"{"messages":[]}"#, Other),
        ("", r#"{"messages":[]}"#, Other),
    ] {
        let facts = read(body.as_bytes()).expect("it is a request");
        assert_eq!(Dialect::of(path.as_bytes(), &facts), expected, "{path} {body}");
    }
}

fn injected(body: &str) -> Option<String> {
    let facts = read(body.as_bytes()).expect("it is a request");
    inject_include_usage(body.as_bytes(), &facts).map(|body| String::from_utf8(body).expect("still UTF-8"))
}

#[test]
fn the_splice_leaves_every_other_byte() {
    for (body, expected) in [
        (
            r#"{"stream":true}"#,
            Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        ),
        (
            " {\n \"stream\" : true }\n",
            Some(" {\"stream_options\":{\"include_usage\":true},\n \"stream\" : true }\n"),
        ),
        (
            r#"{"stream":true,"stream_options":null,"n":1}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true},"n":1}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{ }}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true }}"#),
        ),
        (
            r#"{"stream_options" : {"x":{"include_usage":true}},"stream":true}"#,
            Some(r#"{"stream_options" : {"include_usage":true,"x":{"include_usage":true}},"stream":true}"#),
        ),
        (
            r#"{"stream_options":{"model":1},"stream":true}"#,
            Some(r#"{"stream_options":{"include_usage":true,"model":1},"stream":true}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (
            r#"{"stream":true,"stream_options":{"a":1,"include_usage" : null ,"b":2}}"#,
            Some(r#"{"stream":true,"stream_options":{"a":1,"include_usage" : true ,"b":2}}"#),
        ),
        (r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
        (r#"{"stream":false}"#, None),
        (r#"{"stream_options":{}}"#, None),
        ("{}", None),
    ] {
        assert_eq!(injected(body).as_deref(), expected, "{body}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("(stream_options|include_usage|stream|.{0,4})", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_options() -> impl Strategy<Value = Option<Value>> {
    let object = (
        prop::collection::btree_map(".{0,4}", any_value(), 0..3),
        any::<Option<Option<bool>>>(),
    )
        .prop_map(|(members, include)| {
            let mut members: serde_json::Map<_, _> = members
                .into_iter()
                .filter(|(name, _)| name != "include_usage")
                .collect();
            if let Some(include) = include {
                members.insert("include_usage".to_owned(), json!(include));
            }
            Some(Value::Object(members))
        });
    prop_oneof![Just(None), Just(Some(Value::Null)), object]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// serde_json is the reference: the spliced body is the old value but for the one member.
    #[test]
    fn the_splice_changes_include_usage_only(
        members in prop::collection::btree_map("[a-z_\"\\\\é]{0,6}", any_value(), 0..5),
        options in any_options(),
        pretty: bool,
    ) {
        const READ: &[&str] = &["model", "stream", "max_tokens", "max_completion_tokens", "n", "messages", "stream_options"];
        let mut members: serde_json::Map<_, _> =
            members.into_iter().filter(|(name, _)| !READ.contains(&name.as_str())).collect();
        members.insert("stream".to_owned(), json!(true));
        if let Some(options) = &options {
            members.insert("stream_options".to_owned(), options.clone());
        }
        let mut value = Value::Object(members);
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let body = body.expect("values are writable");
        let result = injected(&body);
        let asked = options.as_ref().is_some_and(|options| options["include_usage"] == json!(true));
        prop_assert_eq!(result.is_none(), asked);
        if let Some(result) = result {
            match &mut value["stream_options"] {
                Value::Object(options) => {
                    options.insert("include_usage".to_owned(), json!(true));
                }
                absent => *absent = json!({"include_usage": true}),
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&result).expect("still JSON"), value);
            let facts = read(result.as_bytes()).expect("still a request");
            prop_assert_eq!(facts.include_usage, Some(true));
            prop_assert_eq!(inject_include_usage(result.as_bytes(), &facts), None);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(facts) = read(&bytes) {
            let _ = inject_include_usage(&bytes, &facts);
        }
    }

    /// Fragments in any order: what is read as a request is one for serde_json too, model and stream alike, unless a text
    /// in it is one that only serde_json looks at.
    #[test]
    fn fragments_never_panic_and_agree_with_serde_json(fragments in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"model\":", "\"stream\":", "\"stream_options\":", "\"include_usage\":", "\"max_tokens\":",
        "true", "false", "null", "1", "\"a\"", "\"\\u006dodel\":", " ", "\n", "{\"stream\":true,",
    ]), 0..24)) {
        let body = fragments.concat();
        if let Ok(facts) = read(body.as_bytes()) {
            let value: Value = serde_json::from_str(&body).map_err(|error| TestCaseError::fail(format!("{body}: {error}")))?;
            prop_assert_eq!(facts.model.as_deref(), value["model"].as_str());
            prop_assert_eq!(facts.stream, value["stream"] == json!(true));
            if let Some(result) = inject_include_usage(body.as_bytes(), &facts) {
                let spliced: Value = serde_json::from_slice(&result).map_err(|error| TestCaseError::fail(format!("{body}: {error}")))?;
                prop_assert_eq!(&spliced["stream_options"]["include_usage"], &json!(true));
            }
        }
    }
}
