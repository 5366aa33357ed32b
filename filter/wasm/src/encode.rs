//! Messages to and from the limit service and the feed.

use prost::Message as _;
use rateguard_filter::effect::{ReserveCall, Settlement};
use rateguard_filter::event::{QuotaResult, Reserved};
use rateguard_filter::snapshot::{Removal, Update};
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_wire::v1;
use rateguard_wire::write::{self, Writer};

/// Why an answer of the feed is refused. The text goes back to the control plane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error("not a PollResponse: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("{0}")]
    Invalid(#[from] rateguard_wire::convert::Invalid),
    #[error("the version is empty")]
    NoVersion,
    #[error("removals.type is unknown")]
    RemovalType,
    #[error("removals.id is not 16 bytes")]
    RemovalId,
}

/// A gRPC frame: no compression, then the message's length.
const FRAME_BYTES: usize = 5;

/// `ReserveRequest`, framed.
pub(crate) fn reserve(call: &ReserveCall, worker_id: u64, ttl_ms: u32) -> Vec<u8> {
    let mut framed = Vec::with_capacity(768);
    framed.resize(FRAME_BYTES, 0);
    let mut writer = Writer(&mut framed);
    writer.bytes(1, call.id.as_bytes());
    writer.bytes(2, call.workspace_id.as_bytes());
    writer.bytes(3, call.key_id.as_bytes());
    writer.bytes(4, call.api_id.as_bytes());
    writer.uint(5, u64::from(ttl_ms));
    for quota in call.quotas.iter() {
        write::quota(&mut writer, 6, quota);
    }
    writer.fixed64(7, worker_id);
    for member in &call.members {
        writer.message(8, |w| {
            w.bytes(1, member.id.as_bytes());
            w.int(2, member.cost_nanos);
        });
    }
    let length = (framed.len().saturating_sub(FRAME_BYTES) as u32).to_be_bytes();
    if let Some(place) = framed.get_mut(1..FRAME_BYTES) {
        place.copy_from_slice(&length);
    }
    framed
}

/// The one message of a unary answer. `None`: it is not one, or not all of one.
pub(crate) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let ([compressed, length @ ..], message) = body.split_first_chunk::<FRAME_BYTES>()?;
    (*compressed == 0 && u32::from_be_bytes(*length) as usize == message.len()).then_some(message)
}

/// `None`: not an answer; an empty or garbled one means "unavailable", never "admitted".
pub(crate) fn reserved(message: &[u8], quota_count: usize) -> Option<Reserved> {
    let answer = v1::ReserveResponse::decode(message).ok()?;
    let admitted = match answer.outcome() {
        v1::Outcome::Admitted => true,
        v1::Outcome::Rejected => false,
        v1::Outcome::Unspecified => return None,
    };
    if answer.results.len() != quota_count {
        return None;
    }
    let results = answer
        .results
        .into_iter()
        .map(|result| QuotaResult {
            admitted: result.admitted,
            remaining: result.remaining,
            reset_ms: result.reset_ms,
            retry_after_ms: (!result.admitted && result.retry_after_ms >= 0).then_some(result.retry_after_ms),
            spent: result.spent,
            reserved: result.reserved,
            window_start_ms: result.window_start_ms,
        })
        .collect();
    Some(Reserved {
        admitted,
        degraded: answer.degraded,
        live_workers: answer.live_workers,
        results,
    })
}

/// Appends one entry of `ReportUsageRequest.settlements`, or of its `releases`.
pub(crate) fn settlement(bytes: &mut Vec<u8>, settlement: &Settlement, is_release: bool) {
    Writer(bytes).message(if is_release { 4 } else { 3 }, |w| {
        w.bytes(1, settlement.id.as_bytes());
        w.bytes(2, settlement.workspace_id.as_bytes());
        w.int(3, settlement.reserved_at_ms);
        w.uint(5, u64::from(settlement.part));
        w.flag(6, settlement.is_block);
        for (quota, amount) in settlement.quotas.iter().zip(&settlement.amounts) {
            w.message(4, |w| {
                write::quota(w, 1, quota);
                w.int(2, amount.window_start_ms);
                w.int(3, amount.actual);
                w.int(4, amount.returned);
            });
        }
    });
}

