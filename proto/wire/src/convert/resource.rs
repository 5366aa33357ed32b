//! Workspaces, APIs and keys. Whatever becomes part of a request to the upstream is checked for characters that could
//! end a header or a path early.

use super::names::known;
use super::{
    Fault, Invalid, all, check, id, into_all, optional_id, optional_time, pairs, required, time_or_zero,
};
use crate::v1;
use rateguard_model::cost::CostModel;
use rateguard_model::digest::Digest;
use rateguard_model::resource::{Api, Key, KeySecret, UpstreamAuth, Workspace};

impl TryFrom<v1::Workspace> for Workspace {
    type Error = Invalid;

    fn try_from(message: v1::Workspace) -> Result<Self, Invalid> {
        let v1::Workspace {
            id: workspace_id,
            slug,
            time_zone,
            unpriced_model_policy,
            failure_mode,
        } = message;
        check("Workspace.slug", is_slug(&slug))?;
        Ok(Self {
            id: id("Workspace.id", &workspace_id)?,
            slug,
            time_zone: time_zone
                .parse()
                .map_err(|_| Fault::Form.at("Workspace.time_zone"))?,
            unpriced_model_policy: known::<v1::UnpricedModelPolicy, _>(
                "Workspace.unpriced_model_policy",
                unpriced_model_policy,
            )?,
            failure_mode: known::<v1::FailureMode, _>("Workspace.failure_mode", failure_mode)?,
        })
    }
}

impl From<Workspace> for v1::Workspace {
    fn from(workspace: Workspace) -> Self {
        let Workspace {
            id,
            slug,
            time_zone,
            unpriced_model_policy,
            failure_mode,
        } = workspace;
        Self {
            id: id.as_bytes().to_vec(),
            slug,
            time_zone: time_zone.name().to_owned(),
            unpriced_model_policy: v1::UnpricedModelPolicy::from(unpriced_model_policy).into(),
            failure_mode: v1::FailureMode::from(failure_mode).into(),
        }
    }
}

impl TryFrom<v1::Api> for Api {
    type Error = Invalid;

    fn try_from(message: v1::Api) -> Result<Self, Invalid> {
        let v1::Api {
            id: api_id,
            workspace_id,
            slug,
            hosts,
            scheme,
            authority,
            base_path,
            cluster,
            auth,
            usage_format,
            cost_model,
            timeout_ms,
            forward_cookies,
            stream_cost_comment,
            is_active,
            price_version,
        } = message;
        check("Api.slug", is_slug(&slug))?;
        check("Api.hosts", hosts.iter().all(|host| is_host(host)))?;
        check("Api.scheme", matches!(scheme.as_str(), "http" | "https"))?;
        check("Api.authority", is_authority(&authority))?;
        check("Api.base_path", is_base_path(&base_path))?;
        check("Api.cluster", cluster.bytes().all(|b| b.is_ascii_graphic()))?;
        Ok(Self {
            id: id("Api.id", &api_id)?,
            workspace_id: id("Api.workspace_id", &workspace_id)?,
            slug,
            hosts,
            scheme,
            authority,
            base_path,
            cluster,
            auth: required("Api.auth", auth)?.try_into()?,
            usage_format: known::<v1::UsageFormat, _>("Api.usage_format", usage_format)?,
            cost_model: cost_model.map(CostModel::try_from).transpose()?,
            timeout_ms,
            forward_cookies,
            stream_cost_comment,
            is_active,
            price_version,
        })
    }
}

impl From<Api> for v1::Api {
    fn from(api: Api) -> Self {
        let Api {
            id,
            workspace_id,
            slug,
            hosts,
            scheme,
            authority,
            base_path,
            cluster,
            auth,
            usage_format,
            cost_model,
            timeout_ms,
            forward_cookies,
            stream_cost_comment,
            is_active,
            price_version,
        } = api;
        Self {
            id: id.as_bytes().to_vec(),
            workspace_id: workspace_id.as_bytes().to_vec(),
            slug,
            hosts,
            scheme,
            authority,
            base_path,
            cluster,
            auth: Some(auth.into()),
            usage_format: v1::UsageFormat::from(usage_format).into(),
            cost_model: cost_model.map(Into::into),
            timeout_ms,
            forward_cookies,
            stream_cost_comment,
            is_active,
            price_version,
        }
    }
}

impl TryFrom<v1::UpstreamAuth> for UpstreamAuth {
    type Error = Invalid;

