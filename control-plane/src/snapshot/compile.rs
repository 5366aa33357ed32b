//! Rows to the feed's messages. Pure; a row that cannot be read becomes a [`Problem`] and never half a message.

use super::row::{self, Rows};
use crate::db::{cost_model, scopes};
use crate::secrets::{Keyring, Sealed};
use crate::ssrf::BaseUrl;
use chrono::{DateTime, TimeDelta, Utc};
use rateguard_api::name::{Algorithm, AuthType, FailureMode, Mode, Unit, UnpricedModelPolicy, UsageFormat};
use rateguard_wire::v1::{self, ResourceType};
use std::collections::BTreeMap;
use std::str::FromStr;
use uuid::Uuid;

/// How long a revoked key stays in the feed, so that its refusals say why in the log.
pub const REVOKED_KEPT: TimeDelta = TimeDelta::days(30);

/// A message of the feed.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Workspace(v1::Workspace),
    /// With what Envoy's cluster is made of; an address that cannot be read leaves the API inactive.
    Api(Box<v1::Api>, Option<BaseUrl>),
    Key(v1::Key),
    Rule(Box<v1::Rule>),
    Budget(v1::Budget),
    DataPlaneToken(v1::DataPlaneToken),
}

/// What a row does to the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub resource_type: ResourceType,
    pub id: Uuid,
    /// `None`: a token for all workspaces.
    pub workspace_id: Option<Uuid>,
    pub version: i64,
    /// `None`: it leaves.
    pub body: Option<Body>,
}

/// A row that the feed cannot tell as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub table: &'static str,
    pub id: Uuid,
    pub column: &'static str,
    pub reason: String,
}

/// Removals come first: what they take with them must not take what was written with them.
#[derive(Debug, Default)]
pub struct Compiled {
    pub changes: Vec<Change>,
    pub problems: Vec<Problem>,
}

/// Compiles rows as of `now`.
pub fn compile(rows: Rows, keyring: &Keyring, now: DateTime<Utc>) -> Compiled {
    let Rows {
        workspaces,
        apis,
        keys,
        rules,
        budgets,
        data_plane_tokens,
        removals,
    } = rows;
    let mut compiled = Compiled::default();
    compiled.changes.extend(removals.iter().filter_map(removal));
    for row in workspaces {
        compiled.add("workspace", row.id, workspace(row));
    }
    for row in apis {
        let id = row.id;
        let (change, problems) = api(row, keyring);
        compiled
            .problems
            .extend(problems.into_iter().map(|problem| problem.of("api", id)));
        compiled.changes.push(change);
    }
    for row in keys {
        compiled.add("api_key", row.id, key(&row, now));
    }
    for row in rules {
        compiled.add("rule", row.id, rule(row));
    }
    for row in budgets {
        compiled.add("budget", row.id, budget(row));
    }
    compiled
        .changes
        .extend(data_plane_tokens.into_iter().map(data_plane_token));
    compiled
}

impl Compiled {
    fn add(&mut self, table: &'static str, id: Uuid, change: Result<Change, Unreadable>) {
        match change {
            Ok(change) => self.changes.push(change),
            Err(problem) => self.problems.push(problem.of(table, id)),
        }
    }
}

/// A column that cannot be read.
struct Unreadable {
    column: &'static str,
    reason: String,
}

impl Unreadable {
    fn of(self, table: &'static str, id: Uuid) -> Problem {
        let Self { column, reason } = self;
        Problem {
            table,
            id,
            column,
            reason,
        }
    }
}

fn unreadable(column: &'static str, reason: impl Into<String>) -> Unreadable {
    Unreadable {
        column,
        reason: reason.into(),
    }
}

/// Reads a name of the REST API.
fn name<T: FromStr>(column: &'static str, text: &str) -> Result<T, Unreadable> {
    text.parse()
        .map_err(|_| unreadable(column, format!("unknown name {text}")))
}

fn id_bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn removal(row: &row::Removal) -> Option<Change> {
    let resource_type = match row.resource_type.as_str() {
        "workspace" => ResourceType::Workspace,
        "api" => ResourceType::Api,
        "key" => ResourceType::Key,
        "rule" => ResourceType::Rule,
        "budget" => ResourceType::Budget,
        "data_plane_token" => ResourceType::DataPlaneToken,
        _ => return None,
    };
    let workspace_id = match resource_type {
        ResourceType::Workspace => Some(row.resource_id),
        _ => row.workspace_id,
    };
    Some(Change {
        resource_type,
        id: row.resource_id,
        workspace_id,
        version: row.version,
        body: None,
    })
}

