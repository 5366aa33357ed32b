//! All leases of one worker: which sets of quotas are hot, what was drawn, what is to be asked for and said.

use super::demand::Demand;
use super::{Block, Lease};
use crate::effect::{Effect, ReserveCall, SettledAmount, Settlement};
use crate::event::{Now, QuotaResult, Reserved};
use rateguard_model::id::{ApiId, KeyId, RequestId, WorkspaceId};
use rateguard_model::quota::{FailureMode, Meter, Mode, Quota, QuotaKind, Unit};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Sets watched at most. Beyond, a new one is not watched and asks for each request.
const SETS_MAX: usize = 256;

/// A set that nobody asked for so long is forgotten.
const IDLE_MS: i64 = 1_000;

/// Older words of the ledger are no ground for a block.
const SEEN_MS_MAX: i64 = 1_000;

/// After a block was refused, or not answered for.
const REFUSED_PAUSE_MS: i64 = 500;
const FAILED_PAUSE_MS: i64 = 1_000;

#[derive(Debug, Default)]
pub struct LeaseBook {
    is_off: bool,
    /// By hash.
    sets: BTreeMap<u64, Set>,
    asked: BTreeMap<RequestId, Block>,
    leases: BTreeMap<RequestId, Lease>,
    /// Lease of each request under way that was drawn.
    draws: BTreeMap<RequestId, RequestId>,
    counts: Counts,
}

/// Since they were last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests admitted without a call.
    pub drawn: u64,
    /// Leases that the ledger granted.
    pub granted: u64,
    /// Leases that it refused, or did not answer for.
    pub refused: u64,
    /// Draws that were given back unused.
    pub given_back: u64,
}

/// Requests of one key to one API that meet the same quotas.
#[derive(Debug)]
struct Set {
    workspace_id: WorkspaceId,
    key_id: KeyId,
    api_id: ApiId,
    quotas: Rc<[Quota]>,
    demand: Demand,
    noted_ms: i64,
    /// What the ledger said last, and when; nothing after a refusal, a failure or an answer from memory.
    seen: Option<(i64, Reserved)>,
    is_asked: bool,
    not_before_ms: i64,
    /// Those that are drawn on, the oldest first.
    leases: Vec<RequestId>,
}

impl LeaseBook {
    /// `is_on`: whether leases are taken at all.
    pub fn new(is_on: bool) -> Self {
        Self {
            is_off: !is_on,
            ..Self::default()
        }
    }

    /// Answers for the limit service if a lease has what the request wants.
    pub fn draw(&mut self, call: &ReserveCall, now: Now) -> Option<Reserved> {
        if self.is_off || !is_leasable(&call.quotas) {
            return None;
        }
        let now_ms = now.unix_ms();
        let hash = hash(call);
        if !self.sets.contains_key(&hash) {
            if self.sets.len() < SETS_MAX {
                self.sets.insert(hash, Set::new(call, now_ms));
            }
            return None;
        }
        let set = self.sets.get_mut(&hash).filter(|set| set.is_of(call))?;
        set.noted_ms = now_ms;
        set.demand.note(&call.quotas, now_ms);
        let drawn = set.leases.iter().find(|id| {
            self.leases
                .get_mut(id)
                .is_some_and(|lease| lease.draw(&call.quotas, now_ms))
        });
        let id = *drawn?;
        let answer = set.answer(id, &self.leases, now_ms)?;
        self.draws.insert(call.id, id);
        self.counts.drawn += 1;
        Some(answer)
    }

    /// The limit service answered a request of its own.
    pub fn answered(&mut self, call: &ReserveCall, reserved: Option<&Reserved>, now: Now) {
        if self.is_off || !is_leasable(&call.quotas) {
            return;
        }
        if let Some(set) = self.sets.get_mut(&hash(call)).filter(|set| set.is_of(call)) {
            set.seen = reserved
                .filter(|reserved| reserved.admitted && !reserved.degraded)
                .map(|reserved| (now.unix_ms(), reserved.clone()));
        }
    }

