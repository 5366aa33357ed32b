//! What one insert will hold, and where it came from.

use crate::analytics::dedup::{EventKey, Recent, key_of};
use crate::analytics::late::{Charge, Saying};
use crate::analytics::row::{ApiEvent, Receipt};
use crate::analytics::source::{DeadLetter, Message, Offset, Payload};
use crate::analytics::spend::Mark;
use prost::{DecodeError, Message as _};
use rateguard_wire::bus::MARK_NODE;
use rateguard_wire::v1::{Member, ReportUsageRequest, RequestEvent};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A batch this large is inserted at once: SPEC 5 asks for a thousand at least. An insert goes to nine tables and costs
/// ClickHouse 88 ms of CPU with a thousand rows, 138 with four thousand.
pub const ROWS_ENOUGH: usize = 4_000;

/// Bytes of messages after which a batch is inserted however few its rows are.
const BYTES_ENOUGH: usize = 8 << 20;

/// Bytes of a dead letter that are kept.
const DEAD_BYTES_MAX: usize = 64 << 10;

/// Rows in the order of their messages, without duplicates.
#[derive(Debug, Default)]
pub struct Batch {
    pub rows: Vec<ApiEvent>,
    pub dead: Vec<DeadLetter>,
    /// Not rows: somebody waits for them to come by.
    pub marks: Vec<Mark>,
    /// Every message that it was made of, malformed ones and duplicates too.
    pub offsets: Vec<Offset>,
    pub duplicates: u64,
    keys: HashSet<EventKey>,
    /// Of its rows, by event.
    charges: HashMap<u128, Charge>,
    /// Charges that were taken back before they came, and when.
    pub voids: Vec<(u128, i64)>,
    bytes: usize,
}

impl Batch {
    /// Takes a message's events, but for those that `recent` or the batch has.
    pub fn add(&mut self, lane: &str, message: Message, recent: &Recent) {
        let Message {
            offset,
            received_at_ms,
            payload,
        } = message;
        self.offsets.push(offset);
        let (Payload::Report(bytes) | Payload::Event { bytes, .. }) = &payload;
        self.bytes = self.bytes.saturating_add(bytes.len());
        let ReportUsageRequest { node_id, events, .. } = match report(payload) {
            Ok(report) => report,
            Err((error, bytes)) => return self.bury(lane, offset, reason(&error), bytes),
        };
        if node_id == MARK_NODE {
            return self
                .marks
                .extend(events.iter().filter_map(|event| mark(event, received_at_ms)));
        }
        for mut event in events {
            let receipt = Receipt {
                received_at_ms,
                node_id: &node_id,
            };
            // Kept for the letter: what cannot be a row is rare, but must not be lost.
            let copy = event.clone();
            let members = std::mem::take(&mut event.members);
            match ApiEvent::of(event, receipt) {
                Ok(row) if members.is_empty() => self.push(row, recent),
                Ok(row) => self.push_joint(row, &members, recent),
                Err(error) => self.bury(lane, offset, reason(&error), copy.encode_to_vec()),
            }
        }
    }

    /// A joint reservation that nobody settled: who of its members has no row gets one, out of its cost. Its own row
    /// keeps the rest, and says that this was done.
    fn push_joint(&mut self, mut row: ApiEvent, members: &[Member], recent: &Recent) {
        if !self.is_known(&row, recent) {
            let ids = members.iter().map(|member| Uuid::from_slice(&member.request_id));
            for (event_id, member) in ids.zip(members) {
                let Ok(event_id) = event_id else { continue };
                let own = ApiEvent {
                    event_id,
                    cost_nanos: member.cost_nanos,
                    ..row.clone()
                };
                if !self.is_known(&own, recent) {
                    row.cost_nanos = row.cost_nanos.saturating_sub(own.cost_nanos);
                    self.push(own, recent);
                }
            }
        }
        self.push(row, recent);
    }

    /// Whether a charge was stored, or taken back before it came.
    fn is_known(&self, row: &ApiEvent, recent: &Recent) -> bool {
        let (id, key) = (row.event_id.as_u128(), key_of(row));
        recent.contains(&key) || self.keys.contains(&key) || self.is_void(id, recent)
    }

