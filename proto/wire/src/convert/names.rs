//! Enums: each variant has its counterpart, `…_UNSPECIFIED` has none.

use super::{Fault, Invalid};
use crate::v1;
use rateguard_model::{quota, resource, usage, window};

/// Reads the number that prost keeps for an enum field.
pub(super) fn known<W, M>(field: &'static str, number: i32) -> Result<M, Invalid>
where
    W: TryFrom<i32>,
    M: TryFrom<W, Error = Unspecified>,
{
    let message = W::try_from(number).map_err(|_| Fault::Enum.at(field))?;
    M::try_from(message).map_err(|Unspecified| Fault::Enum.at(field))
}

/// The zero of an enum, which stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unspecified")]
pub struct Unspecified;

macro_rules! counterparts {
    ($($wire:ident = $model:path { $($wire_variant:ident = $variant:ident),* $(,)? })*) => {$(
        impl From<$model> for v1::$wire {
            fn from(value: $model) -> Self {
                use $model as Model;
                match value {
                    $(Model::$variant => Self::$wire_variant,)*
                }
            }
        }

        impl TryFrom<v1::$wire> for $model {
            type Error = Unspecified;

            fn try_from(message: v1::$wire) -> Result<Self, Unspecified> {
                match message {
                    v1::$wire::Unspecified => Err(Unspecified),
                    $(v1::$wire::$wire_variant => Ok(Self::$variant),)*
                }
            }
        }
    )*};
}

counterparts! {
    QuotaKind = quota::QuotaKind { Rule = Rule, Budget = Budget }
    Algorithm = quota::Algorithm {
        TokenBucket = TokenBucket,
        SlidingWindow = SlidingWindow,
        SlidingWindowCounter = SlidingWindowCounter,
        FixedWindow = FixedWindow,
        Concurrency = Concurrency,
    }
    Unit = quota::Unit {
        Requests = Requests,
        Tokens = Tokens,
        InputTokens = InputTokens,
        OutputTokens = OutputTokens,
        NanoUsd = NanoUsd,
    }
    Mode = quota::Mode { Enforce = Enforce, Shadow = Shadow }
    FailureMode = quota::FailureMode {
        FailOpen = FailOpen,
        FailClosed = FailClosed,
        BoundedOpen = BoundedOpen,
    }
    CalendarUnit = window::CalendarUnit { Hour = Hour, Day = Day, Week = Week, Month = Month }
    UnpricedModelPolicy = resource::UnpricedModelPolicy { Block = Block, Allow = Allow }
    KeyState = resource::KeyState { Active = Active, Suspended = Suspended, Revoked = Revoked }
    UsageFormat = usage::UsageFormat {
        Auto = Auto,
        Openai = OpenAi,
        Anthropic = Anthropic,
        Gemini = Gemini,
        Bedrock = Bedrock,
        Cohere = Cohere,
        Generic = Generic,
        None = None,
    }
    UsageSource = usage::UsageSource {
        Reported = Reported,
        Partial = Partial,
        Estimated = Estimated,
        Reserved = Reserved,
    }
}
