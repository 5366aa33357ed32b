//! What a model usually answers to a key: learned by this worker from reported usage, forgotten with its VM (SPEC 1.4).
//! It is the guess for requests that do not bound their answer themselves.

use rateguard_model::id::KeyId;
use std::collections::BTreeMap;

/// Pairs of key and model remembered; beyond, the one fed longest ago makes room.
const PAIRS_MAX: usize = 1_024;
/// Longest model name in bytes that is remembered: it comes from clients.
const MODEL_BYTES_MAX: usize = 128;
/// Larger answers count as this many tokens.
const TOKENS_MAX: u64 = 10_000_000;
/// Averages are kept in this fraction of a token.
const SCALE: u64 = 256;
/// A new answer moves the average by this fraction of its distance.
const WEIGHT: u64 = 8;

/// Average output tokens per (key, model), of one choice.
#[derive(Debug, Default)]
pub struct Averages {
    by_key: BTreeMap<KeyId, BTreeMap<String, Average>>,
    pair_count: usize,
    /// Counts answers: the age of what was learned.
    fed_count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Average {
    /// In `1 / SCALE` tokens.
    scaled: u64,
    fed_at: u64,
}

impl Averages {
    /// Tokens to expect of one choice, rounded up; `None` if nothing was learned.
    pub fn output_tokens(&self, key_id: &KeyId, model: &str) -> Option<u64> {
        let average = self.by_key.get(key_id)?.get(model)?;
        Some(average.scaled.div_ceil(SCALE))
    }

    /// One reported answer; the first sets the average, each further one moves it by an eighth of the difference.
    pub fn learn(&mut self, key_id: KeyId, model: &str, output_tokens: u64) {
        if model.len() > MODEL_BYTES_MAX {
            return;
        }
        self.fed_count += 1;
        let fed_at = self.fed_count;
        let seen = output_tokens.min(TOKENS_MAX) * SCALE;
        if let Some(average) = self
            .by_key
            .get_mut(&key_id)
            .and_then(|models| models.get_mut(model))
        {
            average.scaled = if seen >= average.scaled {
                average.scaled + (seen - average.scaled) / WEIGHT
            } else {
                average.scaled - (average.scaled - seen) / WEIGHT
            };
            average.fed_at = fed_at;
            return;
        }
        if self.pair_count >= PAIRS_MAX {
            self.forget_oldest();
        }
        let first = Average { scaled: seen, fed_at };
        self.by_key
            .entry(key_id)
            .or_default()
            .insert(model.to_owned(), first);
        self.pair_count += 1;
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .by_key
            .iter()
            .flat_map(|(key_id, models)| {
                models
                    .iter()
                    .map(move |(model, average)| (average.fed_at, *key_id, model))
            })
            .min()
            .map(|(_, key_id, model)| (key_id, model.clone()));
        let Some((key_id, model)) = oldest else { return };
        if let Some(models) = self.by_key.get_mut(&key_id) {
            models.remove(&model);
            if models.is_empty() {
                self.by_key.remove(&key_id);
            }
        }
        self.pair_count = self.pair_count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId::from_bytes([1; 16]);
    const OTHER: KeyId = KeyId::from_bytes([2; 16]);

    #[test]
    fn the_first_answer_sets_and_the_next_ones_move_it() {
        let mut averages = Averages::default();
        assert_eq!(averages.output_tokens(&KEY, "m"), None);
        averages.learn(KEY, "m", 800);
        assert_eq!(averages.output_tokens(&KEY, "m"), Some(800));
        averages.learn(KEY, "m", 0);
        assert_eq!(averages.output_tokens(&KEY, "m"), Some(700));
        averages.learn(KEY, "m", 1_500);
        assert_eq!(averages.output_tokens(&KEY, "m"), Some(800));
        assert_eq!(averages.output_tokens(&KEY, "n"), None);
        assert_eq!(averages.output_tokens(&OTHER, "m"), None);
    }

    #[test]
    fn a_steady_size_is_reached_from_both_sides() {
        for start in [0, 10_000] {
            let mut averages = Averages::default();
            averages.learn(KEY, "m", start);
            for _ in 0..200 {
                averages.learn(KEY, "m", 100);
            }
            let learned = averages.output_tokens(&KEY, "m").expect("learned");
            assert!((100..=101).contains(&learned), "{learned} from {start}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_was_fed_longest_ago() {
        let mut averages = Averages::default();
        averages.learn(OTHER, "kept", 5);
        for n in 0..PAIRS_MAX * 2 {
            averages.learn(KEY, &format!("m{n}"), 1);
            averages.learn(OTHER, "kept", 5);
        }
        let count: usize = averages.by_key.values().map(BTreeMap::len).sum();
        assert_eq!((count, averages.pair_count), (PAIRS_MAX, PAIRS_MAX));
        assert_eq!(averages.output_tokens(&OTHER, "kept"), Some(5));
        assert_eq!(averages.output_tokens(&KEY, "m0"), None);
    }

    #[test]
    fn extremes_neither_overflow_nor_take_room() {
        let mut averages = Averages::default();
        averages.learn(KEY, "m", u64::MAX);
        averages.learn(KEY, "m", u64::MAX);
        assert_eq!(averages.output_tokens(&KEY, "m"), Some(TOKENS_MAX));
        let long = "m".repeat(MODEL_BYTES_MAX + 1);
        averages.learn(KEY, &long, 1);
        assert_eq!(averages.output_tokens(&KEY, &long), None);
    }
}