    fn is_void(&self, id: u128, recent: &Recent) -> bool {
        recent.is_void(id) || self.voids.iter().any(|(void, _)| *void == id)
    }

    fn push(&mut self, mut row: ApiEvent, recent: &Recent) {
        let id = row.event_id.as_u128();
        let saying = Saying::of(&row);
        if saying != Saying::Charged
            && let Some(charge) = self.charges.get(&id).or_else(|| recent.charge(id))
        {
            charge.revise(&mut row);
        } else if saying == Saying::Void {
            self.voids.push((id, row.received_at));
            return;
        }
        if saying == Saying::Charged && self.is_void(id, recent) {
            self.duplicates += 1;
            return;
        }
        let key = key_of(&row);
        if recent.contains(&key) || !self.keys.insert(key) {
            self.duplicates += 1;
            return;
        }
        if saying == Saying::Charged {
            self.charges.insert(id, Charge::of(&row));
        }
        self.rows.push(row);
    }

    fn bury(&mut self, lane: &str, offset: Offset, reason: String, payload: Vec<u8>) {
        self.dead.push(letter(lane, offset, reason, payload));
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Whether it is inserted without waiting for more.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_ENOUGH || self.bytes >= BYTES_ENOUGH || !self.marks.is_empty()
    }

    /// Names the insert: the same messages give the same name, so that one that is repeated changes nothing.
    pub fn token(&self, lane: &str) -> String {
        match (self.offsets.first(), self.offsets.last()) {
            (Some(first), Some(last)) => format!("{lane}-{first}-{last}"),
            _ => lane.to_owned(),
        }
    }
}

/// What a message says, or why it says nothing, with its bytes.
fn report(payload: Payload) -> Result<ReportUsageRequest, (DecodeError, Vec<u8>)> {
    match payload {
        Payload::Report(bytes) => {
            ReportUsageRequest::decode(bytes.as_slice()).map_err(|error| (error, bytes))
        }
        Payload::Event { node, bytes } => match RequestEvent::decode(bytes.as_slice()) {
            Ok(event) => Ok(ReportUsageRequest {
                node_id: node,
                events: vec![event],
                ..ReportUsageRequest::default()
            }),
            Err(error) => Err((error, bytes)),
        },
    }
}

fn mark(event: &RequestEvent, received_at_ms: i64) -> Option<Mark> {
    Some(Mark {
        workspace_id: Uuid::from_slice(&event.workspace_id).ok()?,
        mark_id: Uuid::from_slice(&event.event_id).ok()?,
        passed_at: u32::try_from(received_at_ms / 1_000).ok()?,
    })
}

