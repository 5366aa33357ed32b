//! Reads the few fields of a request body that limits and prices need, and splices in one of them.
//!
//! The body goes upstream as it came, so it must mean to the upstream what it means here: a field that is read here and is
//! there twice, or has another type than the providers document, is refused. Everything else is the upstream's business.

use crate::json::{Item, Scanner, Sink};

/// Whose request this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST …/chat/completions` with `messages`.
    OpenAiChatCompletions,
    /// `POST …/messages` with `messages` (OpenAI's threads have that path without them).
    AnthropicMessages,
    Other,
}

impl Dialect {
    /// `path` is the one that goes upstream; a query is ignored, and so is one slash at its end.
    pub fn of(path: &[u8], facts: &RequestFacts) -> Self {
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if !facts.has_messages {
            Self::Other
        } else if path.ends_with(b"/chat/completions") {
            Self::OpenAiChatCompletions
        } else if path.ends_with(b"/messages") {
            Self::AnthropicMessages
        } else {
            Self::Other
        }
    }
}

/// What a request body says. `null` is as good as absent everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Not empty, at most 256 bytes.
    pub model: Option<String>,
    pub stream: bool,
    /// The larger of `max_tokens` and `max_completion_tokens`; per choice. A negative one means no limit and is `None`.
    pub max_output_tokens: Option<u64>,
    /// OpenAI's `n`: the answers asked for, each up to `max_output_tokens`.
    pub choice_count: Option<u64>,
    /// `stream_options.include_usage`.
    pub include_usage: Option<bool>,
    /// `messages` is an array.
    pub has_messages: bool,
    /// How to make `include_usage` true; `None` if it is.
    splice: Option<Splice>,
}

/// A change of one place in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Splice {
    /// Offset of the first byte that changes.
    at: usize,
    /// Bytes that go away.
    removed: usize,
    text: &'static str,
}

