//! Random valid values of the model.

use crate::v1;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::digest::Digest;
use rateguard_model::endpoint::EndpointPattern;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, UserId, WorkspaceId};
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{AMOUNT_MAX, FailureMode, Meter, Mode, Quota, QuotaKind, Unit};
use rateguard_model::resource::{
    Api, Key, KeySecret, KeyState, UnpricedModelPolicy, UpstreamAuth, Workspace,
};
use rateguard_model::rule::{Rule, Scope};
use rateguard_model::usage::{TokenUsage, UsageFormat, UsageSource};
use rateguard_model::window::{CalendarUnit, Window};

macro_rules! ids {
    ($($name:ident: $id:ident;)*) => {$(
        fn $name() -> impl Strategy<Value = $id> {
            any::<[u8; 16]>().prop_map($id::from_bytes)
        }
    )*};
}

ids! {
    workspace_id: WorkspaceId;
    api_id: ApiId;
    key_id: KeyId;
    quota_id: QuotaId;
    request_id: RequestId;
    user_id: UserId;
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![0..=AMOUNT_MAX, Just(0), Just(AMOUNT_MAX)]
}

fn length_ms() -> impl Strategy<Value = u64> {
    1..=AMOUNT_MAX.unsigned_abs()
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn slug() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,64}"
}

fn zone<Z>() -> impl Strategy<Value = Z>
where
    Z: std::fmt::Debug + std::str::FromStr<Err: std::fmt::Debug>,
{
    select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Etc/GMT+12",
    ])
    .prop_map(|name| name.parse().expect("IANA name"))
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        length_ms().prop_map(|ms| Window::Rolling { ms }),
        (select(CalendarUnit::ALL), zone())
            .prop_map(|(unit, time_zone)| Window::Calendar { unit, time_zone }),
        Just(Window::Total),
    ]
}

fn meter() -> impl Strategy<Value = Meter> {
    prop_oneof![
        (0..=AMOUNT_MAX.unsigned_abs())
            .prop_map(|refill_milli_per_s| Meter::TokenBucket { refill_milli_per_s }),
        length_ms().prop_map(|window_ms| Meter::SlidingWindow { window_ms }),
        window().prop_map(|window| Meter::FixedWindow { window }),
    ]
}

prop_compose! {
    pub(super) fn quota()(
        id in quota_id(),
        version: u32,
        kind in select(QuotaKind::ALL),
        unit in select(Unit::ALL),
        limit in amount(),
        meter in meter(),
        mode in select(Mode::ALL),
        failure_mode in select(FailureMode::ALL),
        partition in "[0-9A-Za-z._:-]{0,200}",
        amount in amount(),
    ) -> Quota {
        Quota { id, version, kind, unit, limit, meter, mode, failure_mode, partition, amount }
    }
}

prop_compose! {
    pub(super) fn workspace()(
        id in workspace_id(),
        slug in slug(),
        time_zone in zone(),
        unpriced_model_policy in select(UnpricedModelPolicy::ALL),
        failure_mode in select(FailureMode::ALL),
    ) -> Workspace {
        Workspace { id, slug, time_zone, unpriced_model_policy, failure_mode }
    }
}

fn auth() -> impl Strategy<Value = UpstreamAuth> {
    prop_oneof![
        Just(UpstreamAuth::None),
        "[ -~é]{0,20}".prop_map(|token| UpstreamAuth::Bearer { token }),
        ("[a-z][a-z0-9-]{0,10}", "[ -~]{0,20}")
            .prop_map(|(header_name, value)| { UpstreamAuth::ApiKeyHeader { header_name, value } }),
        text().prop_map(|user_password| UpstreamAuth::Basic { user_password }),
    ]
}

/// Scheme, authority, base path and cluster.
fn address() -> impl Strategy<Value = (String, String, String, String)> {
    (
        "https?",
        "[A-Za-z0-9.-]{1,12}(:[0-9]{1,5})?|\\[::1\\]:8080",
        "(/[A-Za-z0-9._~%:@!$&'()*+,;=-]{1,5}){0,3}",
        "(api_[0-9a-f-]{36})?",
    )
}

