//! Every value of the model survives the wire, and nothing else comes out of it.

mod strategies;

use super::*;
use crate::v1;
use proptest::prelude::*;
use prost::Message;
use rateguard_model::budget::Budget;
use rateguard_model::cost::{CostModel, TokenPrices};
use rateguard_model::event::RequestEvent;
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{Meter, Quota, is_partition};
use rateguard_model::resource::{Api, Key, UpstreamAuth, Workspace};
use rateguard_model::rule::Rule;
use rateguard_model::usage::TokenUsage;
use rateguard_model::window::Window;

/// Through bytes and back.
fn carried<M, W>(value: M) -> Result<M, Invalid>
where
    W: Message + Default + From<M>,
    M: TryFrom<W, Error = Invalid>,
{
    let bytes = W::from(value).encode_to_vec();
    M::try_from(W::decode(bytes.as_slice()).expect("own bytes decode"))
}

macro_rules! round_trips {
    ($($test:ident: $message:ty, $value:ident in $strategy:expr;)*) => {
        proptest! {$(
            #[test]
            fn $test($value in $strategy) {
                prop_assert_eq!(carried::<_, $message>($value.clone()), Ok($value));
            }
        )*}
    };
}

round_trips! {
    a_quota_survives: v1::Quota, quota in strategies::quota();
    a_workspace_survives: v1::Workspace, workspace in strategies::workspace();
    an_api_survives: v1::Api, api in strategies::api();
    a_key_survives: v1::Key, key in strategies::key();
    a_rule_survives: v1::Rule, rule in strategies::rule();
    a_budget_survives: v1::Budget, budget in strategies::budget();
    an_event_survives: v1::RequestEvent, event in strategies::event();
    token_usage_survives: v1::TokenUsage, usage in strategies::token_usage(0);
    a_cost_model_survives: v1::CostModel, model in strategies::cost_model();
}

/// One example of a message, to be spoilt.
fn example<M, W: From<M>>(strategy: impl Strategy<Value = M>) -> W {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    strategy.new_tree(&mut runner).expect("value").current().into()
}

fn refused<W, M>(message: W) -> Invalid
where
    M: TryFrom<W, Error = Invalid> + std::fmt::Debug,
{
    M::try_from(message).expect_err("refused")
}

#[test]
fn a_quota_beyond_what_redis_counts_is_refused() {
    let valid = || example::<_, v1::Quota>(strategies::quota());
    let spoilt = |spoil: fn(&mut v1::Quota)| {
        let mut quota = valid();
        spoil(&mut quota);
        refused::<_, Quota>(quota)
    };
    let at = |field, fault| Invalid { field, fault };
    assert_eq!(spoilt(|q| q.limit = 1 << 53), at("Quota.limit", Fault::Range));
    assert_eq!(spoilt(|q| q.limit = -1), at("Quota.limit", Fault::Range));
    assert_eq!(spoilt(|q| q.amount = i64::MAX), at("Quota.amount", Fault::Range));
    assert_eq!(spoilt(|q| q.amount = -1), at("Quota.amount", Fault::Range));
    assert_eq!(
        spoilt(|q| q.partition = "}x{".into()),
        at("Quota.partition", Fault::Form)
    );
    assert_eq!(
        spoilt(|q| q.partition = "x".repeat(201)),
        at("Quota.partition", Fault::Form)
    );
    assert_eq!(spoilt(|q| q.id = vec![0; 15]), at("Quota.id", Fault::Id));
    assert_eq!(spoilt(|q| q.id.clear()), at("Quota.id", Fault::Id));
    assert_eq!(spoilt(|q| q.unit = 0), at("Quota.unit", Fault::Enum));
    assert_eq!(spoilt(|q| q.mode = 99), at("Quota.mode", Fault::Enum));
    assert_eq!(
        spoilt(|q| q.mode = 99).to_string(),
        "Quota.mode is an unknown value"
    );
    assert_eq!(refused::<_, Quota>(v1::Quota::default()).field, "Quota.id");
}

