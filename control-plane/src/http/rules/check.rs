//! Rules: the REST form to what is stored, and back.

use super::super::error::{ApiError, Faults};
use super::super::text;
use crate::db::rule::Rule;
use chrono::{DateTime, Utc};
use rateguard_api::decimal::{Amount, Milli};
use rateguard_api::name::{Algorithm, FailureMode, Mode, ScopeType, Unit};
use rateguard_api::rule as body;
use rateguard_model::endpoint::EndpointPattern;
use rateguard_model::money::NANOS_PER_CENT;
use rateguard_model::quota::{self, AMOUNT_MAX, Meter};
use rateguard_model::rule::Scope;
use uuid::Uuid;

const METHODS_MAX: usize = 16;
const SCOPES_MAX: usize = 8;
const TRUSTED_HOPS_MAX: u32 = 16;
/// 31 days.
const WINDOW_MS_MAX: u64 = 31 * 24 * 3600 * 1000;

/// The values of a rule that were found sound.
pub(super) struct Values {
    name: String,
    api_id: Option<Uuid>,
    endpoint: Option<String>,
    methods: Vec<String>,
    scopes: Vec<Scope>,
    unit: Unit,
    limit: i64,
    meter: Meter,
    priority: i32,
    enabled: bool,
    mode: Mode,
    failure_mode: FailureMode,
    shared_across_apis: bool,
}

impl Values {
    pub(super) fn into_rule(
        self,
        id: Uuid,
        workspace_id: Uuid,
        version: u32,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    ) -> Rule {
        Rule {
            id,
            workspace_id,
            version,
            name: self.name,
            api_id: self.api_id,
            endpoint: self.endpoint,
            methods: self.methods,
            scopes: self.scopes,
            unit: self.unit,
            limit: self.limit,
            meter: self.meter,
            priority: self.priority,
            enabled: self.enabled,
            mode: self.mode,
            failure_mode: self.failure_mode,
            shared_across_apis: self.shared_across_apis,
            created_at,
            updated_at,
        }
    }
}

/// Checks a whole rule. Every field at fault is reported at once.
pub(super) fn check(body: &body::CreateRule, default_failure_mode: FailureMode) -> Result<Values, ApiError> {
    let mut faults = Faults::default();
    let unit = body.unit.unwrap_or(Unit::Requests);
    if !quota::Unit::from(unit).is_enforced() {
        faults.not_supported("unit", format!("{unit} is not enforced yet"));
    }
    let failure_mode = body.failure_mode.unwrap_or(default_failure_mode);
    if failure_mode == FailureMode::BoundedOpen {
        faults.invalid(
            "failureMode",
            "must be FAIL_OPEN or FAIL_CLOSED; BOUNDED_OPEN is for budgets",
        );
    }
    let name = text::name(&mut faults, "name", &body.name);
    let api_id = body.api_id.as_deref().and_then(|text| {
        let id = Uuid::try_parse(text).ok();
        if id.is_none() {
            faults.invalid("apiId", "must be the id of an API of this workspace");
        }
        id
    });
    if let Some(Err(invalid)) = body.endpoint.as_deref().map(EndpointPattern::parse) {
        faults.invalid("endpoint", invalid.to_string());
    }
    let methods = methods(&mut faults, &body.methods);
    let scopes = scopes(&mut faults, &body.scopes);
    let meter = meter(&mut faults, body, unit);
    let (limit, meter) = meter.unwrap_or((0, Meter::SlidingWindow { window_ms: 0 }));
    faults.finish(Values {
        name,
        api_id,
        endpoint: body.endpoint.clone(),
        methods,
        scopes,
        unit,
        limit,
        meter,
        priority: body.priority,
        enabled: body.enabled.unwrap_or(true),
        mode: body.mode.unwrap_or(Mode::Enforce),
        failure_mode,
        shared_across_apis: body.shared_across_apis,
    })
}

fn methods(faults: &mut Faults, texts: &[String]) -> Vec<String> {
    if texts.len() > METHODS_MAX {
        faults.invalid("methods", "must have at most 16 entries");
    }
    let mut methods: Vec<String> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let method = text.to_ascii_uppercase();
        if !(1..=16).contains(&method.len()) || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            faults.invalid(format!("methods[{index}]"), "must be an HTTP method");
        } else if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

