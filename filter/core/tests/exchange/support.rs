//! A workspace with two APIs, and an exchange that is driven event by event.

use rateguard_filter::averages::Averages;
use rateguard_filter::config::Config;
use rateguard_filter::effect::{Effect, Effects, Flow, Reply, ReserveCall, Settlement};
use rateguard_filter::event::{Event, Now, QuotaResult, Reserved};
use rateguard_filter::exchange::{Exchange, World};
use rateguard_filter::fallback::Shares;
use rateguard_filter::headers::HeaderBlock;
use rateguard_filter::snapshot::{Snapshot, Update};
use rateguard_model::api_key::ApiKey;
use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, WorkspaceId};
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{FailureMode, Meter, Mode, Unit};
use rateguard_model::resource::{
    Api, Key, KeySecret, KeyState, UnpricedModelPolicy, UpstreamAuth, Workspace,
};
use rateguard_model::rule::{Rule, Scope};
use rateguard_model::usage::UsageFormat;
use rateguard_model::window::Window;

pub(crate) const KEY: &str = "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF";
pub(crate) const ID: RequestId = RequestId::from_bytes([9; 16]);
pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([1; 16]);
pub(crate) const CHAT: ApiId = ApiId::from_bytes([2; 16]);
pub(crate) const FLAT: ApiId = ApiId::from_bytes([3; 16]);
pub(crate) const RULE: QuotaId = QuotaId::from_bytes([4; 16]);
pub(crate) const BUDGET: QuotaId = QuotaId::from_bytes([5; 16]);
pub(crate) const START: Now = Now(1_795_000_000_000_000_000);

