//! One JSON document of a response: a whole body, or the data of one event.

use super::figures::Figures;
use crate::json::{Item, Sink};

/// Anthropic's `type` at the top of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// None, or none of these.
    #[default]
    Other,
    Message,
    MessageStart,
    MessageDelta,
    MessageStop,
}

impl Kind {
    fn of(item: Item<'_>) -> Self {
        match item {
            Item::String("message") => Self::Message,
            Item::String("message_start") => Self::MessageStart,
            Item::String("message_delta") => Self::MessageDelta,
            Item::String("message_stop") => Self::MessageStop,
            _ => Self::Other,
        }
    }
}

/// What it said, so far. Of keys that are there twice the last counts.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) outer: Part,
    /// Below `message`.
    pub(super) inner: Part,
}

#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) model: Option<String>,
    pub(super) figures: Figures,
    /// `usage` was there.
    has_usage: bool,
}

impl Part {
    fn set(&mut self, path: &[&'static str], item: Item<'_>) {
        match path {
            ["model"] => {
                self.model = match item {
                    Item::String(model) if !model.is_empty() => Some(model.to_owned()),
                    _ => None,
                };
            }
            ["usage"] => {
                self.figures.begin(item, self.has_usage);
                self.has_usage = true;
            }
            ["usage", below @ ..] => self.figures.set(below, item),
            _ => {}
        }
    }
}

impl Sink for Document {
    const NAMES: &'static [&'static str] = &[
        "type",
        "message",
        "model",
        "usage",
        "prompt_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "audio_tokens",
        "completion_tokens",
        "completion_tokens_details",
        "reasoning_tokens",
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "ephemeral_5m_input_tokens",
        "ephemeral_1h_input_tokens",
        "output_tokens",
    ];

    fn item(&mut self, path: &[&'static str], item: Item<'_>, _at: usize) {
        match path {
            ["type"] => self.kind = Kind::of(item),
            ["message"] if item != Item::Closed => self.inner = Part::default(),
            ["message", below @ ..] => self.inner.set(below, item),
            _ => self.outer.set(path, item),
        }
    }
}
