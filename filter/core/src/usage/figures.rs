//! The figures of one usage object, as the two providers write them, and their buckets.

use crate::json::Item;
use rateguard_model::usage::TokenUsage;

/// Counts are below 2^53, what every JSON reader keeps exactly.
const COUNT_END: u64 = 1 << 53;

/// One count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Figure {
    /// Not there, or null.
    #[default]
    Absent,
    Count(i64),
    /// There, but no count.
    Rejected,
}

impl Figure {
    fn of(item: Item<'_>) -> Self {
        match item {
            Item::Number(text) => count(text).map_or(Self::Rejected, Self::Count),
            Item::Null => Self::Absent,
            _ => Self::Rejected,
        }
    }

    /// The count or 0; `None` if rejected.
    const fn or_zero(self) -> Option<i64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Absent => Some(0),
            Self::Rejected => None,
        }
    }

    const fn required(self) -> Option<i64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Absent | Self::Rejected => None,
        }
    }

    const fn or(self, earlier: Self) -> Self {
        match self {
            Self::Absent => earlier,
            Self::Count(_) | Self::Rejected => self,
        }
    }
}

/// Digits only, no leading zero, below [`COUNT_END`].
fn count(text: &str) -> Option<i64> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|count: &u64| *count < COUNT_END)
        .and_then(|count| i64::try_from(count).ok())
}

/// A usage object. Each provider fills its own half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// The object is there, or something else than null in its place.
    pub(super) present: bool,
    /// A key was there twice.
    pub(super) repeated: bool,
    prompt: Figure,
    cached: Figure,
    prompt_audio: Figure,
    completion: Figure,
    reasoning: Figure,
    completion_audio: Figure,
    input: Figure,
    cache_read: Figure,
    cache_write: Figure,
    cache_write_5m: Figure,
    cache_write_1h: Figure,
    output: Figure,
}

/// Buckets, and whether a part was larger than its whole.
pub(super) type Buckets = (TokenUsage, bool);

impl Figures {
    /// The value of the key `usage`.
    pub(super) fn begin(&mut self, item: Item<'_>, again: bool) {
        if item == Item::Closed {
            return;
        }
        *self = Self {
            present: item != Item::Null,
            repeated: self.repeated || again,
            ..Self::default()
        };
        if !matches!(item, Item::Object | Item::Null) {
            (self.prompt, self.input) = (Figure::Rejected, Figure::Rejected);
        }
    }