    fn try_from(message: v1::UpstreamAuth) -> Result<Self, Invalid> {
        use v1::upstream_auth::Kind;
        let v1::UpstreamAuth { kind } = message;
        match required("UpstreamAuth.kind", kind)? {
            Kind::None(true) => Ok(Self::None),
            Kind::None(false) => Err(Fault::Form.at("UpstreamAuth.none")),
            Kind::Bearer(token) => {
                check("UpstreamAuth.bearer", is_header_value(&token))?;
                Ok(Self::Bearer { token })
            }
            Kind::ApiKeyHeader(v1::ApiKeyHeader { header_name, value }) => {
                check("ApiKeyHeader.header_name", is_header_name(&header_name))?;
                check("ApiKeyHeader.value", is_header_value(&value))?;
                Ok(Self::ApiKeyHeader { header_name, value })
            }
            // It goes out as base64: any character is safe.
            Kind::Basic(user_password) => Ok(Self::Basic { user_password }),
        }
    }
}

impl From<UpstreamAuth> for v1::UpstreamAuth {
    fn from(auth: UpstreamAuth) -> Self {
        use v1::upstream_auth::Kind;
        let kind = match auth {
            UpstreamAuth::None => Kind::None(true),
            UpstreamAuth::Bearer { token } => Kind::Bearer(token),
            UpstreamAuth::ApiKeyHeader { header_name, value } => {
                Kind::ApiKeyHeader(v1::ApiKeyHeader { header_name, value })
            }
            UpstreamAuth::Basic { user_password } => Kind::Basic(user_password),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Key> for Key {
    type Error = Invalid;

    fn try_from(message: v1::Key) -> Result<Self, Invalid> {
        let v1::Key {
            id: key_id,
            workspace_id,
            state,
            secrets,
            expires_at_ms,
            allowed_api_ids,
            allowed_models,
            tags,
            owner_id,
        } = message;
        Ok(Self {
            id: id("Key.id", &key_id)?,
            workspace_id: id("Key.workspace_id", &workspace_id)?,
            state: known::<v1::KeyState, _>("Key.state", state)?,
            secrets: all(secrets)?,
            expires_at_ms: optional_time("Key.expires_at_ms", expires_at_ms)?,
            allowed_api_ids: allowed_api_ids
                .iter()
                .map(|bytes| id("Key.allowed_api_ids", bytes))
                .collect::<Result<_, _>>()?,
            allowed_models,
            tags: pairs(tags),
            owner_id: optional_id("Key.owner_id", &owner_id)?,
        })
    }
}

impl From<Key> for v1::Key {
    fn from(key: Key) -> Self {
        let Key {
            id,
            workspace_id,
            state,
            secrets,
            expires_at_ms,
            allowed_api_ids,
            allowed_models,
            tags,
            owner_id,
        } = key;
        Self {
            id: id.as_bytes().to_vec(),
            workspace_id: workspace_id.as_bytes().to_vec(),
            state: v1::KeyState::from(state).into(),
            secrets: into_all(secrets),
            expires_at_ms: time_or_zero(expires_at_ms),
            allowed_api_ids: allowed_api_ids.iter().map(|id| id.as_bytes().to_vec()).collect(),
            allowed_models,
            tags: tags.into_iter().collect(),
            owner_id: owner_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        }
    }
}

impl TryFrom<v1::KeySecret> for KeySecret {
    type Error = Invalid;

    fn try_from(message: v1::KeySecret) -> Result<Self, Invalid> {
        let v1::KeySecret { sha256, not_after_ms } = message;
        let digest = sha256
            .try_into()
            .map_err(|_| Fault::Digest.at("KeySecret.sha256"))?;
        Ok(Self {
            digest: Digest::from_bytes(digest),
            not_after_ms: optional_time("KeySecret.not_after_ms", not_after_ms)?,
        })
    }
}

impl From<KeySecret> for v1::KeySecret {
    fn from(secret: KeySecret) -> Self {
        let KeySecret { digest, not_after_ms } = secret;
        Self {
            sha256: digest.as_bytes().to_vec(),
            not_after_ms: time_or_zero(not_after_ms),
        }
    }
}

/// `[a-z0-9-]{1,64}` (SPEC 1.2).
fn is_slug(slug: &str) -> bool {
    (1..=64).contains(&slug.len())
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `host[:port]`, also an IPv6 address in brackets.
fn is_authority(authority: &str) -> bool {
    !authority.is_empty()
        && authority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

fn is_host(host: &str) -> bool {
    is_authority(host) && !host.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_base_path(path: &str) -> bool {
    let is_path = path.starts_with('/')
        && !path.ends_with('/')
        && path
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    path.is_empty() || is_path
}

/// A token of RFC 9110, 5.6.2, in lower case.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_header_value(value: &str) -> bool {
    !value.chars().any(|c| c.is_ascii_control())
}