pub(crate) fn config() -> Config {
    Config::parse(format!(r#"{{"token":"rgdp_{}"}}"#, "A".repeat(43)).as_bytes())
        .expect("a valid configuration")
}

pub(crate) fn workspace() -> Workspace {
    Workspace {
        id: WORKSPACE,
        slug: "demo".to_owned(),
        time_zone: "UTC".parse().expect("a time zone"),
        unpriced_model_policy: UnpricedModelPolicy::Block,
        failure_mode: FailureMode::FailOpen,
    }
}

/// 150 000 nano-USD per 1 000 input tokens, 600 000 per 1 000 output tokens.
pub(crate) fn chat_api() -> Api {
    let prices = TokenPrices {
        input: NanoUsd(150_000),
        output: NanoUsd(600_000),
        ..TokenPrices::default()
    };
    Api {
        id: CHAT,
        workspace_id: WORKSPACE,
        slug: "openai".to_owned(),
        hosts: vec!["api.openai.com".to_owned()],
        scheme: "https".to_owned(),
        authority: "api.openai.com".to_owned(),
        base_path: "/v1".to_owned(),
        cluster: "api_chat".to_owned(),
        auth: UpstreamAuth::Bearer {
            token: "upstream-secret".to_owned(),
        },
        usage_format: UsageFormat::Auto,
        cost_model: Some(CostModel::PerToken(TokenPricing {
            default_prices: None,
            models: vec![ModelPrices {
                model: "gpt-*".to_owned(),
                prices,
                default_output_tokens: 0,
            }],
        })),
        timeout_ms: 30_000,
        forward_cookies: false,
        stream_cost_comment: true,
        is_active: true,
        price_version: "p1".to_owned(),
    }
}

/// 0.1 cents a request, no credential, no usage.
pub(crate) fn flat_api() -> Api {
    Api {
        id: FLAT,
        slug: "flat".to_owned(),
        hosts: vec!["flat.example.com".to_owned()],
        base_path: String::new(),
        authority: "flat.example.com:8443".to_owned(),
        cluster: "api_flat".to_owned(),
        auth: UpstreamAuth::None,
        usage_format: UsageFormat::None,
        cost_model: Some(CostModel::PerRequest {
            cost: NanoUsd(1_000_000),
        }),
        ..chat_api()
    }
}

pub(crate) fn key() -> Key {
    let digest = ApiKey::parse(KEY.as_bytes())
        .expect("the example of the specification")
        .digest();
    Key {
        id: KeyId::from_bytes([6; 16]),
        workspace_id: WORKSPACE,
        state: KeyState::Active,
        secrets: vec![KeySecret {
            digest,
            not_after_ms: None,
        }],
        expires_at_ms: None,
        allowed_api_ids: Vec::new(),
        allowed_models: Vec::new(),
        tags: vec![("team".to_owned(), "core".to_owned())],
        owner_id: None,
    }
}

pub(crate) fn rule() -> Rule {
    Rule {
        id: RULE,
        workspace_id: WORKSPACE,
        version: 1,
        name: "per key".to_owned(),
        api_id: None,
        endpoint: None,
        methods: Vec::new(),
        scopes: vec![Scope::PerKey],
        unit: Unit::Requests,
        limit: 100,
        meter: Meter::SlidingWindow { window_ms: 60_000 },
        priority: 0,
        created_at_ms: 0,
        mode: Mode::Enforce,
        failure_mode: FailureMode::FailOpen,
        shared_across_apis: false,
    }
}

pub(crate) fn budget() -> Budget {
    Budget {
        id: BUDGET,
        workspace_id: WORKSPACE,
        version: 1,
        name: "monthly".to_owned(),
        subject: BudgetSubject::Workspace,
        limit: NanoUsd(1_000_000_000),
        window: Window::Total,
        auto_shutoff: true,
        failure_mode: FailureMode::BoundedOpen,
    }
}

pub(crate) fn update() -> Update {
    Update {
        version: "1".to_owned(),
        full: true,
        workspaces: vec![workspace()],
        apis: vec![chat_api(), flat_api()],
        keys: vec![key()],
        rules: vec![rule()],
        budgets: vec![budget()],
        ..Update::default()
    }
}

/// An exchange, what it made the host do, and the clock.
pub(crate) struct Scene {
    pub(crate) config: Config,
    pub(crate) snapshot: Snapshot,
    pub(crate) shares: Shares,
    pub(crate) averages: Averages,
    pub(crate) now: Now,
    pub(crate) exchange: Exchange,
    pub(crate) done: Vec<Effect>,
    /// What the client and the upstream sent.
    sent: HeaderBlock,
    answered: HeaderBlock,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(update())
    }

    pub(crate) fn with(update: Update) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.apply(update, START.unix_ms());
        Self {
            snapshot,
            ..Self::empty()
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            config: config(),
            snapshot: Snapshot::default(),
            shares: Shares::default(),
            averages: Averages::default(),
            now: START,
            exchange: Exchange::default(),
            done: Vec::new(),
            sent: HeaderBlock::default(),
            answered: HeaderBlock::default(),
        }
    }

    /// One event; answers whether the stream goes on.
    pub(crate) fn step(&mut self, event: Event<'_>) -> Flow {
        match &event {
            Event::RequestHeaders { headers, .. } => self.sent = headers.clone(),
            Event::ResponseHeaders { headers, .. } => self.answered = headers.clone(),
            _ => {}
        }
        let world = World {
            config: &self.config,
            snapshot: &self.snapshot,
            averages: &self.averages,
        };
        let (exchange, Effects { flow, list }) =
            std::mem::take(&mut self.exchange).step(event, world, self.now);
        self.exchange = exchange;
        for effect in &list {
            if let Effect::Learned {
                key_id,
                model,
                output_tokens,
            } = effect
            {
                self.averages.learn(*key_id, model, *output_tokens);
            }
        }
        self.done.extend(list);
        flow
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now.0 += ms * 1_000_000;
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        end_of_stream: bool,
    ) -> Flow {
        let mut all = vec![
            (":method", method),
            (":path", path),
            (":authority", "gateway"),
            (":scheme", "http"),
        ];
        all.extend_from_slice(headers);
        let headers: HeaderBlock = all.into_iter().collect();
        self.step(Event::RequestHeaders {
            headers,
            end_of_stream,
            id: ID,
            peer: None,
        })
    }

    /// A POST of JSON with the key, body included.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Flow {
        let headers = [
            (
                "authorization",
                concat!("Bearer ", "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF"),
            ),
            ("content-type", "application/json"),
        ];
        self.request("POST", path, &headers, false);
        self.body(body)
    }

    pub(crate) fn body(&mut self, body: &str) -> Flow {
        let given = self.exchange.wants_request_body(true).then_some(body.as_bytes());
        self.step(Event::RequestBody {
            size: body.len(),
            body: given,
            end_of_stream: true,
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> Flow {
        self.request("GET", path, &[("x-api-key", KEY)], true)
    }

    pub(crate) fn admit(&mut self) -> Flow {
        let results = self.reserve().map_or(0, |call| call.quotas.len());
        self.step(Event::ReserveAnswered(Reserved {
            admitted: true,
            degraded: false,
            live_workers: 2,
            results: vec![admitted(); results],
        }))
    }

    pub(crate) fn reject(&mut self, results: Vec<QuotaResult>) -> Flow {
        self.step(Event::ReserveAnswered(Reserved {
            admitted: false,
            degraded: false,
            live_workers: 1,
            results,
        }))
    }

    pub(crate) fn limits_away(&mut self) -> Flow {
        let shares = std::mem::take(&mut self.shares);
        let flow = self.step(Event::ReserveFailed { shares: &shares });
        self.shares = shares;
        flow
    }

    pub(crate) fn answer(&mut self, status: &str, headers: &[(&str, &str)], end_of_stream: bool) -> Flow {
        self.respond(status, headers, end_of_stream, None)
    }

    pub(crate) fn local_reply(&mut self, status: &str, details: &str) -> Flow {
        self.respond(status, &[("content-type", "text/plain")], false, Some(details))
    }

    fn respond(
        &mut self,
        status: &str,
        headers: &[(&str, &str)],
        end_of_stream: bool,
        details: Option<&str>,
    ) -> Flow {
        let headers: HeaderBlock = [(":status", status)]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        self.step(Event::ResponseHeaders {
            headers,
            end_of_stream,
            details: details.map(str::as_bytes),
        })
    }

    pub(crate) fn chunk(&mut self, body: &str, end_of_stream: bool) -> Flow {
        let given = self
            .exchange
            .wants_response_body(body.len(), end_of_stream, &self.config)
            .then_some(body.as_bytes());
        self.step(Event::ResponseBody {
            size: body.len(),
            body: given,
            end_of_stream,
        })
    }

    pub(crate) fn end(&mut self) {
        self.step(Event::Ended { details: None });
    }

    pub(crate) fn reserve(&self) -> Option<&ReserveCall> {
        self.done.iter().find_map(|effect| {
            if let Effect::Reserve(call) = effect {
                Some(&**call)
            } else {
                None
            }
        })
    }

    pub(crate) fn reply(&self) -> &Reply {
        let reply = self.done.iter().find_map(|effect| {
            if let Effect::Reply(reply) = effect {
                Some(&**reply)
            } else {
                None
            }
        });
        reply.expect("a reply")
    }

    /// Status and code of the reply, its shape checked.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let reply = self.reply();
        let body: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(body["type"], "error");
        assert_eq!(body["requestId"], ID.to_string());
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
        assert!(body["error"]["param"].is_null());
        assert!(body["error"]["details"].is_object());
        assert_eq!(
            self.reply_header("x-rateguard-request-id").as_deref(),
            Some(ID.to_string().as_str())
        );
        (
            reply.status,
            body["error"]["code"].as_str().expect("a code").to_owned(),
        )
    }

    pub(crate) fn reply_header(&self, name: &str) -> Option<String> {
        self.reply()
            .headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
    }

    pub(crate) fn details(&self) -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&self.reply().body).expect("JSON");
        body["error"]["details"].clone()
    }

    /// What goes upstream, if anything did.
    pub(crate) fn forwarded(&self) -> Option<HeaderBlock> {
        self.done.iter().find_map(|effect| {
            if let Effect::EditRequestHeaders(edits) = effect {
                Some(edits.apply(&self.sent))
            } else {
                None
            }
        })
    }

    pub(crate) fn upstream_header(&self, name: &str) -> Option<String> {
        let headers = self.forwarded().expect("forwarded headers");
        let value = headers.get(name.as_bytes());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn response_header(&self, name: &str) -> Option<String> {
        let edited = self.done.iter().find_map(|effect| {
            if let Effect::EditResponseHeaders(edits) = effect {
                Some(edits.apply(&self.answered))
            } else {
                None
            }
        });
        let headers = edited.expect("response headers");
        let value = headers.get(name.as_bytes());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn settled(&self) -> Option<&Settlement> {
        self.done.iter().find_map(|effect| {
            if let Effect::Settle(settlement) = effect {
                Some(&**settlement)
            } else {
                None
            }
        })
    }

    pub(crate) fn released(&self) -> Option<&Settlement> {
        self.done.iter().find_map(|effect| {
            if let Effect::Release(settlement) = effect {
                Some(&**settlement)
            } else {
                None
            }
        })
    }

    pub(crate) fn events(&self) -> Vec<&RequestEvent> {
        self.done
            .iter()
            .filter_map(|effect| {
                if let Effect::Record(event) = effect {
                    Some(&**event)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The one event of the exchange.
    pub(crate) fn event(&self) -> &RequestEvent {
        let events = self.events();
        assert_eq!(events.len(), 1, "one event per request");
        events[0]
    }

    pub(crate) fn actual(&self, unit: Unit) -> Option<i64> {
        let settlement = self.settled()?;
        let index = settlement.quotas.iter().position(|quota| quota.unit == unit)?;
        settlement.amounts.get(index).map(|amount| amount.actual)
    }
}

pub(crate) fn admitted() -> QuotaResult {
    QuotaResult {
        admitted: true,
        remaining: 40,
        reset_ms: 30_000,
        spent: 200_000_000,
        reserved: 0,
        ..QuotaResult::default()
    }
}

pub(crate) fn refused(retry_after_ms: Option<i64>) -> QuotaResult {
    QuotaResult {
        admitted: false,
        remaining: 0,
        reset_ms: 30_000,
        retry_after_ms,
        spent: 990_000_000,
        reserved: 5_000_000,
        ..QuotaResult::default()
    }
}

pub(crate) const QUESTION: &str =
    r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_tokens":50}"#;
pub(crate) const ANSWER: &str = r#"{"id":"x","object":"chat.completion","model":"gpt-4o-mini-2024","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