    /// A request is over; `false`: it was not drawn here. `released`: it never reached the upstream.
    pub fn settled(&mut self, settlement: &Settlement, released: bool) -> bool {
        let Some(id) = self.draws.remove(&settlement.id) else {
            return false;
        };
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.settle(settlement, released);
        }
        true
    }

    /// The limit service answered for a block, or did not.
    pub fn granted(&mut self, id: RequestId, reserved: Option<&Reserved>, now: Now) -> Vec<Effect> {
        let Some(block) = self.asked.remove(&id) else {
            return Vec::new();
        };
        let now_ms = now.unix_ms();
        let set = self.sets.get_mut(&block.set);
        let pause_ms = match reserved {
            Some(reserved) if is_sound(&block, reserved) => {
                let mut effects = vec![Effect::Opened {
                    id,
                    workspace_id: block.workspace_id,
                }];
                effects.extend(seen_effects(&block, reserved));
                let lease = Lease::new(block, reserved);
                if let Some(set) = set {
                    set.is_asked = false;
                    set.seen = Some((now_ms, reserved.clone()));
                    set.leases.push(id);
                }
                self.leases.insert(id, lease);
                self.counts.granted += 1;
                return effects;
            }
            Some(_) => REFUSED_PAUSE_MS,
            None => FAILED_PAUSE_MS,
        };
        if let Some(set) = set {
            set.is_asked = false;
            set.seen = None;
            set.not_before_ms = now_ms.saturating_add(pause_ms);
        }
        self.counts.refused += 1;
        // It may have been reserved, and only its answer got lost or is of no use.
        let refused = reserved.is_some_and(|reserved| !reserved.admitted);
        if refused {
            Vec::new()
        } else {
            vec![Effect::Release(Box::new(release(id, &block)))]
        }
    }

    /// A joint reservation, and the requests that drew on it: they settle with it.
    pub(super) fn adopt(&mut self, id: RequestId, lease: Lease, drawn: impl Iterator<Item = RequestId>) {
        self.draws.extend(drawn.map(|request| (request, id)));
        self.leases.insert(id, lease);
    }

    /// Closes what is old; answers whether there is something to report now. `hurry`: everything closes, and nothing
    /// waits.
    pub fn tick(&mut self, now: Now, hurry: bool) -> bool {
        let now_ms = now.unix_ms();
        self.is_off |= hurry;
        for lease in self.leases.values_mut() {
            if hurry || !lease.is_drawable(now_ms) {
                self.counts.given_back += u64::from(lease.close());
            }
        }
        let is_full = self.sets.len() >= SETS_MAX;
        self.sets.retain(|_, set| {
            set.leases
                .retain(|id| self.leases.get(id).is_some_and(|lease| lease.until_ms.is_some()));
            let idle = now_ms.saturating_sub(set.noted_ms) > IDLE_MS;
            let cold = is_full && !set.demand.is_hot(now_ms);
            set.is_asked || !set.leases.is_empty() || !(idle || cold)
        });
        self.leases
            .values()
            .any(|lease| lease.is_report_due(now_ms, hurry))
    }

    /// All that changed since it was last asked: with it the events of every draw that was settled by now have to go, and
    /// no others, so that nobody ever hears of a draw's event and not of the draw.
    pub fn reports(&mut self, now: Now) -> Vec<Effect> {
        let now_ms = now.unix_ms();
        let mut effects = Vec::new();
        self.leases.retain(|id, lease| {
            let Some(report) = lease.report(*id, now_ms) else {
                return true;
            };
            let is_open = report.part != 0;
            if !is_open {
                effects.push(Effect::Closed { id: *id });
            }
            effects.push(Effect::Settle(Box::new(report)));
            is_open
        });
        effects
    }

    /// The blocks to ask for now. `id` makes a fresh one.
    pub fn asks(&mut self, now: Now, mut id: impl FnMut() -> Option<RequestId>) -> Vec<ReserveCall> {
        if self.is_off {
            return Vec::new();
        }
        let now_ms = now.unix_ms();
        let mut calls = Vec::new();
        for (hash, set) in &mut self.sets {
            let leases = &self.leases;
            let left = set.leases.iter().filter_map(|id| leases.get(id));
            let draws_left = left.map(|lease| lease.draws_left).fold(0, u32::saturating_add);
            let Some((quotas, draw_count)) = set.block(draws_left, now_ms) else {
                continue;
            };
            let Some(id) = id() else { break };
            set.is_asked = true;
            calls.push(ReserveCall {
                id,
                workspace_id: set.workspace_id,
                key_id: set.key_id,
                api_id: set.api_id,
                quotas: Rc::clone(&quotas),
                members: Vec::new(),
                trace: None,
            });
            let block = Block {
                workspace_id: set.workspace_id,
                set: *hash,
                quotas,
                draw_count,
                asked_ms: now_ms,
            };
            self.asked.insert(id, block);
        }
        calls
    }

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

impl Set {
    fn new(call: &ReserveCall, now_ms: i64) -> Self {
        let mut demand = Demand::new(now_ms);
        demand.note(&call.quotas, now_ms);
        Self {
            workspace_id: call.workspace_id,
            key_id: call.key_id,
            api_id: call.api_id,
            quotas: Rc::clone(&call.quotas),
            demand,
            noted_ms: now_ms,
            seen: None,
            is_asked: false,
            not_before_ms: now_ms,
            leases: Vec::new(),
        }
    }

    /// Amounts differ from request to request; all else is what makes the set.
    fn is_of(&self, call: &ReserveCall) -> bool {
        self.key_id == call.key_id
            && self.api_id == call.api_id
            && self.workspace_id == call.workspace_id
            && are_alike(&self.quotas, &call.quotas)
    }

