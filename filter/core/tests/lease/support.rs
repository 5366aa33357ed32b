//! Requests that meet a bucket and a budget, and what resolves them.

use rateguard_filter::effect::{ReserveCall, SettledAmount, Settlement};
use rateguard_filter::event::{Now, QuotaResult, Reserved};
use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::{FailureMode, Meter, Mode, Quota, QuotaKind, Unit};
use rateguard_model::window::Window;
use std::rc::Rc;

pub(crate) const TOTAL: Meter = Meter::FixedWindow {
    window: Window::Total,
};

pub(crate) const BUCKET: Meter = Meter::TokenBucket {
    refill_milli_per_s: 1_000,
};

pub(crate) fn at(ms: i64) -> Now {
    Now(ms.unsigned_abs() * 1_000_000)
}

pub(crate) fn id(n: u64) -> RequestId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    RequestId::v7(0, random)
}

pub(crate) fn quota(n: u8, meter: Meter, amount: i64) -> Quota {
    Quota {
        id: QuotaId::from_bytes([n; 16]),
        version: 1,
        kind: QuotaKind::Budget,
        unit: Unit::NanoUsd,
        limit: 1_000_000,
        meter,
        mode: Mode::Enforce,
        failure_mode: FailureMode::FailOpen,
        partition: "w".to_owned(),
        amount,
    }
}

/// A bucket of requests and a budget.
pub(crate) fn quotas(cost: i64) -> Vec<Quota> {
    let requests = Quota {
        kind: QuotaKind::Rule,
        unit: Unit::Requests,
        ..quota(1, BUCKET, 1)
    };
    vec![requests, quota(2, TOTAL, cost)]
}

pub(crate) fn call(n: u64, quotas: &[Quota]) -> ReserveCall {
    ReserveCall {
        members: Vec::new(),
        id: id(n),
        workspace_id: WorkspaceId::from_bytes([1; 16]),
        key_id: KeyId::from_bytes([2; 16]),
        api_id: ApiId::from_bytes([3; 16]),
        quotas: quotas.into(),
        trace: None,
    }
}

pub(crate) fn settlement(call: &ReserveCall, actual: i64) -> Settlement {
    let amount = |_: &Quota| SettledAmount {
        window_start_ms: 7,
        actual,
        returned: 0,
    };
    Settlement {
        id: call.id,
        workspace_id: call.workspace_id,
        reserved_at_ms: 0,
        quotas: Rc::clone(&call.quotas),
        amounts: call.quotas.iter().map(amount).collect(),
        part: 0,
        is_block: false,
    }
}

/// What the ledger says where everything fits; so much of each quota is left.
pub(crate) fn admitted(remaining: &[i64], spent: i64, reset_ms: i64) -> Reserved {
    let result = |remaining: &i64| QuotaResult {
        admitted: true,
        remaining: *remaining,
        reset_ms,
        retry_after_ms: None,
        spent,
        reserved: 1_000,
        window_start_ms: 7,
    };
    Reserved {
        admitted: true,
        degraded: false,
        live_workers: 1,
        results: remaining.iter().map(result).collect(),
    }
}
