//! `POST /api/workspaces/{id}/rules/test`: which rules would meet a request, and why the others would not. Matching,
//! order and buckets are the model's, as in the filter.

use super::super::error::{ApiError, Faults};
use super::super::extract::{Access, Body};
use super::super::permission::Permission;
use crate::db::api::{self, Api};
use crate::db::rule;
use crate::ssrf::BaseUrl;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use rateguard_api::rule as body;
use rateguard_model::endpoint::EndpointPattern;
use rateguard_model::id::{ApiId, KeyId, QuotaId, WorkspaceId};
use rateguard_model::proxy_path;
use rateguard_model::rule::{Mismatch, Partitioner, Rule, Scope};
use std::net::IpAddr;
use uuid::Uuid;

const PATH_BYTES_MAX: usize = 8192;

/// Tells which rules a request would meet, the one that would be reported first on top
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/rules/test",
    tag = "Rules",
    operation_id = "testRules",
    request_body = body::TestRules,
    responses((status = 200, body = body::TestedRules))
)]
pub(super) async fn test(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::TestRules>,
) -> Result<Json<body::TestedRules>, ApiError> {
    access.require(Permission::Read)?;
    let request = Request::check(body)?;
    let workspace_id = access.workspace_id();
    let mut db = access.read(&state).await?;
    let found = match &request.target {
        // A slug of other characters is nobody's, and NUL is no text for Postgres.
        Target::Proxy { slug, .. } if slug.contains('\0') => None,
        Target::Proxy { slug, rest } => api::by_slug(&mut db, workspace_id, slug)
            .await?
            .map(|api| (upstream_path(&api, rest), api)),
        Target::Api { id, endpoint } => {
            let api = api::by_id(&mut db, workspace_id, *id).await?;
            Some((endpoint.clone(), api.ok_or_else(unknown_api)?))
        }
    };
    let Some((path, api)) = found else {
        return Ok(Json(body::TestedRules {
            api_id: None,
            endpoint: None,
            rules: Vec::new(),
        }));
    };
    let mut rules: Vec<(Rule, rule::Rule)> = rule::all(&mut db, workspace_id)
        .await?
        .into_iter()
        .map(|stored| (model(&stored), stored))
        .collect();
    rules.sort_by_key(|(rule, _)| rule.rank());
    let api_id = ApiId::from_bytes(api.id.into_bytes());
    let tested = rules
        .iter()
        .map(|(rule, stored)| judge(rule, stored, api_id, &path, &request))
        .collect();
    Ok(Json(body::TestedRules {
        api_id: Some(api.id.to_string()),
        endpoint: Some(path),
        rules: tested,
    }))
}

fn unknown_api() -> ApiError {
    ApiError::invalid("apiId", "must be the id of an API of this workspace")
}

/// A request to be judged.
struct Request {
    target: Target,
    method: String,
    key_id: Option<KeyId>,
    ip: Option<IpAddr>,
}

enum Target {
    Proxy { slug: String, rest: String },
    Api { id: Uuid, endpoint: String },
}

impl Request {
    fn check(body: body::TestRules) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let target = target(&mut faults, &body);
        let key_id = body.key_id.and_then(|text| {
            let id = Uuid::try_parse(&text).ok();
            if id.is_none() {
                faults.invalid("keyId", "must be the id of a key");
            }
            id.map(|id| KeyId::from_bytes(id.into_bytes()))
        });
        let ip = body.ip.and_then(|text| {
            let ip = text.parse().ok();
            if ip.is_none() {
                faults.invalid("ip", "must be an IPv4 or IPv6 address");
            }
            ip
        });
        let method = body
            .method
            .unwrap_or_else(|| "POST".to_owned())
            .to_ascii_uppercase();
        if !(1..=16).contains(&method.len()) {
            faults.invalid("method", "must be an HTTP method");
        }
        let target = faults.finish(target)?.ok_or_else(unknown_api)?;
        Ok(Self {
            target,
            method,
            key_id,
            ip,
        })
    }
}