#[test]
fn a_meter_has_what_its_algorithm_needs_and_no_more() {
    use v1::Algorithm::{Concurrency, FixedWindow, SlidingWindow, SlidingWindowCounter, TokenBucket};
    let rolling = |ms| {
        Some(v1::Window {
            kind: Some(v1::window::Kind::RollingMs(ms)),
        })
    };
    let total = |total| {
        Some(v1::Window {
            kind: Some(v1::window::Kind::Total(total)),
        })
    };
    let meter = |algorithm: v1::Algorithm, window, refill_milli_per_s| {
        let message = v1::Quota {
            algorithm: algorithm.into(),
            window,
            refill_milli_per_s,
            ..example(strategies::quota())
        };
        Quota::try_from(message)
            .map(|quota| quota.meter)
            .map_err(|error| (error.field, error.fault))
    };
    assert_eq!(
        meter(TokenBucket, None, 5),
        Ok(Meter::TokenBucket {
            refill_milli_per_s: 5
        })
    );
    assert_eq!(
        meter(TokenBucket, rolling(1), 5),
        Err(("Quota.window", Fault::Algorithm))
    );
    assert_eq!(
        meter(TokenBucket, None, u64::MAX),
        Err(("Quota.refill_milli_per_s", Fault::Range))
    );
    assert_eq!(
        meter(SlidingWindow, rolling(9), 0),
        Ok(Meter::SlidingWindow { window_ms: 9 })
    );
    assert_eq!(
        meter(SlidingWindow, rolling(9), 1),
        Err(("Quota.refill_milli_per_s", Fault::Algorithm))
    );
    assert_eq!(
        meter(SlidingWindow, total(true), 0),
        Err(("Quota.window", Fault::Algorithm))
    );
    assert_eq!(
        meter(SlidingWindow, None, 0),
        Err(("Quota.window", Fault::Missing))
    );
    assert_eq!(
        meter(SlidingWindow, rolling(0), 0),
        Err(("Window.rolling_ms", Fault::Range))
    );
    assert_eq!(
        meter(FixedWindow, rolling(u64::MAX), 0),
        Err(("Window.rolling_ms", Fault::Range))
    );
    assert_eq!(
        meter(FixedWindow, total(true), 0),
        Ok(Meter::FixedWindow {
            window: Window::Total
        })
    );
    assert_eq!(
        meter(FixedWindow, total(false), 0),
        Err(("Window.total", Fault::Form))
    );
    for unenforced in [SlidingWindowCounter, Concurrency] {
        assert_eq!(
            meter(unenforced, rolling(1), 0),
            Err(("Quota.algorithm", Fault::Enum))
        );
    }
}

#[test]
fn a_key_secret_is_a_sha256() {
    for length in [0, 31, 33] {
        let message = v1::KeySecret {
            sha256: vec![0; length],
            not_after_ms: 0,
        };
        let error = refused::<_, rateguard_model::resource::KeySecret>(message);
        assert_eq!((error.field, error.fault), ("KeySecret.sha256", Fault::Digest));
    }
}

#[test]
fn an_expiry_before_the_epoch_stays_an_expiry() {
    let mut key: Key = example::<_, v1::Key>(strategies::key())
        .try_into()
        .expect("valid");
    key.expires_at_ms = Some(-5);
    assert_eq!(carried::<_, v1::Key>(key).expect("valid").expires_at_ms, Some(1));
}

#[test]
fn negative_prices_are_refused() {
    let prices = v1::TokenPrices {
        input: -1,
        ..Default::default()
    };
    assert_eq!(refused::<_, TokenPrices>(prices).field, "TokenPrices.input");
    let prices = v1::TokenPrices {
        audio_out: Some(-1),
        ..Default::default()
    };
    assert_eq!(refused::<_, TokenPrices>(prices).field, "TokenPrices.audio_out");
    let kind = v1::cost_model::Kind::PerRequest(v1::PerRequest { cost_nanos: -1 });
    let model = v1::CostModel { kind: Some(kind) };
    assert_eq!(refused::<_, CostModel>(model).field, "PerRequest.cost_nanos");
    assert_eq!(
        refused::<_, CostModel>(v1::CostModel::default()).fault,
        Fault::Missing
    );
}

#[test]
fn a_credential_cannot_end_its_header() {
    use v1::upstream_auth::Kind;
    let header = |name: &str, value: &str| {
        Kind::ApiKeyHeader(v1::ApiKeyHeader {
            header_name: name.into(),
            value: value.into(),
        })
    };
    for kind in [
        Kind::None(false),
        Kind::Bearer("a\r\nx: y".into()),
        header("x-api-key", "a\0b"),
        header("X-Api-Key", "a"),
        header("x: y", "a"),
        header("", "a"),
    ] {
        refused::<_, UpstreamAuth>(v1::UpstreamAuth { kind: Some(kind) });
    }
    let mut api = example::<_, v1::Api>(strategies::api());
    api.auth = None;
    assert_eq!(refused::<_, Api>(api).to_string(), "Api.auth is missing");
}

#[test]
fn an_api_address_cannot_smuggle_a_path() {
    let spoilt = |spoil: fn(&mut v1::Api)| {
        let mut api = example(strategies::api());
        spoil(&mut api);
        refused::<_, Api>(api).field
    };
    assert_eq!(spoilt(|api| api.scheme = "ftp".into()), "Api.scheme");
    assert_eq!(spoilt(|api| api.authority = "a/b".into()), "Api.authority");
    assert_eq!(spoilt(|api| api.authority.clear()), "Api.authority");
    assert_eq!(spoilt(|api| api.base_path = "/a/".into()), "Api.base_path");
    assert_eq!(spoilt(|api| api.base_path = "/a?b".into()), "Api.base_path");
    assert_eq!(spoilt(|api| api.base_path = "/a b".into()), "Api.base_path");
    assert_eq!(spoilt(|api| api.hosts = vec!["A.example".into()]), "Api.hosts");
    assert_eq!(spoilt(|api| api.slug = "A".into()), "Api.slug");
}