/// An error with its causes.
fn reason(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// A letter of bounded size.
pub(super) fn letter(lane: &str, offset: Offset, reason: String, mut payload: Vec<u8>) -> DeadLetter {
    payload.truncate(DEAD_BYTES_MAX);
    DeadLetter {
        origin: format!("{lane}@{offset}"),
        reason,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rateguard_wire::v1::UsageSource;

    const NOW_MS: i64 = 1_780_000_000_000;

    fn event(id: u8, revision: u32) -> RequestEvent {
        RequestEvent {
            event_id: vec![id; 16],
            workspace_id: vec![1; 16],
            timestamp_ms: NOW_MS,
            revision,
            ..RequestEvent::default()
        }
    }

    fn message(offset: u64, events: Vec<RequestEvent>) -> Message {
        let report = ReportUsageRequest {
            node_id: "envoy-1".into(),
            events,
            ..ReportUsageRequest::default()
        };
        Message {
            offset: Offset(offset, 0),
            received_at_ms: NOW_MS,
            payload: Payload::Report(report.encode_to_vec()),
        }
    }

    #[test]
    fn ev_02_what_was_stored_or_is_in_the_batch_is_dropped() {
        let recent = stored(vec![event(1, 0)]);
        let mut batch = Batch::default();
        batch.add("s", message(1, vec![event(1, 0), event(2, 0)]), &recent);
        batch.add(
            "s",
            message(2, vec![event(2, 0), event(2, 1), event(1, 1)]),
            &recent,
        );
        let kept: Vec<_> = batch
            .rows
            .iter()
            .map(|row| (row.event_id.as_bytes()[0], row.revision))
            .collect();
        assert_eq!(kept, [(2, 0), (2, 1), (1, 1)]);
        assert_eq!(batch.duplicates, 2);
        assert_eq!(batch.token("s"), "s-1-0-2-0");
    }

    /// What a consumer remembers that stored these.
    fn stored(events: Vec<RequestEvent>) -> Recent {
        let mut batch = Batch::default();
        batch.add("s", message(1, events), &Recent::default());
        let mut recent = Recent::default();
        for row in &batch.rows {
            recent.insert(row);
        }
        recent
    }

    fn costing(id: u8, revision: u32, cost_nanos: i64, source: UsageSource) -> RequestEvent {
        RequestEvent {
            cost_nanos,
            usage_source: source.into(),
            ..event(id, revision)
        }
    }

    fn costs(batch: &Batch) -> Vec<(u8, i64)> {
        let rows = batch.rows.iter();
        rows.map(|row| (row.revision, row.cost_nanos)).collect()
    }

    #[test]
    fn ev_13_members_of_a_joint_charge_without_a_row_get_one_out_of_its_cost() {
        let joint = || RequestEvent {
            members: [(1, 30), (2, 20), (3, 20)]
                .map(|(id, cost_nanos)| Member {
                    request_id: vec![id; 16],
                    cost_nanos,
                })
                .to_vec(),
            // The first was settled, and its part given back.
            ..costing(9, 0, 40, UsageSource::Reserved)
        };
        let told = |batch: &Batch| -> Vec<(u8, u8, i64)> {
            let rows = batch.rows.iter();
            rows.map(|row| (row.event_id.as_bytes()[0], row.revision, row.cost_nanos))
                .collect()
        };
        let first = costing(1, 0, 25, UsageSource::Reported);
        let mut batch = Batch::default();
        let again = vec![first.clone(), joint(), joint()];
        batch.add("s", message(1, again), &Recent::default());
        assert_eq!(told(&batch), [(1, 0, 25), (2, 0, 20), (3, 0, 20), (9, 0, 0)]);
        // It comes again, one of them is told of after all, and then the whole reservation is settled.
        let recent = stored(vec![first, joint()]);
        let mut batch = Batch::default();
        let late = costing(2, 0, 12, UsageSource::Reported);
        let void = costing(9, 1, 0, UsageSource::Reserved);
        batch.add("s", message(2, vec![joint(), late, void.clone()]), &recent);
        assert_eq!(told(&batch), [(2, 1, -8), (9, 1, 0)]);
        // Settled before anybody was told that it had expired.
        let mut batch = Batch::default();
        batch.add("s", message(3, vec![void, joint()]), &Recent::default());
        assert_eq!(told(&batch), []);
    }

    #[test]
    fn rl_05_a_request_that_was_charged_as_reserved_adds_the_difference() {
        let charged = || costing(1, 0, 70, UsageSource::Reserved);
        let happened = || costing(1, 0, 20, UsageSource::Reported);
        // In one batch, or over two, or again after a restart.
        let mut batch = Batch::default();
        let events = vec![charged(), happened(), happened(), charged()];
        batch.add("s", message(1, events), &Recent::default());
        assert_eq!(costs(&batch), [(0, 70), (1, -50)]);
        assert_eq!(batch.duplicates, 2);
        let mut batch = Batch::default();
        batch.add("s", message(2, vec![happened()]), &stored(vec![charged()]));
        assert_eq!(costs(&batch), [(1, -50)]);
        let recent = stored(vec![charged(), happened()]);
        let mut batch = Batch::default();
        batch.add("s", message(3, vec![happened(), charged()]), &recent);
        assert_eq!(costs(&batch), []);
    }

    #[test]
    fn rl_05_a_charge_that_comes_after_the_request_is_a_duplicate() {
        let happened = costing(1, 0, 20, UsageSource::Reported);
        let mut batch = Batch::default();
        let charged = costing(1, 0, 70, UsageSource::Reserved);
        batch.add("s", message(2, vec![charged]), &stored(vec![happened]));
        assert_eq!(costs(&batch), []);
    }

    #[test]
    fn rl_05_a_charge_that_is_void_is_taken_back_once_where_it_was_counted() {
        let charged = RequestEvent {
            api_key_id: vec![7; 16],
            timestamp_ms: NOW_MS - 5_000,
            ..costing(1, 0, 70, UsageSource::Reserved)
        };
        let void = || costing(1, 1, 0, UsageSource::Reserved);
        let mut batch = Batch::default();
        batch.add("s", message(1, vec![void()]), &Recent::default());
        assert_eq!(costs(&batch), [], "nothing was charged");
        batch.add("s", message(2, vec![charged.clone()]), &Recent::default());
        assert_eq!(costs(&batch), [], "it was taken back before it came");
        let mut recent = Recent::default();
        for (id, received_at) in &batch.voids {
            recent.note_void(*id, *received_at);
        }
        let mut batch = Batch::default();
        batch.add("s", message(3, vec![charged.clone()]), &recent);
        assert_eq!(costs(&batch), []);
        batch.add("s", message(4, vec![charged, void(), void()]), &Recent::default());
        assert_eq!(costs(&batch), [(0, 70), (1, -70)]);
        assert_eq!(batch.rows[0].timestamp, batch.rows[1].timestamp);
        assert_eq!(batch.rows[0].api_key_id, batch.rows[1].api_key_id);
    }

    #[test]
    fn a_mark_is_no_row_and_ends_the_batch() {
        let mut batch = Batch::default();
        let recent = Recent::default();
        batch.add("s", message(1, vec![event(1, 0)]), &recent);
        assert!(!batch.is_full());
        let report = ReportUsageRequest {
            node_id: MARK_NODE.into(),
            events: vec![event(2, 1)],
            ..ReportUsageRequest::default()
        };
        let mark = Message {
            payload: Payload::Report(report.encode_to_vec()),
            ..message(2, Vec::new())
        };
        batch.add("s", mark, &recent);
        assert_eq!((batch.rows.len(), batch.offsets.len()), (1, 2));
        assert_eq!(batch.marks[0].mark_id, Uuid::from_bytes([2; 16]));
        assert!(batch.is_full());
    }

    #[test]
    fn ev_12_a_malformed_message_and_a_malformed_event_are_buried_alone() {
        let mut batch = Batch::default();
        let recent = Recent::default();
        let mut garbage = message(3, Vec::new());
        garbage.payload = Payload::Report(vec![0xff; DEAD_BYTES_MAX + 1]);
        batch.add("s", garbage, &recent);
        let mut nameless = event(3, 0);
        nameless.event_id.clear();
        batch.add("s", message(4, vec![nameless, event(4, 0)]), &recent);
        assert_eq!(
            (batch.rows.len(), batch.dead.len(), batch.offsets.len()),
            (1, 2, 2)
        );
        assert_eq!(batch.dead[0].origin, "s@3-0");
        assert_eq!(batch.dead[0].payload.len(), DEAD_BYTES_MAX);
        assert!(batch.dead.iter().all(|letter| !letter.reason.is_empty()));
    }

    #[test]
    fn an_event_alone_is_a_row_with_its_data_planes_name() {
        let alone = |bytes: Vec<u8>| Message {
            payload: Payload::Event {
                node: "envoy-2".into(),
                bytes,
            },
            ..message(7, Vec::new())
        };
        let mut batch = Batch::default();
        let recent = Recent::default();
        batch.add("k", alone(event(5, 0).encode_to_vec()), &recent);
        // What Kafka calls a tombstone, and garbage.
        batch.add("k", alone(Vec::new()), &recent);
        batch.add("k", alone(vec![0xff; 3]), &recent);
        let nodes: Vec<_> = batch.rows.iter().map(|row| row.node_id.as_str()).collect();
        assert_eq!(nodes, ["envoy-2"]);
        assert_eq!((batch.dead.len(), batch.offsets.len()), (2, 3));
    }
}
