//! One reservation for several requests that wait at the same time: a lease for exactly these.

use super::{Block, Lease};
use crate::effect::{Member, ReserveCall};
use crate::event::Reserved;
use rateguard_model::id::RequestId;
use rateguard_model::quota::{AMOUNT_MAX, Quota, QuotaKind};

/// Requests of one joint reservation at most; `limits.proto` has the same bound.
pub(super) const MEMBERS_MAX: usize = 128;

/// A request at the desk.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: ReserveCall,
    pub(super) since_ms: i64,
}

impl Waiting {
    /// Budgets of one request all hold the same estimate.
    fn member(&self) -> Member {
        let budgets = self.call.quotas.iter();
        let budgets = budgets.filter(|quota| quota.kind == QuotaKind::Budget);
        Member {
            id: self.call.id,
            cost_nanos: budgets.map(|quota| quota.amount).max().unwrap_or(0),
        }
    }
}

/// A joint reservation that was asked for.
#[derive(Debug)]
pub(super) struct Joint {
    pub(super) call: ReserveCall,
    pub(super) block: Block,
}

/// What they want together, per quota.
pub(super) fn sums(together: &[Waiting]) -> Vec<i64> {
    let mut sums = Vec::new();
    for waiting in together {
        sums.resize(waiting.call.quotas.len(), 0_i64);
        for (sum, quota) in sums.iter_mut().zip(waiting.call.quotas.iter()) {
            *sum = sum.saturating_add(quota.amount);
        }
    }
    sums
}

impl Joint {
    /// `None`: it would be more than one reservation can be.
    pub(super) fn of(
        id: RequestId,
        set: u64,
        together: &[Waiting],
        sums: Vec<i64>,
        now_ms: i64,
    ) -> Option<Self> {
        let first = &together.first()?.call;
        if sums.iter().any(|sum| *sum > AMOUNT_MAX) {
            return None;
        }
        let with_sum = |(quota, amount): (&Quota, i64)| Quota {
            amount,
            ..quota.clone()
        };
        let call = ReserveCall {
            id,
            quotas: first.quotas.iter().zip(sums).map(with_sum).collect(),
            members: together.iter().map(Waiting::member).collect(),
            trace: together.iter().find_map(|waiting| waiting.call.trace.clone()),
            ..first.clone()
        };
        let block = Block {
            workspace_id: call.workspace_id,
            set,
            quotas: call.quotas.clone(),
            draw_count: u32::try_from(together.len()).ok()?,
            asked_ms: now_ms,
        };
        Some(Self { call, block })
    }

    /// Everybody draws, in the order in which they came; each is told what it would have been told alone. What nobody
    /// is there for any more goes back. Answers also who could not draw.
    pub(super) fn shared(
        self,
        members: Vec<Waiting>,
        reserved: &Reserved,
    ) -> (Lease, Vec<(RequestId, Reserved)>, Vec<Waiting>) {
        let now_ms = self.block.asked_ms;
        let mut lease = Lease::new(self.block, reserved);
        // It is of the time at which it was asked for, as a request's own would be.
        lease.until_ms = Some(i64::MAX);
        let (mut answers, mut rest) = (Vec::with_capacity(members.len()), Vec::new());
        for member in members {
            if lease.draw(&member.call.quotas, now_ms) {
                let mut answer = reserved.clone();
                lease.count_as_free(&mut answer.results);
                answers.push((member.call.id, answer));
            } else {
                rest.push(member);
            }
        }
        lease.close();
        (lease, answers, rest)
    }
}