#[test]
fn only_a_revision_may_subtract() {
    let event = |revision, cost_nanos, fresh_input| v1::RequestEvent {
        revision,
        cost_nanos,
        units: 0,
        tokens: Some(v1::TokenUsage {
            fresh_input,
            ..Default::default()
        }),
        ..example(strategies::event())
    };
    assert_eq!(
        refused::<_, RequestEvent>(event(0, -1, 0)).field,
        "RequestEvent.cost_nanos"
    );
    assert_eq!(
        refused::<_, RequestEvent>(event(0, 0, -1)).field,
        "TokenUsage.fresh_input"
    );
    assert!(RequestEvent::try_from(event(1, -1, -1)).is_ok());
}

#[test]
fn credentials_are_not_in_debug_output() {
    let secret = "canary-secret";
    let auth = v1::UpstreamAuth::from(UpstreamAuth::Bearer { token: secret.into() });
    let header = v1::UpstreamAuth::from(UpstreamAuth::ApiKeyHeader {
        header_name: "x-api-key".into(),
        value: secret.into(),
    });
    let api = v1::Api {
        auth: Some(auth),
        ..example(strategies::api())
    };
    let poll = v1::PollResponse {
        apis: vec![api],
        ..Default::default()
    };
    assert!(!format!("{poll:?} {header:?}").contains(secret));
}

/// Converts all that a snapshot holds; whatever is accepted must be valid.
fn check_snapshot(poll: v1::PollResponse) {
    let v1::PollResponse {
        version: _,
        nonce: _,
        full: _,
        workspaces,
        apis,
        keys,
        rules,
        budgets,
        data_plane_tokens: _,
        removals: _,
        now_ms: _,
        page: _,
        next_page: _,
        may_shrink: _,
        has_ledger: _,
    } = poll;
    let in_range = |value: i64| assert!((0..=AMOUNT_MAX).contains(&value));
    for workspace in workspaces.into_iter().flat_map(Workspace::try_from) {
        assert!(!workspace.slug.is_empty());
    }
    for api in apis.into_iter().flat_map(Api::try_from) {
        assert!(api.scheme == "http" || api.scheme == "https");
        if let Some(CostModel::PerToken(pricing)) = &api.cost_model {
            let entries = pricing.models.iter().map(|entry| entry.prices);
            for prices in entries.chain(pricing.default_prices) {
                in_range(prices.input.0);
                in_range(prices.output.0);
                in_range(prices.cache_read.unwrap_or(NanoUsd::ZERO).0);
            }
        }
    }
    for key in keys.into_iter().flat_map(Key::try_from) {
        assert!(key.expires_at_ms.is_none_or(|at| at > 0));
        assert!(key.tags.is_sorted());
    }
    for rule in rules.into_iter().flat_map(Rule::try_from) {
        in_range(rule.limit);
        assert!(!matches!(rule.meter, Meter::SlidingWindow { window_ms: 0 }));
    }
    for budget in budgets.into_iter().flat_map(Budget::try_from) {
        in_range(budget.limit.0);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        if let Ok(poll) = v1::PollResponse::decode(bytes.as_slice()) {
            check_snapshot(poll);
        }
        if let Ok(Ok(quota)) = v1::Quota::decode(bytes.as_slice()).map(Quota::try_from) {
            prop_assert!(is_partition(&quota.partition));
        }
        if let Ok(event) = v1::RequestEvent::decode(bytes.as_slice()) {
            let _ = RequestEvent::try_from(event);
        }
    }

    /// Bytes near to a real snapshot get much further than random ones.
    #[test]
    fn a_damaged_snapshot_never_becomes_an_invalid_value(
        poll in strategies::poll_response(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        cut: bool,
    ) {
        let mut bytes = poll.encode_to_vec();
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if cut {
            bytes.truncate(length.index(bytes.len() + 1));
        }
        if let Ok(poll) = v1::PollResponse::decode(bytes.as_slice()) {
            check_snapshot(poll);
        }
    }

    #[test]
    fn an_accepted_quota_fits_redis(
        quota in strategies::quota(), limit: i64, amount: i64, partition in "[a-zA-Z{}:*é ]{0,12}", refill: u64,
    ) {
        let token_bucket = matches!(quota.meter, Meter::TokenBucket { .. });
        let mut message = v1::Quota { limit, amount, partition, ..quota.into() };
        if token_bucket {
            message.refill_milli_per_s = refill;
        }
        if let Ok(quota) = Quota::try_from(message) {
            prop_assert!((0..=AMOUNT_MAX).contains(&quota.limit));
            prop_assert!((0..=AMOUNT_MAX).contains(&quota.amount));
            prop_assert!(is_partition(&quota.partition));
        }
    }

    #[test]
    fn usage_is_never_negative(fresh_input: i64, reasoning: i64) {
        let message = v1::TokenUsage { fresh_input, reasoning, ..Default::default() };
        if let Ok(usage) = TokenUsage::try_from(message) {
            prop_assert!(usage.fresh_input >= 0 && usage.reasoning >= 0);
        } else {
            prop_assert!(fresh_input.min(reasoning) < 0 || fresh_input.max(reasoning) > AMOUNT_MAX);
        }
    }
}
