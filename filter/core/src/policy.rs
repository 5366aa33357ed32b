//! Which rules and budgets a request meets, as quotas (SPEC 1.3, 1.4).

use crate::estimate::Estimate;
use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::id::{ApiId, KeyId};
use rateguard_model::partition;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, QUOTAS_MAX, Quota, QuotaKind, Unit};
use rateguard_model::resource::{Api, Workspace};
use rateguard_model::rule::{Rule, Scope};
use rateguard_model::window::Window;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

/// An API with the rules and budgets that can concern it, compiled when the snapshot changes.
#[derive(Debug)]
pub struct Policy {
    pub workspace: Rc<Workspace>,
    pub api: Rc<Api>,
    /// Larger priority first, then the older: the first that refuses is the one reported.
    rules: Vec<CompiledRule>,
    budgets: Vec<CompiledBudget>,
    /// Whether any rule counts tokens.
    pub counts_tokens: bool,
}

/// What a response says about a quota.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    pub name: String,
    /// Item of `RateLimit-Policy`: `"name";q=100;w=60`.
    pub policy_item: String,
    /// The item's name alone, quoted as a structured-field string.
    pub quoted_name: String,
    /// Budgets: the window, for `resetsAt`.
    pub window: Option<Window>,
}

#[derive(Debug)]
struct CompiledRule {
    rule: Rc<Rule>,
    label: Rc<Label>,
    /// The part of the partition that is the same for every request.
    prefix: String,
    per_key: bool,
    trusted_hops: Option<u32>,
}

#[derive(Debug)]
struct CompiledBudget {
    budget: Rc<Budget>,
    label: Rc<Label>,
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key_id: KeyId,
    pub method: &'a [u8],
    /// As it goes upstream, without its query.
    pub path: &'a [u8],
    pub peer: Option<IpAddr>,
    pub forwarded_for: Option<&'a [u8]>,
}

/// A quota that a request meets, its amount set.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    pub quotas: Vec<Quota>,
    /// One per quota, in order.
    pub labels: Vec<Rc<Label>>,
}

impl Policy {
    pub fn compile<'a>(
        workspace: Rc<Workspace>,
        api: Rc<Api>,
        rules: impl Iterator<Item = &'a Rc<Rule>>,
        budgets: impl Iterator<Item = &'a Rc<Budget>>,
    ) -> Self {
        let mut rules: Vec<CompiledRule> = rules
            .filter(|rule| rule.api_id.is_none_or(|id| id == api.id))
            .map(|rule| CompiledRule::new(rule, api.id))
            .collect();
        rules.sort_by_key(|compiled| {
            (
                Reverse(compiled.rule.priority),
                compiled.rule.created_at_ms,
                compiled.rule.id,
            )
        });
        let budgets = budgets
            .filter(|budget| matches!(budget.subject, BudgetSubject::Workspace))
            .map(|budget| CompiledBudget {
                budget: Rc::clone(budget),
                label: Rc::new(budget_label(budget)),
            })
            .collect();
        let counts_tokens = rules.iter().any(|compiled| counts_tokens(compiled.rule.unit));
        Self {
            workspace,
            api,
            rules,
            budgets,
            counts_tokens,
        }
    }

    /// The quotas of a request, rules first. Empty: nothing to ask anybody.
    pub fn matching(&self, subject: &Subject<'_>, estimate: &Estimate) -> Matched {
        let size = self.rules.len() + self.budgets.len();
        let mut matched = Matched {
            quotas: Vec::with_capacity(size),
            labels: Vec::with_capacity(size),
        };
        // Budgets have room of their own: a flood of rules cannot push money out of a reservation.
        let rules_max = QUOTAS_MAX.saturating_sub(self.budgets.len());
        for compiled in self
            .rules
            .iter()
            .filter(|compiled| compiled.matches(subject))
            .take(rules_max)
        {
            matched.quotas.push(compiled.quota(subject, estimate));
            matched.labels.push(Rc::clone(&compiled.label));
        }
        for compiled in self.budgets.iter().take(QUOTAS_MAX) {
            matched.quotas.push(budget_quota(&compiled.budget, estimate));
            matched.labels.push(Rc::clone(&compiled.label));
        }
        matched
    }
}

