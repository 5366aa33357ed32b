//! What the documents of one body say together.

use super::document::{Document, Kind, Part};
use super::figures::{Buckets, Figures};
use rateguard_model::usage::{TokenUsage, UsageFormat};

/// Whose documents count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// Whoever's comes first.
    Any,
    OpenAi,
    Anthropic,
}

impl Followed {
    /// `None`: a format that is not read.
    pub(super) const fn of(format: UsageFormat) -> Option<Self> {
        match format {
            UsageFormat::Auto => Some(Self::Any),
            UsageFormat::OpenAi => Some(Self::OpenAi),
            UsageFormat::Anthropic => Some(Self::Anthropic),
            UsageFormat::Gemini
            | UsageFormat::Bedrock
            | UsageFormat::Cohere
            | UsageFormat::Generic
            | UsageFormat::None => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tally {
    followed: Followed,
    figures: Figures,
    model: Option<String>,
    /// A document had a key of its usage twice.
    repeated: bool,
    /// The figures are those of the end, not those that a stream begins with.
    is_final: bool,
    /// The stream said that it is over.
    is_ended: bool,
}

impl Tally {
    pub(super) fn new(followed: Followed) -> Self {
        Self {
            followed,
            figures: Figures::default(),
            model: None,
            repeated: false,
            is_final: false,
            is_ended: false,
        }
    }

    /// The stream's own mark of its end was read.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    pub(super) fn into_model(self) -> Option<String> {
        self.model
    }

    pub(super) fn absorb(&mut self, document: &Document) {
        self.repeated |= document.outer.figures.repeated || document.inner.figures.repeated;
        let anthropic = match self.followed {
            Followed::Any => document.kind != Kind::Other,
            Followed::OpenAi => false,
            Followed::Anthropic => true,
        };
        if anthropic {
            self.followed = Followed::Anthropic;
            self.absorb_anthropic(document);
        } else if document.kind == Kind::Other {
            self.absorb_openai(&document.outer);
        }
    }

    fn absorb_openai(&mut self, part: &Part) {
        self.read_model(part);
        if part.figures.present {
            self.followed = Followed::OpenAi;
            self.figures = part.figures;
            self.is_final = true;
        }
    }

    fn absorb_anthropic(&mut self, document: &Document) {
        match document.kind {
            Kind::Message => {
                self.read_model(&document.outer);
                self.figures = document.outer.figures;
                self.is_final = true;
            }
            Kind::MessageStart => {
                self.read_model(&document.inner);
                self.figures = document.inner.figures;
            }
            Kind::MessageDelta if document.outer.figures.present => {
                self.figures = document.outer.figures.over(self.figures);
                self.is_final = true;
            }
            Kind::MessageStop => self.is_ended = true,
            Kind::MessageDelta | Kind::Other => {}
        }
    }

    fn read_model(&mut self, part: &Part) {
        if part.model.is_some() && part.model != self.model {
            self.model.clone_from(&part.model);
        }
    }

    fn buckets(&self) -> Option<Buckets> {
        match self.followed {
            Followed::Anthropic => self.figures.anthropic(),
            Followed::OpenAi | Followed::Any => self.figures.openai(),
        }
    }

    /// `None` if a required figure is missing or one was rejected.
    pub(super) fn tokens(&self) -> Option<TokenUsage> {
        self.buckets().map(|(tokens, _)| tokens)
    }

    pub(super) fn is_irregular(&self) -> bool {
        self.repeated
            || match self.buckets() {
                Some((_, irregular)) => irregular,
                None => self.figures.present,
            }
    }
}
