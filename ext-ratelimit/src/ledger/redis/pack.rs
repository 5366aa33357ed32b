//! Arguments and replies of the scripts, as Redis' `struct` library packs them: little-endian, numbers as doubles,
//! which count integers below 2^53 exactly. The layouts are described at the head of each script in lua/.

use crate::ledger::check::{self, Part};
use crate::ledger::{
    Caller, LedgerError, Member, QuotaResult, Reserve, Reserved, SettledAmount, Settlement, Spent,
};
use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId};
use rateguard_model::quota::{Meter, Quota};
use rateguard_model::window::Window;

/// How long a state outlives the time it is read for, in ms.
const SLACK_MS: i64 = 1_000;

/// What `reserve.lua` is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    NothingToSettle = 0,
    Opens = 1,
    Look = 2,
}

/// Number of a meter in every script.
pub(super) fn meter_number(meter: &Meter) -> u8 {
    match meter {
        Meter::TokenBucket { .. } => 0,
        Meter::SlidingWindow { .. } => 1,
        Meter::FixedWindow { .. } => 2,
    }
}

#[derive(Debug, Default)]
pub(super) struct Packer(pub(super) Vec<u8>);

impl Packer {
    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn short(&mut self, value: usize) -> &mut Self {
        // Counts and indexes are bounded by the callers, far below 2^16.
        self.0
            .extend_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes());
        self
    }

    pub(super) fn long(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn number(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&(value as f64).to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }
}

/// Reads what a script packed. `None` beyond the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn short(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes(self.take(2)?.try_into().ok()?)))
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        Some(f64::from_le_bytes(self.take(8)?.try_into().ok()?) as i64)
    }
}

/// ARGV 2 of `reserve.lua`.
pub(super) fn reserve_header(kind: Kind, request: &Reserve, slot_end_ms: i64) -> Vec<u8> {
    let mut packer = Packer::default();
    packer
        .byte(kind as u8)
        .number(i64::from(request.ttl_ms))
        .number(slot_end_ms)
        .number(check::MEMORY_MS)
        .short(request.quotas.len())
        .number(request.whole_since_ms.unwrap_or(-1));
    packer.0
}

/// One quota of `reserve.lua`. `at_ms` decides which windows are sent.
pub(super) fn reserve_quota(quota: &Quota, at_ms: i64) -> Vec<u8> {
    let part = match check::part(quota) {
        Part::Enforce => 0,
        Part::ShadowWhenItFits => 1,
        Part::ShadowAlways => 2,
    };
    let mut packer = Packer(Vec::with_capacity(59));
    packer
        .byte(meter_number(&quota.meter))
        .byte(part)
        .byte(u8::from(check::is_held(quota)));
    packer.number(quota.amount).number(quota.limit);
    match quota.meter {
        Meter::TokenBucket { refill_milli_per_s } => {
            packer
                .number(refill_milli_per_s as i64)
                .number(0)
                .number(0)
                .number(0);
            packer.number(full_after_ms(quota.limit, refill_milli_per_s) + SLACK_MS)
        }
        Meter::SlidingWindow { window_ms } => packer
            .number(window_ms as i64)
            .number(0)
            .number(0)
            .number(0)
            .number(0),
        Meter::FixedWindow { window } => {
            let [previous, current, next] = check::around(window, at_ms);
            packer
                .number(previous.start_ms.max(0))
                .number(current.start_ms.max(0))
                .number(next.start_ms);
            packer.number(next.end_ms).number(check::MEMORY_MS)
        }
    };
    packer.0
}

/// How long an empty bucket takes to be full, in ms, rounded up.
fn full_after_ms(limit: i64, refill_milli_per_s: u64) -> i64 {
    let micro = i128::from(limit) * 1_000_000;
    let ms = micro / i128::from(refill_milli_per_s.max(1)) + 1;
    ms.min(i128::from(check::WAIT_MS_MAX)) as i64
}

/// The answer of `reserve.lua`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReserveReply {
    Decided(Reserved),
    /// The windows that were sent are not of the server's time.
    OtherTime {
        now_ms: i64,
    },
    /// The workspace's buckets are not known to be whole.
    Unknown,
}

/// `None`: not a reply of that script for these quotas.
pub(super) fn reserve_reply(reply: &[u8], quotas: &[Quota]) -> Option<ReserveReply> {
    let mut reader = Reader(reply);
    let outcome = reader.byte()?;
    let now_ms = reader.number()?;
    let admitted = match outcome {
        1 => true,
        2 => false,
        3 => return Some(ReserveReply::OtherTime { now_ms }),
        4 => return Some(ReserveReply::Unknown),
        _ => return None,
    };
    let results = quotas
        .iter()
        .map(|quota| quota_result(&mut reader, quota, now_ms))
        .collect::<Option<Vec<_>>>()?;
    reader.0.is_empty().then_some(ReserveReply::Decided(Reserved {
        admitted,
        now_ms,
        results,
    }))
}