fn scopes(faults: &mut Faults, given: &[body::Scope]) -> Vec<Scope> {
    if !(1..=SCOPES_MAX).contains(&given.len()) {
        faults.invalid("scopes", "must have 1 to 8 entries");
    }
    let mut scopes: Vec<Scope> = Vec::new();
    for (index, one) in given.iter().enumerate() {
        let field = format!("scopes[{index}]");
        let takes_name = matches!(one.kind, ScopeType::PerHeader | ScopeType::PerTag);
        if one.name.is_some() != takes_name {
            let message = if takes_name {
                "is missing"
            } else {
                "belongs to PER_HEADER and PER_TAG only"
            };
            faults.invalid(format!("{field}.name"), message);
        }
        match one.trusted_hops {
            Some(_) if one.kind != ScopeType::PerIp => {
                faults.invalid(format!("{field}.trustedHops"), "belongs to PER_IP only");
            }
            Some(hops) if hops > TRUSTED_HOPS_MAX => {
                faults.invalid(format!("{field}.trustedHops"), "must be at most 16");
            }
            Some(_) | None => {}
        }
        let scope = scope(one);
        if !scope.is_enforced() {
            faults.not_supported(
                format!("{field}.type"),
                format!("{} is not enforced yet", one.kind),
            );
        } else if scopes.iter().any(|other| other.kind() == scope.kind()) {
            faults.invalid(format!("{field}.type"), "is there twice");
        } else {
            scopes.push(scope);
        }
    }
    scopes
}

fn scope(given: &body::Scope) -> Scope {
    let name = given.name.clone().unwrap_or_default();
    match given.kind {
        ScopeType::Global => Scope::Global,
        ScopeType::PerWorkspace => Scope::PerWorkspace,
        ScopeType::PerKey => Scope::PerKey,
        ScopeType::PerIp => Scope::PerIp {
            trusted_hops: given.trusted_hops.unwrap_or(0),
        },
        ScopeType::PerHeader => Scope::PerHeader { name },
        ScopeType::PerModel => Scope::PerModel,
        ScopeType::PerTag => Scope::PerTag { name },
    }
}

/// Limit and meter. `None` if something is wrong.
fn meter(faults: &mut Faults, body: &body::CreateRule, unit: Unit) -> Option<(i64, Meter)> {
    if !quota::Algorithm::from(body.algorithm).is_enforced() {
        faults.not_supported("algorithm", format!("{} is not enforced yet", body.algorithm));
        return None;
    }
    let bucket = body.algorithm == Algorithm::TokenBucket;
    let foreign = [
        ("bucketSize", body.bucket_size.is_some() && !bucket),
        ("refillRate", body.refill_rate.is_some() && !bucket),
        ("limit", body.limit.is_some() && bucket),
        ("windowMs", body.window_ms.is_some() && bucket),
    ];
    for (field, _) in foreign.iter().filter(|(_, present)| *present) {
        faults.invalid(*field, format!("does not belong to {}", body.algorithm));
    }
    if bucket {
        let limit = amount(faults, "bucketSize", body.bucket_size, unit);
        let refill_milli_per_s = refill(faults, body.refill_rate, unit);
        return Some((
            limit?,
            Meter::TokenBucket {
                refill_milli_per_s: refill_milli_per_s?,
            },
        ));
    }
    let limit = amount(faults, "limit", body.limit, unit);
    let window_ms = body.window_ms.unwrap_or(0);
    if !(1..=WINDOW_MS_MAX).contains(&window_ms) {
        faults.invalid("windowMs", "must be 1 to 2678400000 (31 days)");
        return None;
    }
    Some((limit?, Meter::SlidingWindow { window_ms }))
}

/// An amount in the rule's unit: nano-USD for COST, else whole units.
fn amount(faults: &mut Faults, field: &str, given: Option<Amount>, unit: Unit) -> Option<i64> {
    let Some(Amount(given)) = given else {
        faults.invalid(field, "is missing");
        return None;
    };
    // Ten-millionths of a cent are nano-USD.
    let amount = if unit == Unit::Cost {
        Some(given)
    } else {
        whole(given)
    };
    match amount {
        Some(amount) if (1..=AMOUNT_MAX).contains(&amount) => Some(amount),
        Some(_) => {
            faults.invalid(
                field,
                "must be above 0 and at most 2^53 - 1 of the unit (nano-USD for COST)",
            );
            None
        }
        None => {
            faults.invalid(field, "must be a whole number");
            None
        }
    }
}

/// Ten-millionths to whole units.
fn whole(given: i64) -> Option<i64> {
    (given % NANOS_PER_CENT == 0).then_some(given / NANOS_PER_CENT)
}

