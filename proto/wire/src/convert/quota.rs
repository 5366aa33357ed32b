//! Quotas, their windows and meters.

use super::names::known;
use super::{Fault, Invalid, amount, check, id, required};
use crate::v1;
use rateguard_model::quota::{AMOUNT_MAX, Algorithm, Meter, Quota, is_partition};
use rateguard_model::window::Window;

impl TryFrom<v1::Quota> for Quota {
    type Error = Invalid;

    fn try_from(message: v1::Quota) -> Result<Self, Invalid> {
        let v1::Quota {
            id: quota_id,
            version,
            kind,
            algorithm,
            unit,
            limit,
            window,
            refill_milli_per_s,
            mode,
            failure_mode,
            partition,
            amount: wanted,
        } = message;
        check("Quota.partition", is_partition(&partition))?;
        Ok(Self {
            id: id("Quota.id", &quota_id)?,
            version,
            kind: known::<v1::QuotaKind, _>("Quota.kind", kind)?,
            unit: known::<v1::Unit, _>("Quota.unit", unit)?,
            limit: amount("Quota.limit", limit)?,
            meter: meter(&QUOTA_FIELDS, algorithm, window, refill_milli_per_s)?,
            mode: known::<v1::Mode, _>("Quota.mode", mode)?,
            failure_mode: known::<v1::FailureMode, _>("Quota.failure_mode", failure_mode)?,
            partition,
            amount: amount("Quota.amount", wanted)?,
        })
    }
}

impl From<Quota> for v1::Quota {
    fn from(quota: Quota) -> Self {
        let Quota {
            id,
            version,
            kind,
            unit,
            limit,
            meter,
            mode,
            failure_mode,
            partition,
            amount,
        } = quota;
        let (algorithm, window, refill_milli_per_s) = meter_fields(meter);
        Self {
            id: id.as_bytes().to_vec(),
            version,
            kind: v1::QuotaKind::from(kind).into(),
            algorithm: algorithm.into(),
            unit: v1::Unit::from(unit).into(),
            limit,
            window,
            refill_milli_per_s,
            mode: v1::Mode::from(mode).into(),
            failure_mode: v1::FailureMode::from(failure_mode).into(),
            partition,
            amount,
        }
    }
}

/// What the fields of a meter are called in the message that holds them.
pub(super) struct MeterFields {
    pub(super) algorithm: &'static str,
    pub(super) window: &'static str,
    pub(super) refill: &'static str,
}

const QUOTA_FIELDS: MeterFields = MeterFields {
    algorithm: "Quota.algorithm",
    window: "Quota.window",
    refill: "Quota.refill_milli_per_s",
};

/// Algorithms without a [`Meter`] are refused: nothing enforces them.
pub(super) fn meter(
    fields: &MeterFields,
    algorithm: i32,
    window: Option<v1::Window>,
    refill_milli_per_s: u64,
) -> Result<Meter, Invalid> {
    let algorithm = known::<v1::Algorithm, _>(fields.algorithm, algorithm)?;
    if algorithm == Algorithm::TokenBucket {
        if window.is_some() {
            return Err(Fault::Algorithm.at(fields.window));
        }
        if refill_milli_per_s > AMOUNT_MAX.unsigned_abs() {
            return Err(Fault::Range.at(fields.refill));
        }
        return Ok(Meter::TokenBucket { refill_milli_per_s });
    }
    if refill_milli_per_s != 0 {
        return Err(Fault::Algorithm.at(fields.refill));
    }
    let window = Window::try_from(required(fields.window, window)?)?;
    match (algorithm, window) {
        (Algorithm::SlidingWindow, Window::Rolling { ms }) => Ok(Meter::SlidingWindow { window_ms: ms }),
        (Algorithm::SlidingWindow, _) => Err(Fault::Algorithm.at(fields.window)),
        (Algorithm::FixedWindow, window) => Ok(Meter::FixedWindow { window }),
        (Algorithm::TokenBucket | Algorithm::SlidingWindowCounter | Algorithm::Concurrency, _) => {
            Err(Fault::Enum.at(fields.algorithm))
        }
    }
}

/// Algorithm, window and refill of a meter.
pub(super) fn meter_fields(meter: Meter) -> (v1::Algorithm, Option<v1::Window>, u64) {
    let algorithm = meter.algorithm().into();
    match meter {
        Meter::TokenBucket { refill_milli_per_s } => (algorithm, None, refill_milli_per_s),
        Meter::SlidingWindow { window_ms } => (algorithm, Some(Window::Rolling { ms: window_ms }.into()), 0),
        Meter::FixedWindow { window } => (algorithm, Some(window.into()), 0),
    }
}

impl TryFrom<v1::Window> for Window {
    type Error = Invalid;

    fn try_from(message: v1::Window) -> Result<Self, Invalid> {
        use v1::window::Kind;
        let v1::Window { kind } = message;
        match required("Window.kind", kind)? {
            Kind::RollingMs(ms @ 1..) if ms <= AMOUNT_MAX.unsigned_abs() => Ok(Self::Rolling { ms }),
            Kind::RollingMs(_) => Err(Fault::Range.at("Window.rolling_ms")),
            Kind::Calendar(v1::CalendarWindow { unit, time_zone }) => Ok(Self::Calendar {
                unit: known::<v1::CalendarUnit, _>("CalendarWindow.unit", unit)?,
                time_zone: time_zone
                    .parse()
                    .map_err(|_| Fault::Form.at("CalendarWindow.time_zone"))?,
            }),
            Kind::Total(true) => Ok(Self::Total),
            Kind::Total(false) => Err(Fault::Form.at("Window.total")),
        }
    }
}

impl From<Window> for v1::Window {
    fn from(window: Window) -> Self {
        use v1::window::Kind;
        let kind = match window {
            Window::Rolling { ms } => Kind::RollingMs(ms),
            Window::Calendar { unit, time_zone } => Kind::Calendar(v1::CalendarWindow {
                unit: v1::CalendarUnit::from(unit).into(),
                time_zone: time_zone.name().to_owned(),
            }),
            Window::Total => Kind::Total(true),
        };
        Self { kind: Some(kind) }
    }
}