fn quota_result(reader: &mut Reader<'_>, quota: &Quota, now_ms: i64) -> Option<QuotaResult> {
    let admitted = reader.byte()? == 1;
    let (a, b, c) = (reader.number()?, reader.number()?, reader.number()?);
    let result = match quota.meter {
        Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => QuotaResult {
            admitted,
            remaining: quota.limit - a,
            reset_ms: b,
            retry_after_ms: (c >= 0).then_some(c),
            spent: a,
            reserved: 0,
            window_start_ms: if matches!(quota.meter, Meter::SlidingWindow { .. }) {
                now_ms
            } else {
                0
            },
        },
        Meter::FixedWindow { window } => {
            let reset_ms = check::reset_ms(window, c, now_ms);
            let never = admitted || quota.amount > quota.limit || window == Window::Total;
            QuotaResult {
                admitted,
                remaining: quota.limit - a - b,
                reset_ms,
                retry_after_ms: (!never).then_some(reset_ms),
                spent: a,
                reserved: b,
                window_start_ms: c,
            }
        }
    };
    Some(result)
}

/// In place of a key or an API that was not named.
const NOBODY: [u8; 16] = [0; 16];

/// What the sweeper must know of a reservation, its caller, its quotas and its members: ARGV 3 of `reserve.lua`, opaque to it. `at_ms`
/// decides which windows it may be.
pub(super) fn charges(request: &Reserve, at_ms: i64) -> Vec<u8> {
    let mut packer = Packer(Vec::with_capacity(32 + 64 * request.quotas.len()));
    let Caller { key_id, api_id } = request.caller;
    packer
        .bytes(key_id.as_ref().map_or(&NOBODY[..], |id| id.as_bytes()))
        .bytes(api_id.as_ref().map_or(&NOBODY[..], |id| id.as_bytes()));
    for quota in &request.quotas {
        packer
            .bytes(quota.id.as_bytes())
            .bytes(&quota.version.to_le_bytes());
        packer
            .byte(u8::from(check::needs_settling(quota)))
            .byte(u8::from(check::is_held(quota)));
        packer
            .byte(quota.partition.len() as u8)
            .bytes(quota.partition.as_bytes());
        packer
            .number(quota.amount)
            .number(keep_until_ms(&quota.meter, at_ms));
    }
    if !request.members.is_empty() {
        packer.bytes(&NOBODY).long(0).byte(MEMBERS);
        packer.short(request.members.len());
        for member in &request.members {
            packer.bytes(member.id.as_bytes()).number(member.cost_nanos);
        }
    }
    packer.0
}

/// When the state of any window that a reservation of `at_ms` may be in can go.
fn keep_until_ms(meter: &Meter, at_ms: i64) -> i64 {
    match meter {
        Meter::FixedWindow { window } => {
            let [_, _, next] = check::around(*window, at_ms);
            next.end_ms
                .saturating_add(check::MEMORY_MS)
                .min(check::END_OF_TIME_MS)
        }
        Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => 0,
    }
}

/// Where a quota says whether it needs settling: these are no quota but the members of a joint reservation, at the end.
const MEMBERS: u8 = 2;

/// Added to a record's state when its reports follow.
const REPORTED: u8 = 16;

/// One quota of a stored reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredCharge {
    pub(super) quota_id: QuotaId,
    pub(super) version: u32,
    pub(super) partition: String,
    pub(super) needs_settling: bool,
    pub(super) is_held: bool,
    /// Without what reports gave back.
    pub(super) amount: i64,
    pub(super) keep_until_ms: i64,
    pub(super) window_start_ms: i64,
}

/// A stored reservation, with the keys of the buckets that it did not charge, each followed by a line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The last report; 0 if there was none.
    pub(super) part: u32,
    pub(super) skipped: String,
    pub(super) caller: Caller,
    pub(super) charges: Vec<StoredCharge>,
    pub(super) members: Vec<Member>,
}

