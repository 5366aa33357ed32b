//! Which rules and budgets a request meets, as quotas (SPEC 1.3, 1.4).

use crate::estimate::Estimate;
use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::id::{ApiId, KeyId};
use rateguard_model::partition;
pub use rateguard_model::partition::address;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, QUOTAS_MAX, Quota, QuotaKind, Unit};
use rateguard_model::resource::{Api, Workspace};
use rateguard_model::rule::{Partitioner, Rule};
use rateguard_model::window::Window;
use std::collections::BTreeMap;
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
    /// The workspace's and the API's.
    budgets: Vec<CompiledBudget>,
    key_budgets: BTreeMap<KeyId, Vec<CompiledBudget>>,
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
    partitioner: Partitioner,
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
            .filter(|rule| rule.is_on(api.id))
            .map(|rule| CompiledRule::new(rule, api.id))
            .collect();
        rules.sort_by_key(|compiled| compiled.rule.rank());
        let mut shared = Vec::new();
        let mut key_budgets: BTreeMap<KeyId, Vec<CompiledBudget>> = BTreeMap::new();
        for budget in budgets {
            let compiled = || CompiledBudget {
                budget: Rc::clone(budget),
                label: Rc::new(budget_label(budget)),
            };
            match &budget.subject {
                BudgetSubject::Workspace => shared.push(compiled()),
                BudgetSubject::Api(id) if *id == api.id => shared.push(compiled()),
                BudgetSubject::Key(id) => key_budgets.entry(*id).or_default().push(compiled()),
                // Tags and models are not enforced yet: nothing writes such budgets.
                BudgetSubject::Api(_) | BudgetSubject::Tag { .. } | BudgetSubject::Model { .. } => {}
            }
        }
        let counts_tokens = rules.iter().any(|compiled| counts_tokens(compiled.rule.unit));
        Self {
            workspace,
            api,
            rules,
            budgets: shared,
            key_budgets,
            counts_tokens,
        }
    }

    /// The quotas of a request, rules first. Empty: nothing to ask anybody.
    pub fn matching(&self, subject: &Subject<'_>, estimate: &Estimate) -> Matched {
        let of_key = self
            .key_budgets
            .get(&subject.key_id)
            .map_or(&[][..], Vec::as_slice);
        let budget_count = self.budgets.len() + of_key.len();
        let size = self.rules.len() + budget_count;
        let mut matched = Matched {
            quotas: Vec::with_capacity(size),
            labels: Vec::with_capacity(size),
        };
        // Budgets have room of their own: a flood of rules cannot push money out of a reservation.
        let rules_max = QUOTAS_MAX.saturating_sub(budget_count);
        for compiled in self
            .rules
            .iter()
            .filter(|compiled| compiled.rule.matches(subject.method, subject.path))
            .take(rules_max)
        {
            matched.quotas.push(compiled.quota(subject, estimate));
            matched.labels.push(Rc::clone(&compiled.label));
        }
        for compiled in self.budgets.iter().chain(of_key).take(QUOTAS_MAX) {
            matched.quotas.push(budget_quota(&compiled.budget, estimate));
            matched.labels.push(Rc::clone(&compiled.label));
        }
        matched
    }
}

impl CompiledRule {
    fn new(rule: &Rc<Rule>, api_id: ApiId) -> Self {
        Self {
            rule: Rc::clone(rule),
            label: Rc::new(rule_label(rule)),
            partitioner: Partitioner::new(rule, api_id),
        }
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
            partition: self.partitioner.partition(
                subject.key_id,
                subject.peer,
                subject.forwarded_for.unwrap_or_default(),
            ),
            amount: amount(self.rule.unit, estimate),
        }
    }
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
