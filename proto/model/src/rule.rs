//! Rate-limit rules (SPEC 1.3).

use crate::endpoint::EndpointPattern;
use crate::id::{ApiId, KeyId, QuotaId, WorkspaceId};
use crate::partition;
use crate::quota::{FailureMode, Meter, Mode, Unit};
use std::cmp::Reverse;
use std::net::IpAddr;

/// Whom a bucket belongs to. Several combine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Global,
    PerWorkspace,
    PerKey,
    /// 0 trusted hops: the peer's address; n: the n-th from the right of `x-forwarded-for`. IPv6 by /64.
    PerIp {
        trusted_hops: u32,
    },
    PerHeader {
        name: String,
    },
    PerModel,
    PerTag {
        name: String,
    },
}

/// A rule in force. Disabled rules never leave the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: QuotaId,
    pub workspace_id: WorkspaceId,
    pub version: u32,
    pub name: String,
    /// `None`: every API of the workspace.
    pub api_id: Option<ApiId>,
    /// `None`: every path.
    pub endpoint: Option<EndpointPattern>,
    /// Upper case; empty: every method.
    pub methods: Vec<String>,
    pub scopes: Vec<Scope>,
    pub unit: Unit,
    pub limit: i64,
    pub meter: Meter,
    /// Larger first, then the older rule.
    pub priority: i32,
    pub created_at_ms: i64,
    pub mode: Mode,
    pub failure_mode: FailureMode,
    /// One bucket over the APIs it matches, instead of one per API.
    pub shared_across_apis: bool,
}

/// Why a rule does not concern a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is on another API.
    Api,
    Method,
    Endpoint,
}

impl Rule {
    /// Whether requests to this API can meet the rule.
    pub fn is_on(&self, api_id: ApiId) -> bool {
        self.api_id.is_none_or(|id| id == api_id)
    }

    /// Rules in this order: larger priority first, then the older. The first that refuses is the one reported.
    pub fn rank(&self) -> (Reverse<i32>, i64, QuotaId) {
        (Reverse(self.priority), self.created_at_ms, self.id)
    }

    /// Whether a request meets the rule, its API aside. The path is the one sent upstream, without its query.
    pub fn matches(&self, method: &[u8], path: &[u8]) -> bool {
        self.matches_method(method) && self.matches_path(path)
    }

    /// The first thing in which the rule and a request differ; `None`: the request meets it.
    pub fn mismatch(&self, api_id: ApiId, method: &[u8], path: &[u8]) -> Option<Mismatch> {
        if !self.is_on(api_id) {
            Some(Mismatch::Api)
        } else if !self.matches_method(method) {
            Some(Mismatch::Method)
        } else if !self.matches_path(path) {
            Some(Mismatch::Endpoint)
        } else {
            None
        }
    }

    fn matches_method(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|known| known.as_bytes() == method)
    }

    fn matches_path(&self, path: &[u8]) -> bool {
        self.endpoint.as_ref().is_none_or(|pattern| pattern.matches(path))
    }
}

/// Whose bucket of a rule a request counts in, what is the same for every request made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitioner {
    prefix: String,
    per_key: bool,
    trusted_hops: Option<u32>,
}

impl Partitioner {
    pub fn new(rule: &Rule, api_id: ApiId) -> Self {
        let mut prefix = String::new();
        if !rule.shared_across_apis {
            partition::push_id(&mut prefix, 'a', api_id.as_bytes());
        }
        let trusted_hops = rule.scopes.iter().find_map(|scope| match scope {
            Scope::PerIp { trusted_hops } => Some(*trusted_hops),
            // Scopes that nothing writes yet count in the coarser bucket.
            Scope::Global
            | Scope::PerWorkspace
            | Scope::PerKey
            | Scope::PerHeader { .. }
            | Scope::PerModel
            | Scope::PerTag { .. } => None,
        });
        Self {
            prefix,
            per_key: rule.scopes.contains(&Scope::PerKey),
            trusted_hops,
        }
    }

    /// The bucket's partition. `forwarded_for` is the request's `x-forwarded-for` as Envoy passes it.
    pub fn partition(&self, key_id: KeyId, peer: Option<IpAddr>, forwarded_for: &[u8]) -> String {
        let mut text = String::with_capacity(96);
        text.push_str(&self.prefix);
        if self.per_key {
            partition::push_id(&mut text, 'k', key_id.as_bytes());
        }
        if let Some(hops) = self.trusted_hops
            && let Some(address) = partition::client_address(peer, forwarded_for, hops)
        {
            partition::push_network(&mut text, address);
        }
        if text.is_empty() {
            text.push_str(partition::WORKSPACE);
        }
        text
    }
}