/// Reads a record of the `held` hash.
pub(super) fn record(bytes: &[u8]) -> Option<Record> {
    let mut reader = Reader(bytes);
    let state = reader.byte()?;
    let (reply_len, skipped_len) = (reader.short()?, reader.short()?);
    let mut reply = Reader(reader.take(reply_len)?);
    reply.take(9)?;
    let skipped = String::from_utf8(reader.take(skipped_len)?.to_vec()).ok()?;
    let (mut part, mut returned) = (0, Vec::new());
    if state >= REPORTED {
        part = reader.long()?;
        for _ in 0..reader.short()? {
            returned.push(reader.number()?);
            // What was used is no charge of the sweeper's.
            reader.number()?;
        }
    }
    let mut returned = returned.into_iter();
    let (key_id, api_id) = (reader.take(16)?, reader.take(16)?);
    let caller = Caller {
        key_id: KeyId::try_from(key_id).ok().filter(|_| key_id != NOBODY),
        api_id: ApiId::try_from(api_id).ok().filter(|_| api_id != NOBODY),
    };
    let (mut charges, mut members) = (Vec::new(), Vec::new());
    while !reader.0.is_empty() {
        let quota_id = QuotaId::try_from(reader.take(16)?).ok()?;
        let version = u32::from_le_bytes(reader.take(4)?.try_into().ok()?);
        let kind = reader.byte()?;
        if kind == MEMBERS {
            members = self::members(&mut reader)?;
            break;
        }
        let (needs_settling, is_held) = (kind == 1, reader.byte()? == 1);
        let partition_len = usize::from(reader.byte()?);
        let partition = String::from_utf8(reader.take(partition_len)?.to_vec()).ok()?;
        let (amount, keep_until_ms) = (reader.number()?, reader.number()?);
        reply.take(17)?;
        let window_start_ms = reply.number()?;
        charges.push(StoredCharge {
            quota_id,
            version,
            partition,
            needs_settling,
            is_held,
            amount: amount.saturating_sub(returned.next().unwrap_or(0)),
            keep_until_ms,
            window_start_ms,
        });
    }
    Some(Record {
        part,
        skipped,
        caller,
        charges,
        members,
    })
}

fn members(reader: &mut Reader<'_>) -> Option<Vec<Member>> {
    let count = reader.short()?;
    let member = |_| {
        Some(Member {
            id: request_id(reader.take(16)?)?,
            cost_nanos: reader.number()?,
        })
    };
    (0..count).map(member).collect()
}

/// A value of the `expired` hash: when it expired (Unix ms), and its record.
pub(super) fn expired(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut reader = Reader(bytes);
    let expired_at_ms = reader.number()?;
    Some((expired_at_ms, reader.0))
}

/// One amount of `settle.lua`.
pub(super) fn settled_amount(
    packer: &mut Packer,
    settlement: &Settlement,
    amount: &SettledAmount,
    bucket: usize,
    log: usize,
) {
    let SettledAmount {
        quota,
        window_start_ms,
        actual,
        returned,
    } = amount;
    let reserved_at_ms = settlement.reserved_at_ms;
    packer
        .byte(meter_number(&quota.meter))
        .byte(u8::from(check::is_held(quota)))
        .short(bucket)
        .short(log);
    packer.number(quota.amount).number(*actual);
    match quota.meter {
        Meter::TokenBucket { refill_milli_per_s } => packer
            .number(0)
            .number(quota.limit)
            .number(refill_milli_per_s as i64)
            .number(*returned),
        Meter::SlidingWindow { window_ms } => {
            packer.number(check::entry_ms(*window_start_ms, reserved_at_ms));
            packer.number(window_ms as i64).number(0).number(0)
        }
        Meter::FixedWindow { window } => {
            let charged = check::charged_window(window, *window_start_ms, reserved_at_ms);
            let end_ms = charged.end_ms.min(check::END_OF_TIME_MS);
            let life_ms = end_ms.saturating_add(check::MEMORY_MS).min(check::END_OF_TIME_MS);
            packer
                .number(charged.start_ms)
                .number(end_ms)
                .number(life_ms)
                .number(*returned)
        }
    };
}

/// One window of `raise.lua`.
pub(super) fn spent(spent: &Spent) -> Vec<u8> {
    let mut packer = Packer::default();
    packer
        .number(spent.window_start_ms)
        .number(spent.spent)
        .number(keep_until_ms(&spent.quota.meter, spent.window_start_ms));
    packer.0
}

/// A garbled reply: nothing is known.
pub(super) fn garbled() -> LedgerError {
    LedgerError::Unavailable(Some("a reply that is none of ours".into()))
}

/// Reservation ids as the store keeps them.
pub(super) fn request_id(bytes: &[u8]) -> Option<RequestId> {
    RequestId::try_from(bytes).ok()
}
