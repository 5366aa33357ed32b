//! Rate-limit rules and their scopes.

use super::names::known;
use super::quota::{MeterFields, meter, meter_fields};
use super::{Fault, Invalid, all, amount, check, id, into_all, optional_id};
use crate::v1;
use rateguard_model::endpoint::EndpointPattern;
use rateguard_model::rule::{Rule, Scope};

impl TryFrom<v1::Rule> for Rule {
    type Error = Invalid;

    fn try_from(message: v1::Rule) -> Result<Self, Invalid> {
        let v1::Rule {
            id: rule_id,
            workspace_id,
            version,
            name,
            api_id,
            endpoint,
            methods,
            scopes,
            algorithm,
            unit,
            limit,
            window,
            refill_milli_per_s,
            priority,
            created_at_ms,
            mode,
            failure_mode,
            shared_across_apis,
        } = message;
        let is_method = |method: &String| {
            !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        };
        check("Rule.methods", methods.iter().all(is_method))?;
        Ok(Self {
            id: id("Rule.id", &rule_id)?,
            workspace_id: id("Rule.workspace_id", &workspace_id)?,
            version,
            name,
            api_id: optional_id("Rule.api_id", &api_id)?,
            endpoint: pattern(&endpoint)?,
            methods,
            scopes: all(scopes)?,
            unit: known::<v1::Unit, _>("Rule.unit", unit)?,
            limit: amount("Rule.limit", limit)?,
            meter: meter(&RULE_FIELDS, algorithm, window, refill_milli_per_s)?,
            priority,
            created_at_ms,
            mode: known::<v1::Mode, _>("Rule.mode", mode)?,
            failure_mode: known::<v1::FailureMode, _>("Rule.failure_mode", failure_mode)?,
            shared_across_apis,
        })
    }
}

const RULE_FIELDS: MeterFields = MeterFields {
    algorithm: "Rule.algorithm",
    window: "Rule.window",
    refill: "Rule.refill_milli_per_s",
};

fn pattern(endpoint: &str) -> Result<Option<EndpointPattern>, Invalid> {
    if endpoint.is_empty() {
        return Ok(None);
    }
    EndpointPattern::parse(endpoint)
        .map(Some)
        .map_err(|_| Fault::Form.at("Rule.endpoint"))
}

impl From<Rule> for v1::Rule {
    fn from(rule: Rule) -> Self {
        let Rule {
            id,
            workspace_id,
            version,
            name,
            api_id,
            endpoint,
            methods,
            scopes,
            unit,
            limit,
            meter,
            priority,
            created_at_ms,
            mode,
            failure_mode,
            shared_across_apis,
        } = rule;
        let (algorithm, window, refill_milli_per_s) = meter_fields(meter);
        Self {
            id: id.as_bytes().to_vec(),
            workspace_id: workspace_id.as_bytes().to_vec(),
            version,
            name,
            api_id: api_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            endpoint: endpoint.map_or_else(String::new, |pattern| pattern.as_str().to_owned()),
            methods,
            scopes: into_all(scopes),
            algorithm: algorithm.into(),
            unit: v1::Unit::from(unit).into(),
            limit,
            window,
            refill_milli_per_s,
            priority,
            created_at_ms,
            mode: v1::Mode::from(mode).into(),
            failure_mode: v1::FailureMode::from(failure_mode).into(),
            shared_across_apis,
        }
    }
}

impl TryFrom<v1::Scope> for Scope {
    type Error = Invalid;

    fn try_from(message: v1::Scope) -> Result<Self, Invalid> {
        use v1::ScopeKind;
        let v1::Scope {
            kind,
            name,
            trusted_hops,
        } = message;
        let named = matches!(
            ScopeKind::try_from(kind),
            Ok(ScopeKind::PerHeader | ScopeKind::PerTag)
        );
        check("Scope.name", named != name.is_empty())?;
        check(
            "Scope.trusted_hops",
            trusted_hops == 0 || kind == i32::from(ScopeKind::PerIp),
        )?;
        match ScopeKind::try_from(kind).unwrap_or(ScopeKind::Unspecified) {
            ScopeKind::Unspecified => Err(Fault::Enum.at("Scope.kind")),
            ScopeKind::Global => Ok(Self::Global),
            ScopeKind::PerWorkspace => Ok(Self::PerWorkspace),
            ScopeKind::PerKey => Ok(Self::PerKey),
            ScopeKind::PerIp => Ok(Self::PerIp { trusted_hops }),
            ScopeKind::PerHeader => Ok(Self::PerHeader { name }),
            ScopeKind::PerModel => Ok(Self::PerModel),
            ScopeKind::PerTag => Ok(Self::PerTag { name }),
        }
    }
}

impl From<Scope> for v1::Scope {
    fn from(scope: Scope) -> Self {
        use v1::ScopeKind;
        let (kind, name, trusted_hops) = match scope {
            Scope::Global => (ScopeKind::Global, String::new(), 0),
            Scope::PerWorkspace => (ScopeKind::PerWorkspace, String::new(), 0),
            Scope::PerKey => (ScopeKind::PerKey, String::new(), 0),
            Scope::PerIp { trusted_hops } => (ScopeKind::PerIp, String::new(), trusted_hops),
            Scope::PerHeader { name } => (ScopeKind::PerHeader, name, 0),
            Scope::PerModel => (ScopeKind::PerModel, String::new(), 0),
            Scope::PerTag { name } => (ScopeKind::PerTag, name, 0),
        };
        Self {
            kind: kind.into(),
            name,
            trusted_hops,
        }
    }
}