fn workspace(row: row::Workspace) -> Result<Change, Unreadable> {
    let row::Workspace {
        id,
        slug,
        time_zone,
        unpriced_model_policy,
        failure_mode,
        feed_version,
    } = row;
    let unpriced = match name("unpriced_model_policy", &unpriced_model_policy)? {
        UnpricedModelPolicy::Block => v1::UnpricedModelPolicy::Block,
        UnpricedModelPolicy::Allow => v1::UnpricedModelPolicy::Allow,
    };
    let message = v1::Workspace {
        id: id_bytes(id),
        slug,
        time_zone,
        unpriced_model_policy: unpriced.into(),
        failure_mode: failure_mode_of(&failure_mode)?.into(),
    };
    Ok(Change {
        resource_type: ResourceType::Workspace,
        id,
        workspace_id: Some(id),
        version: feed_version,
        body: Some(Body::Workspace(message)),
    })
}

/// An API never leaves because of what cannot be read: its requests are refused as `api_inactive`, not as unknown.
fn api(row: row::Api, keyring: &Keyring) -> (Change, Vec<Unreadable>) {
    let mut problems = Vec::new();
    let base_url = keep(
        BaseUrl::parse(&row.base_url).map_err(|error| unreadable("base_url", error.to_string())),
        &mut problems,
    );
    let auth = keep(upstream_auth(&row, keyring), &mut problems);
    let cost_model = row.cost_model.as_deref().map(cost_model_of).transpose();
    let cost_model = keep(cost_model, &mut problems);
    let usage_format = keep(name("usage_format", &row.usage_format), &mut problems);
    let message = v1::Api {
        id: id_bytes(row.id),
        workspace_id: id_bytes(row.workspace_id),
        slug: row.slug,
        hosts: row.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        scheme: base_url
            .as_ref()
            .map_or("", |url| url.scheme().as_str())
            .to_owned(),
        authority: base_url.as_ref().map(BaseUrl::authority).unwrap_or_default(),
        base_path: base_url.as_ref().map_or("", BaseUrl::base_path).to_owned(),
        cluster: cluster_name(row.id),
        auth,
        usage_format: usage_format.map_or(v1::UsageFormat::Auto, usage_format_of).into(),
        cost_model: cost_model.flatten(),
        timeout_ms: u32::try_from(row.timeout_ms).unwrap_or(0),
        forward_cookies: row.forward_cookies,
        stream_cost_comment: row.stream_cost_comment,
        is_active: row.is_active && problems.is_empty(),
        price_version: row.price_version,
    };
    let change = Change {
        resource_type: ResourceType::Api,
        id: row.id,
        workspace_id: Some(row.workspace_id),
        version: row.feed_version,
        body: Some(Body::Api(Box::new(message), base_url)),
    };
    (change, problems)
}

/// Envoy's cluster of an API in gateway mode.
pub fn cluster_name(api_id: Uuid) -> String {
    format!("api_{api_id}")
}