prop_compose! {
    pub(super) fn api()(
        id in api_id(),
        workspace_id in workspace_id(),
        slug in slug(),
        hosts in vec("[a-z0-9.-]{1,12}(:[0-9]{1,5})?", 0..3),
        address in address(),
        auth in auth(),
        usage_format in select(UsageFormat::ALL),
        cost_model in option::of(cost_model().boxed()),
        timeout_ms: u32,
        flags: [bool; 3],
        price_version in text(),
    ) -> Api {
        let (scheme, authority, base_path, cluster) = address;
        let [forward_cookies, stream_cost_comment, is_active] = flags;
        Api {
            id, workspace_id, slug, hosts, scheme, authority, base_path, cluster, auth, usage_format, cost_model,
            timeout_ms, forward_cookies, stream_cost_comment, is_active, price_version,
        }
    }
}

fn price() -> impl Strategy<Value = NanoUsd> {
    amount().prop_map(NanoUsd)
}

prop_compose! {
    fn token_prices()(
        required in [price(), price()],
        optional in prop::array::uniform6(option::of(price())),
    ) -> TokenPrices {
        let [input, output] = required;
        let [cache_read, cache_write_5m, cache_write_1h, audio_in, reasoning, audio_out] = optional;
        TokenPrices {
            input, output, cache_read, cache_write_5m, cache_write_1h, audio_in, reasoning, audio_out,
        }
    }
}

pub(super) fn cost_model() -> impl Strategy<Value = CostModel> {
    let entry = (text(), token_prices(), any::<u32>()).prop_map(|(model, prices, default_output_tokens)| {
        ModelPrices {
            model,
            prices,
            default_output_tokens,
        }
    });
    let per_token = (option::of(token_prices()), vec(entry, 0..3)).prop_map(|(default_prices, models)| {
        CostModel::PerToken(TokenPricing {
            default_prices,
            models,
        })
    });
    prop_oneof![price().prop_map(|cost| CostModel::PerRequest { cost }), per_token,]
}

fn tags() -> impl Strategy<Value = Vec<(String, String)>> {
    btree_map(text(), text(), 0..3).prop_map(|tags| tags.into_iter().collect())
}

fn time() -> impl Strategy<Value = Option<i64>> {
    option::of(1..=i64::MAX)
}

prop_compose! {
    fn secret()(digest: [u8; 32], not_after_ms in time()) -> KeySecret {
        KeySecret { digest: Digest::from_bytes(digest), not_after_ms }
    }
}

prop_compose! {
    pub(super) fn key()(
        id in key_id(),
        workspace_id in workspace_id(),
        state in select(KeyState::ALL),
        secrets in vec(secret(), 0..3),
        expires_at_ms in time(),
        allowed_api_ids in vec(api_id(), 0..3),
        allowed_models in vec(text(), 0..3),
        tags in tags(),
        owner_id in option::of(user_id()),
    ) -> Key {
        Key {
            id, workspace_id, state, secrets, expires_at_ms, allowed_api_ids, allowed_models, tags, owner_id,
        }
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::Global),
        Just(Scope::PerWorkspace),
        Just(Scope::PerKey),
        any::<u32>().prop_map(|trusted_hops| Scope::PerIp { trusted_hops }),
        "[a-z-]{1,8}".prop_map(|name| Scope::PerHeader { name }),
        Just(Scope::PerModel),
        "[a-z-]{1,8}".prop_map(|name| Scope::PerTag { name }),
    ]
}

prop_compose! {
    pub(super) fn rule()(
        ids in (quota_id(), workspace_id(), option::of(api_id())),
        version: u32,
        name in text(),
        endpoint in option::of("/[a-z*/]{0,7}"),
        methods in vec("[A-Z]{1,7}", 0..3),
        scopes in vec(scope(), 0..3),
        meter in meter(),
        amounts in (select(Unit::ALL), amount()),
        order in (any::<i32>(), any::<i64>()),
        modes in (select(Mode::ALL), select(FailureMode::ALL)),
        shared_across_apis: bool,
    ) -> Rule {
        let (id, workspace_id, api_id) = ids;
        let (unit, limit) = amounts;
        let (priority, created_at_ms) = order;
        let (mode, failure_mode) = modes;
        let endpoint = endpoint.map(|pattern| EndpointPattern::parse(&pattern).expect("pattern"));
        Rule {
            id, workspace_id, version, name, api_id, endpoint, methods, scopes, unit, limit, meter, priority,
            created_at_ms, mode, failure_mode, shared_across_apis,
        }
    }
}