    fn block(&mut self, draws_left: u32, now_ms: i64) -> Option<(Rc<[Quota]>, u32)> {
        if self.is_asked || now_ms < self.not_before_ms {
            return None;
        }
        let (_, seen) = self
            .seen
            .as_ref()
            .filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) <= SEEN_MS_MAX)?;
        let size = self.demand.size(&self.quotas, seen, draws_left, now_ms)?;
        let quotas = self.quotas.iter().zip(size.amounts).map(|(quota, amount)| Quota {
            amount,
            ..quota.clone()
        });
        Some((quotas.collect(), size.draw_count))
    }

    /// What the ledger would have said to a draw: what it said last, and what this worker still holds of it.
    fn answer(&self, drawn: RequestId, leases: &BTreeMap<RequestId, Lease>, now_ms: i64) -> Option<Reserved> {
        let (seen_ms, seen) = self.seen.as_ref().map_or_else(
            || {
                let lease = leases.get(&drawn)?;
                Some((lease.block.asked_ms, lease.results.as_slice()))
            },
            |(at_ms, reserved)| Some((*at_ms, reserved.results.as_slice())),
        )?;
        let elapsed_ms = now_ms.saturating_sub(seen_ms).max(0);
        let mut results: Vec<QuotaResult> = seen
            .iter()
            .map(|result| QuotaResult {
                reset_ms: result.reset_ms.saturating_sub(elapsed_ms).max(0),
                ..*result
            })
            .collect();
        for lease in self.leases.iter().filter_map(|id| leases.get(id)) {
            lease.count_as_free(&mut results);
        }
        Some(Reserved {
            admitted: true,
            degraded: false,
            live_workers: self.seen.as_ref().map_or(1, |(_, seen)| seen.live_workers),
            results,
        })
    }
}

/// Whether they are the same but for their amounts.
pub(super) fn are_alike(a: &[Quota], b: &[Quota]) -> bool {
    let same =
        |(a, b): (&Quota, &Quota)| a.id == b.id && a.version == b.version && a.partition == b.partition;
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// Whether everything in it can be given back exactly: a log's entries cannot, and somebody must count.
pub(super) fn is_leasable(quotas: &[Quota]) -> bool {
    !quotas.is_empty()
        && quotas
            .iter()
            .all(|quota| matches!(quota.meter, Meter::TokenBucket { .. } | Meter::FixedWindow { .. }))
}

/// As the ledger: everything else counts as spent at once.
pub(super) fn is_held(quota: &Quota) -> bool {
    quota.unit != Unit::Requests && matches!(quota.meter, Meter::FixedWindow { .. })
}

/// Whether a block can be drawn on. Where a shadow rule would refuse it, each request is to be looked at by itself.
pub(super) fn is_sound(block: &Block, reserved: &Reserved) -> bool {
    let fits = |(quota, result): (&Quota, &QuotaResult)| result.admitted || only_alerts(quota);
    reserved.admitted
        && !reserved.degraded
        && reserved.results.len() == block.quotas.len()
        && block.quotas.iter().zip(&reserved.results).all(fits)
}

/// A budget that only alerts takes everything.
pub(super) fn only_alerts(quota: &Quota) -> bool {
    quota.mode == Mode::Shadow && quota.kind == QuotaKind::Budget
}

/// Shares of BOUNDED_OPEN quotas are made of what the ledger said last.
pub(super) fn seen_effects(block: &Block, reserved: &Reserved) -> Vec<Effect> {
    block
        .quotas
        .iter()
        .zip(&reserved.results)
        .filter(|(quota, _)| quota.failure_mode == FailureMode::BoundedOpen && quota.mode == Mode::Enforce)
        .map(|(quota, result)| Effect::Seen {
            quota: Box::new(quota.clone()),
            remaining: result.remaining,
            live_workers: reserved.live_workers,
        })
        .collect()
}

pub(super) fn release(id: RequestId, block: &Block) -> Settlement {
    let amounts = block.quotas.iter().map(|quota| SettledAmount {
        window_start_ms: match quota.meter {
            Meter::FixedWindow { window } => window.bounds(block.asked_ms).start_ms,
            Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => 0,
        },
        actual: 0,
        returned: 0,
    });
    Settlement {
        id,
        workspace_id: block.workspace_id,
        reserved_at_ms: block.asked_ms,
        quotas: Rc::clone(&block.quotas),
        amounts: amounts.collect(),
        part: 0,
        is_block: true,
    }
}

/// Finds a set; equality decides. Not for adversaries: whoever makes two sets collide makes one of them ask each time.
pub(super) fn hash(call: &ReserveCall) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            hash = (hash ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    };
    mix(call.key_id.as_bytes());
    mix(call.api_id.as_bytes());
    for quota in call.quotas.iter() {
        mix(quota.id.as_bytes());
        mix(&quota.version.to_le_bytes());
        mix(quota.partition.as_bytes());
    }
    hash
}
