//! Rate limits in words: the same everywhere, so that a list reads as the editor does.

use crate::show::number::{grouped, span};
use rateguard_api::decimal::{Amount, Cents, show_fixed};
use rateguard_api::name::{Algorithm, ScopeType, Unit};
use rateguard_api::rule::{Rule, Scope};
use rateguard_model::money::NanoUsd;

pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::TokenBucket => "Token bucket",
        Algorithm::SlidingWindow => "Sliding window",
        Algorithm::SlidingWindowCounter => "Sliding window counter",
        Algorithm::FixedWindow => "Fixed window",
        Algorithm::Concurrency => "Concurrency",
    }
}

pub fn algorithm_help(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::TokenBucket => "Allows bursts up to the bucket, then as fast as it refills.",
        Algorithm::SlidingWindow => "Never more than the limit in any window, exactly counted.",
        Algorithm::SlidingWindowCounter => {
            "As a sliding window, approximated from two windows; uses little memory."
        }
        Algorithm::FixedWindow => "The limit starts anew with each window of the clock.",
        Algorithm::Concurrency => "So many at the same time.",
    }
}

pub fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests => "Requests",
        Unit::Tokens => "Tokens",
        Unit::InputTokens => "Input tokens",
        Unit::OutputTokens => "Output tokens",
        Unit::Cost => "Cost",
    }
}

pub fn scope_name(scope: ScopeType) -> &'static str {
    match scope {
        ScopeType::Global => "All callers together",
        ScopeType::PerWorkspace => "Per workspace",
        ScopeType::PerKey => "Per key",
        ScopeType::PerIp => "Per client address",
        ScopeType::PerHeader => "Per value of a header",
        ScopeType::PerModel => "Per model",
        ScopeType::PerTag => "Per value of a tag",
    }
}

pub fn scope_words(scopes: &[Scope]) -> String {
    let one = |scope: &Scope| match (&scope.name, scope.kind) {
        (Some(name), ScopeType::PerHeader) => format!("per {name} header"),
        (Some(name), ScopeType::PerTag) => format!("per {name} tag"),
        (_, kind) => scope_name(kind).to_lowercase(),
    };
    scopes.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// An amount in its unit: `60 requests`, `$5.00`.
pub fn amount(value: Amount, unit: Unit) -> String {
    if unit == Unit::Cost {
        // Amounts of cost are counted in nano-USD.
        return crate::show::money::dollars(Cents(NanoUsd(value.0)));
    }
    let text = show_fixed(value.0, 7);
    let number = match text.split_once('.') {
        None => text.parse::<u64>().map_or(text.clone(), grouped),
        Some(_) => text.clone(),
    };
    let noun = unit_name(unit).to_lowercase();
    let noun = if number == "1" {
        noun.trim_end_matches('s')
    } else {
        &noun
    };
    format!("{number} {noun}")
}

/// The limit in a sentence's part: `60 requests per 1 min`.
pub fn limit_words(rule: &Rule) -> String {
    match (rule.bucket_size, rule.refill_rate, rule.limit, rule.window_ms) {
        (Some(bucket), Some(refill), ..) => {
            let rate = show_fixed(refill.0, 3);
            let rate = if rule.unit == Unit::Cost {
                format!("{rate} ¢")
            } else {
                rate
            };
            format!("{}, refilled {rate} a second", amount(bucket, rule.unit))
        }
        (.., Some(limit), Some(window)) => format!("{} per {}", amount(limit, rule.unit), span(window)),
        (.., Some(limit), None) => format!("{} at a time", amount(limit, rule.unit)),
        _ => algorithm_name(rule.algorithm).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        let whole = format!(
            r#"{{"id":"1","version":1,"name":"n","apiId":null,"endpoint":null,"methods":[],"priority":0,"enabled":true,
            "mode":"enforce","failureMode":"FAIL_OPEN","sharedAcrossApis":false,"createdAt":"","updatedAt":"",{json}}}"#
        );
        serde_json::from_str(&whole).unwrap()
    }

    #[test]
    fn limits_read_as_sentences() {
        let window = rule(
            r#""scopes":[{"type":"PER_KEY"},{"type":"PER_IP"}],"algorithm":"SLIDING_WINDOW","unit":"REQUESTS","limit":60,"windowMs":60000"#,
        );
        assert_eq!(limit_words(&window), "60 requests per 1 min");
        assert_eq!(scope_words(&window.scopes), "per key and per client address");
        let bucket = rule(
            r#""scopes":[{"type":"GLOBAL"}],"algorithm":"TOKEN_BUCKET","unit":"TOKENS","bucketSize":10000,"refillRate":1.5"#,
        );
        assert_eq!(limit_words(&bucket), "10,000 tokens, refilled 1.5 a second");
        let cost = rule(
            r#""scopes":[{"type":"PER_TAG","name":"team"}],"algorithm":"SLIDING_WINDOW","unit":"COST","limit":500,"windowMs":86400000"#,
        );
        assert_eq!(limit_words(&cost), "$5.00 per 1 d");
        assert_eq!(scope_words(&cost.scopes), "per team tag");
    }
}
