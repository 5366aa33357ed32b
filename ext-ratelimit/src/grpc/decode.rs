//! Messages → what the ledger takes. Every refusal names the field.

use crate::ledger::{Caller, Member, Reserve, SettledAmount, Settlement};
use rateguard_model::id::{ApiId, InvalidId, KeyId, QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::{AMOUNT_MAX, QUOTAS_MAX, Quota};
use rateguard_wire::v1;
use std::time::Duration;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// Settlements, releases or renewals of one call.
pub(super) const BATCH_MAX: usize = 1_000;

/// Events of one call.
pub(super) const EVENTS_MAX: usize = 1_000;

/// Settlements and releases of one report: all leases of a worker besides those of its requests.
pub(super) const REPORTED_MAX: usize = 4_000;

/// Requests of one joint reservation.
const MEMBERS_MAX: usize = 128;

/// Longest life of a reservation between renewals: an hour.
const TTL_MS_MAX: u32 = 3_600_000;

fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

/// An id of the given field.
pub(super) fn id<'a, T: TryFrom<&'a [u8], Error = InvalidId>>(
    bytes: &'a [u8],
    field: &str,
) -> Result<T, Status> {
    T::try_from(bytes).map_err(|_| invalid(format!("{field}: must be 16 bytes")))
}

/// Empty is none.
fn optional_id<'a, T: TryFrom<&'a [u8], Error = InvalidId>>(
    bytes: &'a [u8],
    field: &str,
) -> Result<Option<T>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    id(bytes, field).map(Some)
}

fn ttl_ms(ttl_ms: u32) -> Result<u32, Status> {
    if (1..=TTL_MS_MAX).contains(&ttl_ms) {
        Ok(ttl_ms)
    } else {
        Err(invalid(format!("ttl_ms: must be 1..={TTL_MS_MAX}")))
    }
}

pub(super) fn batch_len(len: usize, max: usize, field: &str) -> Result<(), Status> {
    if len <= max {
        Ok(())
    } else {
        Err(invalid(format!("{field}: at most {max} per call")))
    }
}

/// How long the ledger may take: two thirds of the caller's deadline, which leaves it time for the answer from
/// memory. `None`: the caller named none.
pub(super) fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let header = metadata.get("grpc-timeout")?.to_str().ok()?;
    grpc_timeout(header).map(|deadline| deadline * 2 / 3)
}