fn keep<T>(result: Result<T, Unreadable>, problems: &mut Vec<Unreadable>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn upstream_auth(row: &row::Api, keyring: &Keyring) -> Result<v1::UpstreamAuth, Unreadable> {
    use v1::upstream_auth::Kind;
    let credential = || {
        let (Some(text), Some(key_id)) = (row.credential.clone(), row.credential_key_id.clone()) else {
            return Err(unreadable("credential", "missing"));
        };
        keyring
            .open(row.workspace_id, row.id, &Sealed { text, key_id })
            .map_err(|error| unreadable("credential", error.to_string()))
    };
    let kind = match name("auth_type", &row.auth_type)? {
        AuthType::None => Kind::None(true),
        AuthType::Bearer => Kind::Bearer(credential()?),
        AuthType::Basic => Kind::Basic(credential()?),
        AuthType::ApiKeyHeader => {
            let header_name = row.auth_header_name.as_deref();
            Kind::ApiKeyHeader(v1::ApiKeyHeader {
                header_name: header_name
                    .ok_or_else(|| unreadable("auth_header_name", "missing"))?
                    .to_ascii_lowercase(),
                value: credential()?,
            })
        }
    };
    Ok(v1::UpstreamAuth { kind: Some(kind) })
}

fn cost_model_of(json: &str) -> Result<v1::CostModel, Unreadable> {
    let model = serde_json::from_str(json).and_then(cost_model::from_json);
    model
        .map(v1::CostModel::from)
        .map_err(|error| unreadable("cost_model", error.to_string()))
}

fn usage_format_of(format: UsageFormat) -> v1::UsageFormat {
    match format {
        UsageFormat::Auto => v1::UsageFormat::Auto,
        UsageFormat::OpenAi => v1::UsageFormat::Openai,
        UsageFormat::Anthropic => v1::UsageFormat::Anthropic,
        UsageFormat::Gemini => v1::UsageFormat::Gemini,
        UsageFormat::Bedrock => v1::UsageFormat::Bedrock,
        UsageFormat::Cohere => v1::UsageFormat::Cohere,
        UsageFormat::Generic => v1::UsageFormat::Generic,
        UsageFormat::None => v1::UsageFormat::None,
    }
}

/// Deleted keys leave; revoked ones leave after [`REVOKED_KEPT`].
fn key(row: &row::Key, now: DateTime<Utc>) -> Result<Change, Unreadable> {
    let is_gone = row.deleted_at.is_some() || row.revoked_at.is_some_and(|at| at + REVOKED_KEPT < now);
    let change = |body| Change {
        resource_type: ResourceType::Key,
        id: row.id,
        workspace_id: Some(row.workspace_id),
        version: row.feed_version,
        body,
    };
    if is_gone {
        return Ok(change(None));
    }
    let state = match (row.revoked_at, row.is_active) {
        (Some(_), _) => v1::KeyState::Revoked,
        (None, false) => v1::KeyState::Suspended,
        (None, true) => v1::KeyState::Active,
    };
    let tags: BTreeMap<String, String> =
        serde_json::from_str(&row.tags).map_err(|error| unreadable("tags", error.to_string()))?;
    let not_after = row
        .secret_not_after
        .iter()
        .copied()
        .chain(std::iter::repeat(None));
    let secrets = row.secret_sha256.iter().zip(not_after);
    let message = v1::Key {
        id: id_bytes(row.id),
        workspace_id: id_bytes(row.workspace_id),
        state: state.into(),
        secrets: secrets
            .map(|(sha256, not_after)| v1::KeySecret {
                sha256: sha256.clone(),
                not_after_ms: millis(not_after),
            })
            .collect(),
        expires_at_ms: millis(row.expires_at),
        allowed_api_ids: row.allowed_api_ids.iter().copied().map(id_bytes).collect(),
        allowed_models: row.allowed_models.clone(),
        tags,
        owner_id: row.owner_id.map(id_bytes).unwrap_or_default(),
    };
    Ok(change(Some(Body::Key(message))))
}

/// 0 stands for none.
fn millis(at: Option<DateTime<Utc>>) -> i64 {
    at.map_or(0, |at| at.timestamp_millis())
}

/// Disabled rules leave.
fn rule(row: row::Rule) -> Result<Change, Unreadable> {
    let (id, workspace_id, version) = (row.id, row.workspace_id, row.feed_version);
    let body = if row.enabled {
        Some(Body::Rule(Box::new(rule_message(row)?)))
    } else {
        None
    };
    Ok(Change {
        resource_type: ResourceType::Rule,
        id,
        workspace_id: Some(workspace_id),
        version,
        body,
    })
}

fn rule_message(row: row::Rule) -> Result<v1::Rule, Unreadable> {
    let scopes = serde_json::from_str(&row.scopes).and_then(scopes::from_json);
    let scopes = scopes.map_err(|error| unreadable("scopes", error.to_string()))?;
    let mode = match name("mode", &row.mode)? {
        Mode::Enforce => v1::Mode::Enforce,
        Mode::Shadow => v1::Mode::Shadow,
    };
    let amount = |column, value: i64| u64::try_from(value).map_err(|_| unreadable(column, "negative"));
    let window_ms = row.window_ms.map(|ms| amount("window_ms", ms)).transpose()?;
    let window = window_ms.map(|ms| v1::Window {
        kind: Some(v1::window::Kind::RollingMs(ms)),
    });
    Ok(v1::Rule {
        id: id_bytes(row.id),
        workspace_id: id_bytes(row.workspace_id),
        version: u32::try_from(row.version).map_err(|_| unreadable("version", "negative"))?,
        name: row.name,
        api_id: row.api_id.map(id_bytes).unwrap_or_default(),
        endpoint: row.endpoint.unwrap_or_default(),
        methods: row
            .methods
            .iter()
            .map(|method| method.to_ascii_uppercase())
            .collect(),
        scopes: scopes.into_iter().map(v1::Scope::from).collect(),
        algorithm: algorithm(name("algorithm", &row.algorithm)?).into(),
        unit: unit(name("unit", &row.unit)?).into(),
        limit: row.limit_amount,
        window,
        refill_milli_per_s: amount("refill_milli_per_s", row.refill_milli_per_s.unwrap_or(0))?,
        priority: row.priority,
        created_at_ms: row.created_at.timestamp_millis(),
        mode: mode.into(),
        failure_mode: failure_mode_of(&row.failure_mode)?.into(),
        shared_across_apis: row.shared_across_apis,
    })
}

fn algorithm(algorithm: Algorithm) -> v1::Algorithm {
    match algorithm {
        Algorithm::TokenBucket => v1::Algorithm::TokenBucket,
        Algorithm::SlidingWindow => v1::Algorithm::SlidingWindow,
        Algorithm::SlidingWindowCounter => v1::Algorithm::SlidingWindowCounter,
        Algorithm::FixedWindow => v1::Algorithm::FixedWindow,
        Algorithm::Concurrency => v1::Algorithm::Concurrency,
    }
}

fn unit(unit: Unit) -> v1::Unit {
    match unit {
        Unit::Requests => v1::Unit::Requests,
        Unit::Tokens => v1::Unit::Tokens,
        Unit::InputTokens => v1::Unit::InputTokens,
        Unit::OutputTokens => v1::Unit::OutputTokens,
        Unit::Cost => v1::Unit::NanoUsd,
    }
}

fn failure_mode_of(text: &str) -> Result<v1::FailureMode, Unreadable> {
    Ok(match name("failure_mode", text)? {
        FailureMode::FailOpen => v1::FailureMode::FailOpen,
        FailureMode::FailClosed => v1::FailureMode::FailClosed,
        FailureMode::BoundedOpen => v1::FailureMode::BoundedOpen,
    })
}

fn budget(row: row::Budget) -> Result<Change, Unreadable> {
    use v1::BudgetSubjectKind as Kind;
    let subject_kind = match row.subject_type.as_str() {
        "WORKSPACE" => Kind::Workspace,
        "API" => Kind::Api,
        "KEY" => Kind::Key,
        "TAG" => Kind::Tag,
        "MODEL" => Kind::Model,
        other => return Err(unreadable("subject_type", format!("unknown name {other}"))),
    };
    let message = v1::Budget {
        id: id_bytes(row.id),
        workspace_id: id_bytes(row.workspace_id),
        version: u32::try_from(row.version).map_err(|_| unreadable("version", "negative"))?,
        name: row.name,
        subject_kind: subject_kind.into(),
        subject: row.subject,
        limit_nanos: row.limit_nanos,
        window: Some(window(&row.window_type, row.time_zone)?),
        auto_shutoff: row.auto_shutoff,
        failure_mode: failure_mode_of(&row.failure_mode)?.into(),
    };
    Ok(Change {
        resource_type: ResourceType::Budget,
        id: row.id,
        workspace_id: Some(row.workspace_id),
        version: row.feed_version,
        body: Some(Body::Budget(message)),
    })
}

fn window(window_type: &str, time_zone: String) -> Result<v1::Window, Unreadable> {
    use v1::window::Kind;
    let calendar = |unit: v1::CalendarUnit| {
        Kind::Calendar(v1::CalendarWindow {
            unit: unit.into(),
            time_zone,
        })
    };
    let kind = match window_type {
        "HOUR" => calendar(v1::CalendarUnit::Hour),
        "DAY" => calendar(v1::CalendarUnit::Day),
        "WEEK" => calendar(v1::CalendarUnit::Week),
        "MONTH" => calendar(v1::CalendarUnit::Month),
        "TOTAL" => Kind::Total(true),
        other => return Err(unreadable("window_type", format!("unknown name {other}"))),
    };
    Ok(v1::Window { kind: Some(kind) })
}

/// Revoked tokens leave.
fn data_plane_token(row: row::DataPlaneToken) -> Change {
    let row::DataPlaneToken {
        id,
        workspace_id,
        sha256,
        revoked_at,
        feed_version,
    } = row;
    let message = v1::DataPlaneToken {
        id: id_bytes(id),
        sha256,
        workspace_id: workspace_id.map(id_bytes).unwrap_or_default(),
    };
    Change {
        resource_type: ResourceType::DataPlaneToken,
        id,
        workspace_id,
        version: feed_version,
        body: revoked_at.is_none().then_some(Body::DataPlaneToken(message)),
    }
}

#[cfg(test)]
mod tests;