/// Thousandths of the unit per second.
fn refill(faults: &mut Faults, given: Option<Milli>, unit: Unit) -> Option<u64> {
    let Some(Milli(given)) = given else {
        faults.invalid("refillRate", "is missing");
        return None;
    };
    let factor = if unit == Unit::Cost { NANOS_PER_CENT } else { 1 };
    let refill = given
        .checked_mul(factor)
        .filter(|refill| (1..=AMOUNT_MAX).contains(refill));
    if refill.is_none() {
        faults.invalid("refillRate", "must be above 0 and not astronomically large");
    }
    refill.and_then(|refill| u64::try_from(refill).ok())
}

/// The rule as it would be created with this change in it.
pub(super) fn changed(rule: &Rule, change: body::UpdateRule) -> body::CreateRule {
    let old = show(rule);
    // A new algorithm takes none of the old one's numbers, a new unit none of its amounts.
    let keep = change
        .algorithm
        .is_none_or(|algorithm| algorithm == old.algorithm)
        && change.unit.is_none_or(|unit| unit == old.unit);
    body::CreateRule {
        name: change.name.unwrap_or(old.name),
        api_id: change.api_id.unwrap_or(old.api_id),
        endpoint: change.endpoint.unwrap_or(old.endpoint),
        methods: change.methods.unwrap_or(old.methods),
        scopes: change.scopes.unwrap_or(old.scopes),
        algorithm: change.algorithm.unwrap_or(old.algorithm),
        unit: Some(change.unit.unwrap_or(old.unit)),
        bucket_size: change.bucket_size.or(old.bucket_size.filter(|_| keep)),
        refill_rate: change.refill_rate.or(old.refill_rate.filter(|_| keep)),
        limit: change.limit.or(old.limit.filter(|_| keep)),
        window_ms: change.window_ms.or(old.window_ms.filter(|_| keep)),
        priority: change.priority.unwrap_or(old.priority),
        enabled: Some(change.enabled.unwrap_or(old.enabled)),
        mode: Some(change.mode.unwrap_or(old.mode)),
        failure_mode: Some(change.failure_mode.unwrap_or(old.failure_mode)),
        shared_across_apis: change.shared_across_apis.unwrap_or(old.shared_across_apis),
    }
}

/// The REST form of what is stored.
pub(super) fn show(rule: &Rule) -> body::Rule {
    let shown_amount = if rule.unit == Unit::Cost {
        Amount(rule.limit)
    } else {
        Amount(rule.limit.saturating_mul(NANOS_PER_CENT))
    };
    let shown_refill = |refill: u64| {
        let refill = i64::try_from(refill).unwrap_or(i64::MAX);
        Milli(if rule.unit == Unit::Cost {
            refill / NANOS_PER_CENT
        } else {
            refill
        })
    };
    let (bucket_size, refill_rate, limit, window_ms) = match rule.meter {
        Meter::TokenBucket { refill_milli_per_s } => (
            Some(shown_amount),
            Some(shown_refill(refill_milli_per_s)),
            None,
            None,
        ),
        Meter::SlidingWindow { window_ms } => (None, None, Some(shown_amount), Some(window_ms)),
        Meter::FixedWindow { .. } => (None, None, Some(shown_amount), None),
    };
    body::Rule {
        id: rule.id.to_string(),
        version: rule.version,
        name: rule.name.clone(),
        api_id: rule.api_id.map(|id| id.to_string()),
        endpoint: rule.endpoint.clone(),
        methods: rule.methods.clone(),
        scopes: rule.scopes.iter().map(show_scope).collect(),
        algorithm: rule.meter.algorithm().into(),
        unit: rule.unit,
        bucket_size,
        refill_rate,
        limit,
        window_ms,
        priority: rule.priority,
        enabled: rule.enabled,
        mode: rule.mode,
        failure_mode: rule.failure_mode,
        shared_across_apis: rule.shared_across_apis,
        created_at: text::timestamp(rule.created_at),
        updated_at: text::timestamp(rule.updated_at),
    }
}

fn show_scope(scope: &Scope) -> body::Scope {
    let bare = |kind| body::Scope {
        kind,
        name: None,
        trusted_hops: None,
    };
    match scope {
        Scope::Global => bare(ScopeType::Global),
        Scope::PerWorkspace => bare(ScopeType::PerWorkspace),
        Scope::PerKey => bare(ScopeType::PerKey),
        Scope::PerIp { trusted_hops } => body::Scope {
            trusted_hops: Some(*trusted_hops),
            ..bare(ScopeType::PerIp)
        },
        Scope::PerHeader { name } => body::Scope {
            name: Some(name.clone()),
            ..bare(ScopeType::PerHeader)
        },
        Scope::PerModel => bare(ScopeType::PerModel),
        Scope::PerTag { name } => body::Scope {
            name: Some(name.clone()),
            ..bare(ScopeType::PerTag)
        },
    }
}