/// Why a body cannot be governed. The text may be shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the request body is not valid JSON")]
    NotJson,
    #[error("the request body is not a JSON object")]
    NotAnObject,
    #[error("{field} is there twice")]
    Duplicate { field: &'static str },
    #[error("{field} has a value that is not allowed")]
    Invalid { field: &'static str },
}

/// Reads a whole body.
pub fn read(body: &[u8]) -> Result<RequestFacts, RequestBodyError> {
    let mut scanner = Scanner::new();
    let mut fields = Fields::default();
    scanner.push(body, &mut fields);
    if !scanner.is_done() {
        return Err(RequestBodyError::NotJson);
    }
    match fields.error {
        Some(error) => Err(error),
        None => Ok(RequestFacts {
            splice: fields.splice(),
            ..fields.facts
        }),
    }
}

/// The same body with `stream_options.include_usage` true, every other byte as it was. `None` if it is true already,
/// or if the request is not for a stream (the upstream would refuse the option).
///
/// `facts` must come from this `body`.
pub fn inject_include_usage(body: &[u8], facts: &RequestFacts) -> Option<Vec<u8>> {
    let splice = facts.splice.filter(|_| facts.stream)?;
    let (head, rest) = body.split_at_checked(splice.at)?;
    let tail = rest.get(splice.removed..)?;
    Some([head, splice.text.as_bytes(), tail].concat())
}

/// What was read so far.
#[derive(Debug, Default)]
struct Fields {
    facts: RequestFacts,
    /// The first.
    error: Option<RequestBodyError>,
    /// Bit n: the n-th of the names was there at top level.
    seen: u16,
    /// Offset behind the first brace.
    members_at: usize,
    options: Options,
    has_include_usage: bool,
    /// Where `include_usage` stands if it is not true.
    include_usage_at: Option<(usize, usize)>,
    /// Where the last scalar began.
    scalar_at: usize,
}

/// The value of `stream_options`.
#[derive(Debug, Clone, Copy, Default)]
enum Options {
    #[default]
    Absent,
    Null {
        at: usize,
        end: usize,
    },
    Object {
        members_at: usize,
        empty: bool,
    },
}

const WHOLE: &str = "{\"include_usage\":true}";

impl Sink for Fields {
    const NAMES: &'static [&'static str] = &[
        "model",
        "stream",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "messages",
        "stream_options",
        "include_usage",
    ];

    fn item(&mut self, path: &[&'static str], item: Item<'_>, at: usize) {
        if item == Item::Closed {
            return;
        }
        self.scalar_at = at;
        match path {
            [] if item == Item::Object => self.members_at = at + 1,
            [] => self.fail(RequestBodyError::NotAnObject),
            [name] => {
                self.see(name);
                self.field(name, item, at);
            }
            ["stream_options", name] => {
                self.option_seen();
                if *name == "include_usage" {
                    self.include_usage(item);
                }
            }
            _ => {}
        }
    }

    fn scalar_ended(&mut self, path: &[&'static str], end: usize) {
        match (path, &mut self.options) {
            (["stream_options"], Options::Null { end: to, .. }) => *to = end,
            (["stream_options", "include_usage"], _) => self.include_usage_at = Some((self.scalar_at, end)),
            _ => {}
        }
    }

    fn other_key(&mut self, path: &[&'static str]) {
        if path == ["stream_options"] {
            self.option_seen();
        }
    }
}

impl Fields {
    fn fail(&mut self, error: RequestBodyError) {
        self.error.get_or_insert(error);
    }

    fn see(&mut self, name: &'static str) {
        let bit = Self::NAMES
            .iter()
            .position(|known| *known == name)
            .map_or(0, |index| 1 << index);
        if self.seen & bit != 0 {
            self.fail(RequestBodyError::Duplicate { field: name });
        }
        self.seen |= bit;
    }

    fn option_seen(&mut self) {
        if let Options::Object { empty, .. } = &mut self.options {
            *empty = false;
        }
    }

    fn field(&mut self, name: &'static str, item: Item<'_>, at: usize) {
        let facts = &mut self.facts;
        match (name, item) {
            ("model", Item::String(model)) => {
                facts.model = (!model.is_empty()).then(|| model.to_owned());
            }
            ("stream", Item::Bool(stream)) => facts.stream = stream,
            ("messages", Item::Array) => facts.has_messages = true,
            ("stream_options", Item::Object) => {
                self.options = Options::Object {
                    members_at: at + 1,
                    empty: true,
                };
            }
            ("stream_options", Item::Null) => self.options = Options::Null { at, end: at },
            // What these mean elsewhere than in a chat is not ours to judge.
            (_, Item::Null) | ("messages" | "include_usage", _) => {}
            ("max_tokens" | "max_completion_tokens" | "n", Item::Number(text)) => match text.parse() {
                Ok(number) if name == "n" => facts.choice_count = limit(number),
                Ok(number) => facts.max_output_tokens = facts.max_output_tokens.max(limit(number)),
                Err(_) => self.fail(RequestBodyError::Invalid { field: name }),
            },
            _ => self.fail(RequestBodyError::Invalid { field: name }),
        }
    }

    fn include_usage(&mut self, item: Item<'_>) {
        const FIELD: &str = "stream_options.include_usage";
        if std::mem::replace(&mut self.has_include_usage, true) {
            self.fail(RequestBodyError::Duplicate { field: FIELD });
        }
        match item {
            Item::Bool(include) => self.facts.include_usage = Some(include),
            Item::Null => {}
            _ => self.fail(RequestBodyError::Invalid { field: FIELD }),
        }
    }

    fn splice(&self) -> Option<Splice> {
        if self.facts.include_usage == Some(true) {
            return None;
        }
        Some(match (self.options, self.include_usage_at) {
            (Options::Object { .. }, Some((at, end))) => Splice {
                at,
                removed: end.saturating_sub(at),
                text: "true",
            },
            (
                Options::Object {
                    members_at: at,
                    empty: true,
                },
                None,
            ) => Splice {
                at,
                removed: 0,
                text: "\"include_usage\":true",
            },
            (
                Options::Object {
                    members_at: at,
                    empty: false,
                },
                None,
            ) => Splice {
                at,
                removed: 0,
                text: "\"include_usage\":true,",
            },
            (Options::Null { at, end }, _) => Splice {
                at,
                removed: end.saturating_sub(at),
                text: WHOLE,
            },
            // Only used when `stream` is there, so another member always follows.
            (Options::Absent, _) => Splice {
                at: self.members_at,
                removed: 0,
                text: "\"stream_options\":{\"include_usage\":true},",
            },
        })
    }
}

/// The limit that a number sets: itself rounded up, at most 2^53. `None` for a negative one, which some servers read as
/// "no limit".
fn limit(number: f64) -> Option<u64> {
    const LIMIT_MAX: f64 = 9_007_199_254_740_992.0;
    (number >= 0.0).then(|| number.ceil().min(LIMIT_MAX) as u64)
}