/// `TimeoutValue TimeoutUnit` of the gRPC-over-HTTP2 specification: at most eight digits and one of `HMSmun`.
fn grpc_timeout(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3_600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// A reservation and the worker that asks for it.
pub(super) fn reserve(request: v1::ReserveRequest) -> Result<(Reserve, u64), Status> {
    let v1::ReserveRequest {
        reservation_id,
        workspace_id,
        key_id,
        api_id,
        ttl_ms: ttl,
        quotas,
        worker_id,
        members,
    } = request;
    let caller = Caller {
        key_id: optional_id::<KeyId>(&key_id, "key_id")?,
        api_id: optional_id::<ApiId>(&api_id, "api_id")?,
    };
    if quotas.is_empty() || quotas.len() > QUOTAS_MAX {
        return Err(invalid(format!("quotas: must be 1..={QUOTAS_MAX}")));
    }
    let quotas = quotas
        .into_iter()
        .enumerate()
        .map(|(at, wire)| quota(wire).map_err(|reason| invalid(format!("quotas[{at}].{reason}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let request = Reserve {
        id: id(&reservation_id, "reservation_id")?,
        workspace_id: id(&workspace_id, "workspace_id")?,
        caller,
        ttl_ms: ttl_ms(ttl)?,
        whole_since_ms: None,
        quotas,
        members: self::members(&members)?,
    };
    Ok((request, worker_id))
}

fn members(members: &[v1::Member]) -> Result<Vec<Member>, Status> {
    if members.len() > MEMBERS_MAX {
        return Err(invalid(format!("members: at most {MEMBERS_MAX}")));
    }
    let member = |(at, member): (usize, &v1::Member)| {
        if !(0..=AMOUNT_MAX).contains(&member.cost_nanos) {
            return Err(invalid(format!("members[{at}].cost_nanos: must be 0..2^53")));
        }
        Ok(Member {
            id: id(&member.request_id, &format!("members[{at}].request_id"))?,
            cost_nanos: member.cost_nanos,
        })
    };
    members.iter().enumerate().map(member).collect()
}

/// The reason starts with the field's name.
fn quota(wire: v1::Quota) -> Result<Quota, String> {
    Quota::try_from(wire).map_err(|invalid| {
        let field = invalid.field.rsplit('.').next().unwrap_or(invalid.field);
        format!("{field}: {}", invalid.fault)
    })
}

/// A settlement that can be applied, with whether an amount was too large and counts as 2^53 − 1 (RL-06: charged as
/// far as can be counted, and alerted). A release ignores what was used. The error names the field; retrying cannot
/// help.
pub(super) fn settlement(wire: v1::Settlement, is_release: bool) -> Result<(Settlement, bool), String> {
    let v1::Settlement {
        reservation_id,
        workspace_id,
        reserved_at_ms,
        amounts,
        part,
        is_block: _,
    } = wire;
    let id =
        RequestId::try_from(reservation_id.as_slice()).map_err(|_| "reservation_id: must be 16 bytes")?;
    let workspace_id =
        WorkspaceId::try_from(workspace_id.as_slice()).map_err(|_| "workspace_id: must be 16 bytes")?;
    if amounts.len() > QUOTAS_MAX {
        return Err(format!("amounts: at most {QUOTAS_MAX}"));
    }
    let mut saturated = false;
    let amounts = amounts
        .into_iter()
        .enumerate()
        .map(|(at, wire)| {
            let v1::SettledAmount {
                quota: wire,
                window_start_ms,
                actual,
                returned,
            } = wire;
            let actual = if is_release { 0 } else { actual };
            let wire = wire.ok_or_else(|| format!("amounts[{at}].quota: missing"))?;
            let quota = quota(wire).map_err(|reason| format!("amounts[{at}].quota.{reason}"))?;
            if actual < 0 {
                return Err(format!("amounts[{at}].actual: must not be negative"));
            }
            saturated |= actual > AMOUNT_MAX;
            Ok(SettledAmount {
                quota,
                window_start_ms,
                actual: actual.min(AMOUNT_MAX),
                returned,
            })
        })
        .collect::<Result<_, String>>()?;
    Ok((
        Settlement {
            id,
            workspace_id,
            reserved_at_ms,
            amounts,
            part,
        },
        saturated,
    ))
}

pub(super) fn renew(request: v1::RenewRequest) -> Result<(Vec<(WorkspaceId, RequestId)>, u32), Status> {
    let v1::RenewRequest {
        reservations,
        ttl_ms: ttl,
    } = request;
    batch_len(reservations.len(), BATCH_MAX, "reservations")?;
    let reservations = reservations
        .iter()
        .enumerate()
        .map(|(at, r)| {
            let workspace_id = id(&r.workspace_id, &format!("reservations[{at}].workspace_id"))?;
            Ok((
                workspace_id,
                id(&r.reservation_id, &format!("reservations[{at}].reservation_id"))?,
            ))
        })
        .collect::<Result<_, Status>>()?;
    Ok((reservations, ttl_ms(ttl)?))
}

pub(super) fn budget_ids(ids: &[Vec<u8>]) -> Result<Vec<QuotaId>, Status> {
    batch_len(ids.len(), BATCH_MAX, "budget_ids")?;
    ids.iter()
        .enumerate()
        .map(|(at, bytes)| id(bytes, &format!("budget_ids[{at}]")))
        .collect()
}

/// Budget, start of its window, what it has spent.
pub(super) fn spent_budgets(budgets: &[v1::SpentBudget]) -> Result<Vec<(QuotaId, i64, i64)>, Status> {
    batch_len(budgets.len(), BATCH_MAX, "budgets")?;
    let in_range = |value: i64| (0..=AMOUNT_MAX).contains(&value);
    budgets
        .iter()
        .enumerate()
        .map(|(at, budget)| {
            if !in_range(budget.spent) || !in_range(budget.window_start_ms) {
                return Err(invalid(format!("budgets[{at}]: must be 0..2^53")));
            }
            let budget_id = id(&budget.budget_id, &format!("budgets[{at}].budget_id"))?;
            Ok((budget_id, budget.window_start_ms, budget.spent))
        })
        .collect()
}

/// Whether the ids of an event can be stored; the rest is text that consumers bound.
pub(super) fn is_sound_event(event: &v1::RequestEvent) -> bool {
    let optional = [
        &event.workspace_id,
        &event.api_key_id,
        &event.api_id,
        &event.rule_id,
        &event.budget_id,
        &event.key_owner_id,
    ];
    event.members.is_empty()
        && event.event_id.len() == 16
        && optional.iter().all(|id| id.is_empty() || id.len() == 16)
}

#[cfg(test)]
mod tests;