    /// A value below `usage`.
    pub(super) fn set(&mut self, path: &[&'static str], item: Item<'_>) {
        let figure = match path {
            ["prompt_tokens"] => &mut self.prompt,
            ["prompt_tokens_details", "cached_tokens"] => &mut self.cached,
            ["prompt_tokens_details", "audio_tokens"] => &mut self.prompt_audio,
            ["completion_tokens"] => &mut self.completion,
            ["completion_tokens_details", "reasoning_tokens"] => &mut self.reasoning,
            ["completion_tokens_details", "audio_tokens"] => &mut self.completion_audio,
            ["input_tokens"] => &mut self.input,
            ["cache_read_input_tokens"] => &mut self.cache_read,
            ["cache_creation_input_tokens"] => &mut self.cache_write,
            ["cache_creation", "ephemeral_5m_input_tokens"] => &mut self.cache_write_5m,
            ["cache_creation", "ephemeral_1h_input_tokens"] => &mut self.cache_write_1h,
            ["output_tokens"] => &mut self.output,
            [details] => return self.begin_details(details, item),
            _ => return,
        };
        if item != Item::Closed {
            self.repeated |= *figure != Figure::Absent;
            *figure = Figure::of(item);
        }
    }

    /// An object of parts begins, or something else stands in its place.
    fn begin_details(&mut self, name: &str, item: Item<'_>) {
        let (first, second) = match name {
            "prompt_tokens_details" => (&mut self.cached, &mut self.prompt_audio),
            "completion_tokens_details" => (&mut self.reasoning, &mut self.completion_audio),
            "cache_creation" => (&mut self.cache_write_5m, &mut self.cache_write_1h),
            _ => return,
        };
        if item == Item::Closed {
            return;
        }
        self.repeated |= *first != Figure::Absent || *second != Figure::Absent;
        let wrong = !matches!(item, Item::Object | Item::Null);
        *first = if wrong { Figure::Rejected } else { Figure::Absent };
        *second = Figure::Absent;
    }

    /// These figures where they are stated, `earlier` ones elsewhere.
    pub(super) fn over(self, earlier: Self) -> Self {
        Self {
            present: self.present || earlier.present,
            repeated: self.repeated || earlier.repeated,
            prompt: self.prompt.or(earlier.prompt),
            cached: self.cached.or(earlier.cached),
            prompt_audio: self.prompt_audio.or(earlier.prompt_audio),
            completion: self.completion.or(earlier.completion),
            reasoning: self.reasoning.or(earlier.reasoning),
            completion_audio: self.completion_audio.or(earlier.completion_audio),
            input: self.input.or(earlier.input),
            cache_read: self.cache_read.or(earlier.cache_read),
            cache_write: self.cache_write.or(earlier.cache_write),
            cache_write_5m: self.cache_write_5m.or(earlier.cache_write_5m),
            cache_write_1h: self.cache_write_1h.or(earlier.cache_write_1h),
            output: self.output.or(earlier.output),
        }
    }

    /// OpenAI: the two totals include their parts. A part that does not fit into its total is cut, cached before audio
    /// and reasoning before audio, so that the buckets always add up to the totals.
    pub(super) fn openai(&self) -> Option<Buckets> {
        let prompt = self.prompt.required()?;
        let completion = self.completion.required()?;
        let (cached, audio_in) = (self.cached.or_zero()?, self.prompt_audio.or_zero()?);
        let (reasoning, audio_out) = (self.reasoning.or_zero()?, self.completion_audio.or_zero()?);
        let irregular = cached + audio_in > prompt || reasoning + audio_out > completion;
        let cache_read = cached.min(prompt);
        let audio_in = audio_in.min(prompt - cache_read);
        let reasoning = reasoning.min(completion);
        let audio_out = audio_out.min(completion - reasoning);
        let tokens = TokenUsage {
            fresh_input: prompt - cache_read - audio_in,
            cache_read,
            output_text: completion - reasoning - audio_out,
            reasoning,
            audio_in,
            audio_out,
            ..TokenUsage::default()
        };
        Some((tokens, irregular))
    }

    /// Anthropic: `input_tokens` excludes what the cache read and wrote. `cache_creation_input_tokens` includes the
    /// two writes; what these leave of it is a write for five minutes, and where they are more, they are cut, the
    /// hour's (the dearer) last. Without that total the two stand for themselves.
    pub(super) fn anthropic(&self) -> Option<Buckets> {
        let fresh_input = self.input.required()?;
        let output_text = self.output.required()?;
        let cache_read = self.cache_read.or_zero()?;
        let (short, long) = (self.cache_write_5m.or_zero()?, self.cache_write_1h.or_zero()?);
        let written = match self.cache_write {
            Figure::Count(count) => count,
            Figure::Absent => short + long,
            Figure::Rejected => return None,
        };
        let cache_write_1h = long.min(written);
        let tokens = TokenUsage {
            fresh_input,
            cache_read,
            cache_write_5m: written - cache_write_1h,
            cache_write_1h,
            output_text,
            ..TokenUsage::default()
        };
        Some((tokens, short + long > written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_06_only_plain_integers_below_two_to_the_53_are_counts() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("9007199254740993", None),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("18446744073709551628", None),
            ("-1", None),
            ("-0", None),
            ("+1", None),
            ("007", None),
            ("12.0", None),
            ("1e2", None),
            ("1e308", None),
            ("1e400", None),
            ("0.5", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(count(text), expected, "{text:?}");
        }
    }
}
