//! Taking from all quotas of a request, or from none.

use super::{BucketKey, MemoryBounds, Phase, Record, Reports, State, bucket_key};
use crate::ledger::check::{self, MEMORY_MS, Part};
use crate::ledger::{LedgerError, MARK_BEAT_MS, QuotaResult, Reserve, Reserved};

impl State {
    pub(super) fn reserve(
        &mut self,
        request: &Reserve,
        now_ms: i64,
        bounds: MemoryBounds,
    ) -> Result<Reserved, LedgerError> {
        if let Some(record) = self.records.get(&(request.workspace_id, request.id)) {
            return Ok(record
                .answer
                .clone()
                .unwrap_or_else(|| self.look(request, now_ms)));
        }
        if let Some(since_ms) = request.whole_since_ms {
            let mark_ms = self.marks.get_mut(&request.workspace_id);
            let mark_ms = mark_ms.filter(|mark_ms| **mark_ms >= since_ms);
            let mark_ms = mark_ms.ok_or(LedgerError::SpendUnknown)?;
            if now_ms - *mark_ms >= MARK_BEAT_MS {
                *mark_ms = now_ms;
            }
        }
        self.has_room(&request.quotas, now_ms, bounds)?;
        let fits: Vec<bool> = request
            .quotas
            .iter()
            .map(|quota| self.bucket(request, quota, now_ms).fits(quota, now_ms))
            .collect();
        let admitted = request
            .quotas
            .iter()
            .zip(&fits)
            .all(|(quota, fits)| *fits || check::part(quota) != Part::Enforce);

        let mut results = Vec::with_capacity(request.quotas.len());
        let mut skipped = Vec::new();
        for (quota, fits) in request.quotas.iter().zip(fits) {
            let skip = !fits && check::part(quota) == Part::ShadowWhenItFits;
            if admitted && skip {
                skipped.push(bucket_key(request.workspace_id, quota));
            }
            let bucket = self.bucket(request, quota, now_ms);
            if admitted && !skip {
                bucket.take(quota, request.id, now_ms);
            }
            let told = bucket.tell(quota, now_ms);
            let retry_after_ms = if fits { None } else { told.retry_after_ms };
            results.push(QuotaResult {
                admitted: fits,
                retry_after_ms,
                ..told
            });
        }
        let answer = Reserved {
            admitted,
            now_ms,
            results,
        };
        if admitted {
            self.entry_count += request.quotas.len();
            self.remember(request, &answer, skipped, now_ms);
        }
        Ok(answer)
    }

    /// The answer to a reserve that comes after its settlement: admitted, and nothing is taken.
    fn look(&mut self, request: &Reserve, now_ms: i64) -> Reserved {
        let results = request.quotas.iter().map(|quota| {
            let told = self.bucket(request, quota, now_ms).tell(quota, now_ms);
            QuotaResult {
                admitted: true,
                retry_after_ms: None,
                ..told
            }
        });
        Reserved {
            admitted: true,
            now_ms,
            results: results.collect(),
        }
    }

    fn remember(&mut self, request: &Reserve, answer: &Reserved, skipped: Vec<BucketKey>, now_ms: i64) {
        let key = (request.workspace_id, request.id);
        let phase = if request.quotas.iter().any(check::needs_settling) {
            let expires_at_ms = now_ms + i64::from(request.ttl_ms);
            self.open
                .insert((request.workspace_id, expires_at_ms, request.id));
            let starts = answer.results.iter().map(|result| result.window_start_ms);
            Phase::Open {
                expires_at_ms,
                caller: request.caller,
                charges: request.quotas.iter().cloned().zip(starts).collect(),
                members: request.members.clone(),
            }
        } else {
            self.resolved.push_back((now_ms + MEMORY_MS, key));
            Phase::Admitted
        };
        self.records.insert(
            key,
            Record {
                phase,
                answer: Some(answer.clone()),
                skipped,
                reports: Reports::default(),
            },
        );
    }
}
