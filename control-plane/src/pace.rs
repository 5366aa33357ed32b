//! How often something may happen: a burst, then a steady pace, for each of many subjects. Kept in this process's
//! memory, so each replica has its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Token buckets in one number each: when the bucket is full again.
pub struct Pace<K> {
    burst: i64,
    refill_ms: i64,
    subjects_max: usize,
    /// In Unix milliseconds.
    full_at: Mutex<HashMap<K, i64>>,
}

impl<K: Eq + Hash> Pace<K> {
    /// `burst` at once, then one every `refill_ms` milliseconds, for up to `subjects_max` subjects. When there are more,
    /// those that are back at full are forgotten; newcomers beyond that are not bound.
    pub fn new(burst: i64, refill_ms: i64, subjects_max: usize) -> Self {
        Self {
            burst,
            refill_ms,
            subjects_max,
            full_at: Mutex::default(),
        }
    }

    /// Takes one of a subject's, or says how long to wait in milliseconds.
    pub fn take(&self, subject: K, now_ms: i64) -> Result<(), i64> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= self.subjects_max && !full_at.contains_key(&subject) {
            full_at.retain(|_, full_at| *full_at > now_ms);
            if full_at.len() >= self.subjects_max {
                return Ok(());
            }
        }
        let full_at = full_at.entry(subject).or_insert(now_ms);
        let after = (*full_at).max(now_ms) + self.refill_ms;
        let over = after - now_ms - self.burst * self.refill_ms;
        if over > 0 {
            return Err(over);
        }
        *full_at = after;
        Ok(())
    }

    /// Takes back what [`Pace::take`] took.
    pub fn give_back(&self, subject: &K) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = full_at.get_mut(subject) {
            *full_at -= self.refill_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_a_burst_and_a_pace() {
        let pace = Pace::new(3, 1_000, 10);
        for _ in 0..3 {
            assert_eq!(pace.take("here", 0), Ok(()));
        }
        assert_eq!(pace.take("here", 0), Err(1_000));
        assert_eq!(pace.take("here", 400), Err(600));
        assert_eq!(pace.take("there", 0), Ok(()));
        assert_eq!(pace.take("here", 1_000), Ok(()));
        assert!(pace.take("here", 1_000).is_err());
        pace.give_back(&"here");
        assert_eq!(pace.take("here", 1_000), Ok(()));
    }

    #[test]
    fn subjects_are_bounded() {
        let pace = Pace::new(2, 1_000, 10);
        for n in 0..20 {
            assert_eq!(pace.take(n, 0), Ok(()));
        }
        assert_eq!(pace.full_at.lock().unwrap().len(), 10);
        assert_eq!(pace.take(99, 1_000_000), Ok(()));
        assert_eq!(pace.full_at.lock().unwrap().len(), 1);
    }
}