fn target(faults: &mut Faults, body: &body::TestRules) -> Option<Target> {
    match (&body.path, &body.api_id, &body.endpoint) {
        (Some(text), None, None) => {
            let (path, _) = proxy_path::split_query(text.as_bytes());
            let found = proxy_path::split_proxy(path).filter(|_| text.len() <= PATH_BYTES_MAX);
            let Some((slug, rest)) = found else {
                faults.invalid("path", "must be /proxy/{apiSlug}/…, at most 8192 bytes");
                return None;
            };
            Some(Target::Proxy {
                slug: slug.to_owned(),
                rest: String::from_utf8_lossy(rest).into_owned(),
            })
        }
        (None, Some(id), Some(endpoint)) => {
            if !endpoint.starts_with('/') || endpoint.len() > PATH_BYTES_MAX {
                faults.invalid("endpoint", "must be a path: a slash first, at most 8192 bytes");
            }
            let id = Uuid::try_parse(id).ok();
            if id.is_none() {
                faults.invalid("apiId", "must be the id of an API of this workspace");
            }
            let (path, _) = proxy_path::split_query(endpoint.as_bytes());
            Some(Target::Api {
                id: id?,
                endpoint: String::from_utf8_lossy(path).into_owned(),
            })
        }
        _ => {
            faults.invalid("path", "either `path`, or `apiId` with `endpoint`");
            None
        }
    }
}

/// The path that goes upstream in gateway mode.
fn upstream_path(api: &Api, rest: &str) -> String {
    let base = BaseUrl::parse(&api.base_url).map_or(String::new(), |url| url.base_path().to_owned());
    let path = proxy_path::join(&base, rest.as_bytes(), b"");
    String::from_utf8_lossy(&path).into_owned()
}

fn judge(rule: &Rule, stored: &rule::Rule, api_id: ApiId, path: &str, request: &Request) -> body::TestedRule {
    let mismatch = rule.mismatch(api_id, request.method.as_bytes(), path.as_bytes());
    let (matches, reason) = match mismatch {
        _ if !stored.enabled => (false, "it is disabled".to_owned()),
        None => (true, reason(rule)),
        Some(Mismatch::Api) => (false, "it is on another API".to_owned()),
        Some(Mismatch::Method) => (false, format!("its methods are {}", rule.methods.join(", "))),
        Some(Mismatch::Endpoint) => {
            let pattern = rule.endpoint.as_ref().map_or("", EndpointPattern::as_str);
            (false, format!("`{pattern}` does not match `{path}`"))
        }
    };
    body::TestedRule {
        id: stored.id.to_string(),
        name: stored.name.clone(),
        priority: stored.priority,
        mode: stored.mode,
        matches,
        reason,
        partition: if matches {
            partition(rule, api_id, request)
        } else {
            None
        },
    }
}

fn reason(rule: &Rule) -> String {
    let api = if rule.api_id.is_some() {
        "its API"
    } else {
        "every API"
    };
    let path = match &rule.endpoint {
        Some(pattern) => format!("`{}`", pattern.as_str()),
        None => "every path".to_owned(),
    };
    let methods = if rule.methods.is_empty() {
        "every method".to_owned()
    } else {
        rule.methods.join(", ")
    };
    format!("it is on {api}, {path} and {methods}")
}

/// `None` if what the rule's scope asks for was not given.
fn partition(rule: &Rule, api_id: ApiId, request: &Request) -> Option<String> {
    let key_id = match request.key_id {
        Some(id) => id,
        None if rule.scopes.contains(&Scope::PerKey) => return None,
        None => KeyId::from_bytes([0; 16]),
    };
    let by_address = rule
        .scopes
        .iter()
        .any(|scope| matches!(scope, Scope::PerIp { .. }));
    if by_address && request.ip.is_none() {
        return None;
    }
    Some(Partitioner::new(rule, api_id).partition(key_id, request.ip, b""))
}

fn model(stored: &rule::Rule) -> Rule {
    Rule {
        id: QuotaId::from_bytes(stored.id.into_bytes()),
        workspace_id: WorkspaceId::from_bytes(stored.workspace_id.into_bytes()),
        version: stored.version,
        name: stored.name.clone(),
        api_id: stored.api_id.map(|id| ApiId::from_bytes(id.into_bytes())),
        // Checked when the rule was written.
        endpoint: stored
            .endpoint
            .as_deref()
            .and_then(|pattern| EndpointPattern::parse(pattern).ok()),
        methods: stored.methods.clone(),
        scopes: stored.scopes.clone(),
        unit: stored.unit.into(),
        limit: stored.limit,
        meter: stored.meter,
        priority: stored.priority,
        created_at_ms: stored.created_at.timestamp_millis(),
        mode: stored.mode.into(),
        failure_mode: stored.failure_mode.into(),
        shared_across_apis: stored.shared_across_apis,
    }
}