fn subject() -> impl Strategy<Value = BudgetSubject> {
    prop_oneof![
        Just(BudgetSubject::Workspace),
        api_id().prop_map(BudgetSubject::Api),
        key_id().prop_map(BudgetSubject::Key),
        ("[a-z]{1,8}", text()).prop_map(|(name, value)| BudgetSubject::Tag { name, value }),
        "[a-z*-]{1,8}".prop_map(|glob| BudgetSubject::Model { glob }),
    ]
}

prop_compose! {
    pub(super) fn budget()(
        id in quota_id(),
        workspace_id in workspace_id(),
        version: u32,
        name in text(),
        subject in subject(),
        limit in price(),
        window in window(),
        auto_shutoff: bool,
        failure_mode in select(FailureMode::ALL),
    ) -> Budget {
        Budget { id, workspace_id, version, name, subject, limit, window, auto_shutoff, failure_mode }
    }
}

/// Counts from `min` up.
pub(super) fn token_usage(min: i64) -> impl Strategy<Value = TokenUsage> {
    prop::array::uniform8(min..=AMOUNT_MAX).prop_map(|counts| {
        let [
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        ] = counts;
        TokenUsage {
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        }
    })
}

/// First rows, and revisions, whose figures are signed.
pub(super) fn event() -> impl Strategy<Value = RequestEvent> {
    prop_oneof![event_of(0, 0), event_of(1, -AMOUNT_MAX)]
}

prop_compose! {
    fn event_of(revision: u32, min: i64)(
        ids in (request_id(), option::of(workspace_id()), option::of(key_id()), option::of(api_id())),
        culprits in (option::of(quota_id()), option::of(quota_id()), option::of(user_id())),
        texts in prop::array::uniform5("\\PC{0,8}"),
        status_code in 0_u16..=999,
        times in (0..=i64::MAX, any::<[u32; 3]>()),
        bytes: [u64; 2],
        amounts in (min..=AMOUNT_MAX, min..=AMOUNT_MAX, token_usage(min)),
        flags: [bool; 6],
        usage_source in option::of(select(UsageSource::ALL)),
        client_ip in option::of("[0-9a-f.:]{1,20}"),
        tags in tags(),
    ) -> RequestEvent {
        let (event_id, workspace_id, api_key_id, api_id) = ids;
        let (rule_id, budget_id, key_owner_id) = culprits;
        let [endpoint, method, model, price_version, error_type] = texts;
        let (timestamp_ms, [latency_ms, upstream_latency_ms, ttft_ms]) = times;
        let [request_bytes, response_bytes] = bytes;
        let (cost, units, tokens) = amounts;
        let [cache_hit, rate_limited, budget_exceeded, shadow, degraded, stream] = flags;
        RequestEvent {
            event_id, timestamp_ms, workspace_id, api_key_id, api_id, endpoint, method, status_code, latency_ms,
            upstream_latency_ms, request_bytes, response_bytes, cost: NanoUsd(cost), model, tokens, units,
            usage_source, price_version, cache_hit, rate_limited, budget_exceeded, shadow, degraded, stream, ttft_ms,
            client_ip, error_type, rule_id, budget_id, key_owner_id, tags, revision,
        }
    }
}

// Boxed: all these value trees at once are too much for a test thread's stack.
prop_compose! {
    pub(super) fn poll_response()(
        workspace in workspace().boxed(),
        api in api().boxed(),
        key in key().boxed(),
        rule in rule().boxed(),
        budget in budget().boxed(),
        full: bool,
    ) -> v1::PollResponse {
        v1::PollResponse {
            version: "1".to_owned(),
            full,
            workspaces: vec![workspace.into()],
            apis: vec![api.into()],
            keys: vec![key.into()],
            rules: vec![rule.into()],
            budgets: vec![budget.into()],
            ..v1::PollResponse::default()
        }
    }
}