/// Appends one entry of `ReportUsageRequest.events`.
pub(crate) fn event(bytes: &mut Vec<u8>, event: &RequestEvent) {
    write::event(&mut Writer(bytes), 2, event);
}

/// The part of a `ReportUsageRequest` that comes before its events.
pub(crate) fn report_prefix(node_id: &str) -> Vec<u8> {
    v1::ReportUsageRequest {
        node_id: node_id.to_owned(),
        ..v1::ReportUsageRequest::default()
    }
    .encode_to_vec()
}

/// What became of a batch. An empty or garbled answer says that nothing was taken.
pub(crate) fn taken(message: &[u8]) -> v1::ReportUsageResponse {
    v1::ReportUsageResponse::decode(message).unwrap_or_default()
}

pub(crate) fn renew(reservations: &[(RequestId, WorkspaceId)], ttl_ms: u32) -> Vec<u8> {
    let reservations = reservations
        .iter()
        .map(|(id, workspace_id)| v1::ReservationRef {
            reservation_id: id.as_bytes().to_vec(),
            workspace_id: workspace_id.as_bytes().to_vec(),
        })
        .collect();
    v1::RenewRequest { reservations, ttl_ms }.encode_to_vec()
}

/// An answer of the feed, every part of it checked.
pub(crate) fn update(message: &[u8]) -> Result<Feed, Undecodable> {
    let answer = v1::PollResponse::decode(message)?;
    let v1::PollResponse {
        version,
        nonce,
        full,
        workspaces,
        apis,
        keys,
        rules,
        budgets,
        data_plane_tokens: _,
        removals,
        now_ms: _,
        page,
        next_page,
        may_shrink,
        has_ledger: _,
    } = answer;
    if version.is_empty() {
        return Err(Undecodable::NoVersion);
    }
    let update = Update {
        version,
        full,
        continues: !page.is_empty(),
        has_more: !next_page.is_empty(),
        may_shrink,
        workspaces: all(workspaces)?,
        apis: all(apis)?,
        keys: all(keys)?,
        rules: all(rules)?,
        budgets: all(budgets)?,
        removals: removals
            .into_iter()
            .filter_map(|removal| self::removal(&removal).transpose())
            .collect::<Result<_, _>>()?,
    };
    Ok(Feed {
        update,
        nonce,
        next_page,
    })
}

pub(crate) struct Feed {
    pub(crate) update: Update,
    pub(crate) nonce: String,
    /// Asks for the rest of a full update; empty if this is all.
    pub(crate) next_page: String,
}

/// The nonce of an answer whose rest could not be used.
pub(crate) fn nonce(message: &[u8]) -> String {
    v1::PollResponse::decode(message)
        .map(|answer| answer.nonce)
        .unwrap_or_default()
}

fn all<W, M: TryFrom<W, Error = rateguard_wire::convert::Invalid>>(
    messages: Vec<W>,
) -> Result<Vec<M>, rateguard_wire::convert::Invalid> {
    messages.into_iter().map(M::try_from).collect()
}

/// `None`: of a kind that the filter does not hold.
fn removal(removal: &v1::Removal) -> Result<Option<Removal>, Undecodable> {
    let id = removal.id.as_slice();
    let bad = |_| Undecodable::RemovalId;
    Ok(Some(match removal.r#type() {
        v1::ResourceType::Workspace => Removal::Workspace(id.try_into().map_err(bad)?),
        v1::ResourceType::Api => Removal::Api(id.try_into().map_err(bad)?),
        v1::ResourceType::Key => Removal::Key(id.try_into().map_err(bad)?),
        v1::ResourceType::Rule => Removal::Rule(id.try_into().map_err(bad)?),
        v1::ResourceType::Budget => Removal::Budget(id.try_into().map_err(bad)?),
        v1::ResourceType::DataPlaneToken => return Ok(None),
        v1::ResourceType::Unspecified => return Err(Undecodable::RemovalType),
    }))
}