impl CompiledRule {
    fn new(rule: &Rc<Rule>, api_id: ApiId) -> Self {
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
            rule: Rc::clone(rule),
            label: Rc::new(rule_label(rule)),
            prefix,
            per_key: rule.scopes.contains(&Scope::PerKey),
            trusted_hops,
        }
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let rule = &self.rule;
        (rule.methods.is_empty()
            || rule
                .methods
                .iter()
                .any(|method| method.as_bytes() == subject.method))
            && rule
                .endpoint
                .as_ref()
                .is_none_or(|pattern| pattern.matches(subject.path))
    }

    fn quota(&self, subject: &Subject<'_>, estimate: &Estimate) -> Quota {
        Quota {
            id: self.rule.id,
            version: self.rule.version,
            kind: QuotaKind::Rule,
            unit: self.rule.unit,
            limit: self.rule.limit,
            meter: self.rule.meter,
            mode: self.rule.mode,
            failure_mode: self.rule.failure_mode,
            partition: self.partition(subject),
            amount: amount(self.rule.unit, estimate),
        }
    }

    fn partition(&self, subject: &Subject<'_>) -> String {
        let mut text = String::with_capacity(96);
        text.push_str(&self.prefix);
        if self.per_key {
            partition::push_id(&mut text, 'k', subject.key_id.as_bytes());
        }
        if let Some(hops) = self.trusted_hops
            && let Some(address) = client_address(subject, hops)
        {
            partition::push_network(&mut text, address);
        }
        if text.is_empty() {
            text.push_str(partition::WORKSPACE);
        }
        text
    }
}

/// The peer, or the n-th address from the right of what the peer sent as `x-forwarded-for`. Envoy appends the peer to
/// that header itself; its entry is not counted. With fewer entries than hops the leftmost counts.
fn client_address(subject: &Subject<'_>, trusted_hops: u32) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return subject.peer;
    }
    let list = subject.forwarded_for.unwrap_or_default();
    let mut entries = list.rsplit(|byte| *byte == b',').map(address).peekable();
    if entries
        .peek()
        .is_some_and(|last| last.is_some() && *last == subject.peer)
    {
        entries.next();
    }
    let mut chosen = None;
    for entry in entries.take(trusted_hops as usize) {
        match entry {
            Some(address) => chosen = Some(address),
            // Left of what is no address nothing can be trusted.
            None => break,
        }
    }
    chosen.or(subject.peer)
}

/// An address as proxies write it: bare, with a port, or in brackets.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse()
        .ok()
        .or_else(|| {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|address| address.ip())
        })
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

fn budget_quota(budget: &Budget, estimate: &Estimate) -> Quota {
    Quota {
        id: budget.id,
        version: budget.version,
        kind: QuotaKind::Budget,
        unit: Unit::NanoUsd,
        limit: budget.limit.0,
        meter: Meter::FixedWindow {
            window: budget.window,
        },
        mode: if budget.auto_shutoff {
            Mode::Enforce
        } else {
            Mode::Shadow
        },
        failure_mode: budget.failure_mode,
        partition: partition::WORKSPACE.to_owned(),
        amount: amount(Unit::NanoUsd, estimate),
    }
}

fn counts_tokens(unit: Unit) -> bool {
    matches!(unit, Unit::Tokens | Unit::InputTokens | Unit::OutputTokens)
}

fn amount(unit: Unit, estimate: &Estimate) -> i64 {
    match unit {
        Unit::Requests => 1,
        Unit::Tokens => estimate.usage.total_tokens(),
        Unit::InputTokens => estimate.usage.input_tokens(),
        Unit::OutputTokens => estimate.usage.output_tokens(),
        Unit::NanoUsd => estimate.cost.0,
    }
    .clamp(0, AMOUNT_MAX)
}

fn rule_label(rule: &Rule) -> Label {
    let quoted_name = quoted(&rule.name);
    let window_s = match rule.meter {
        Meter::TokenBucket { refill_milli_per_s } => {
            let milli = u64::try_from(rule.limit).unwrap_or(0).saturating_mul(1_000);
            milli.checked_div(refill_milli_per_s).map(|whole| whole.max(1))
        }
        Meter::SlidingWindow { window_ms } => Some(window_ms.div_ceil(1_000)),
        Meter::FixedWindow {
            window: Window::Rolling { ms },
        } => Some(ms.div_ceil(1_000)),
        Meter::FixedWindow { .. } => None,
    };
    let mut policy_item = format!("{quoted_name};q={}", rule.limit);
    if let Some(window_s) = window_s {
        // Writing to a String cannot fail.
        let _ = write!(policy_item, ";w={window_s}");
    }
    Label {
        name: rule.name.clone(),
        policy_item,
        quoted_name,
        window: None,
    }
}

fn budget_label(budget: &Budget) -> Label {
    Label {
        name: budget.name.clone(),
        policy_item: String::new(),
        quoted_name: quoted(&budget.name),
        window: Some(budget.window),
    }
}

/// A structured-field string (RFC 9651): printable ASCII only, quotes and backslashes escaped.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
