//! A rate limit as a form: its values, and what is sent for them. Pure.

use crate::state::form::Form;
use rateguard_api::decimal::{parse_fixed, show_fixed};
use rateguard_api::name::{Algorithm, FailureMode, ScopeType, Unit};
use rateguard_api::rule::Rule;
use serde_json::{Map, Value, json};

/// Names of the fields as the API spells them.
pub const FIELDS: [&str; 15] = [
    "name",
    "apiId",
    "endpoint",
    "methods",
    "scopes",
    "algorithm",
    "unit",
    "bucketSize",
    "refillRate",
    "limit",
    "windowMs",
    "priority",
    "enabled",
    "mode",
    "failureMode",
];

/// Amounts of money are shown in dollars and sent in cents.
fn to_field(value: i64, places: u32, unit: Unit) -> String {
    if unit == Unit::Cost {
        show_fixed(value, places + 2)
    } else {
        show_fixed(value, places)
    }
}

/// The amount as the API takes it, or nothing if it is none.
fn from_field(text: &str, places: u32, unit: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('$');
    let money = unit == Unit::Cost.as_str();
    let value = parse_fixed(text, if money { places + 2 } else { places }).ok()?;
    (value > 0).then(|| show_fixed(value, places))
}

/// A form with the values of a rule, or those that a new one begins with.
pub fn values_of(rule: Option<&Rule>, default_failure_mode: FailureMode) -> Vec<(String, String)> {
    let names = |rule: &Rule| {
        rule.scopes
            .iter()
            .map(|scope| scope.kind.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let hops = |rule: &Rule| rule.scopes.iter().find_map(|scope| scope.trusted_hops);
    let named = |rule: &Rule, kind| {
        rule.scopes
            .iter()
            .find(|scope| scope.kind == kind)
            .and_then(|scope| scope.name.clone())
    };
    let unit = rule.map_or(Unit::Requests, |rule| rule.unit);
    let value = |name: &str, text: Option<String>, otherwise: &str| {
        (name.to_owned(), text.unwrap_or_else(|| otherwise.to_owned()))
    };
    vec![
        value("name", rule.map(|rule| rule.name.clone()), ""),
        value("apiId", rule.and_then(|rule| rule.api_id.clone()), ""),
        value("endpoint", rule.and_then(|rule| rule.endpoint.clone()), ""),
        value("methods", rule.map(|rule| rule.methods.join(",")), ""),
        value("scopes", rule.map(names), "PER_KEY"),
        value("hops", rule.and_then(hops).map(|hops| hops.to_string()), "0"),
        value(
            "header",
            rule.and_then(|rule| named(rule, ScopeType::PerHeader)),
            "",
        ),
        value("tag", rule.and_then(|rule| named(rule, ScopeType::PerTag)), ""),
        value(
            "algorithm",
            rule.map(|rule| rule.algorithm.to_string()),
            "SLIDING_WINDOW",
        ),
        value("unit", Some(unit.to_string()), ""),
        value(
            "bucketSize",
            rule.and_then(|rule| rule.bucket_size)
                .map(|amount| to_field(amount.0, 7, unit)),
            "100",
        ),
        value(
            "refillRate",
            rule.and_then(|rule| rule.refill_rate)
                .map(|rate| to_field(rate.0, 3, unit)),
            "10",
        ),
        value(
            "limit",
            rule.and_then(|rule| rule.limit)
                .map(|amount| to_field(amount.0, 7, unit)),
            "60",
        ),
        value(
            "windowMs",
            rule.and_then(|rule| rule.window_ms).map(|ms| ms.to_string()),
            "60000",
        ),
        value("priority", rule.map(|rule| rule.priority.to_string()), "0"),
        value("enabled", rule.map(|rule| rule.enabled.to_string()), "true"),
        value("mode", rule.map(|rule| rule.mode.to_string()), "enforce"),
        value(
            "failureMode",
            rule.map(|rule| rule.failure_mode.to_string()),
            default_failure_mode.as_str(),
        ),
        value(
            "sharedAcrossApis",
            rule.map(|rule| rule.shared_across_apis.to_string()),
            "false",
        ),
    ]
}

pub fn has_bucket(form: &Form) -> bool {
    form.get("algorithm") == Algorithm::TokenBucket.as_str()
}

pub fn has_window(form: &Form) -> bool {
    !has_bucket(form) && form.get("algorithm") != Algorithm::Concurrency.as_str()
}

fn scopes(form: &Form) -> Vec<Value> {
    let one = |kind: String| match kind.as_str() {
        "PER_IP" => match form.text("hops").parse::<u32>().unwrap_or(0) {
            0 => json!({ "type": kind }),
            hops => json!({ "type": kind, "trustedHops": hops }),
        },
        "PER_HEADER" => json!({ "type": kind, "name": form.text("header") }),
        "PER_TAG" => json!({ "type": kind, "name": form.text("tag") }),
        _ => json!({ "type": kind }),
    };
    form.list("scopes").into_iter().map(one).collect()
}

/// The whole rule: an update sends it all, since its parts belong together.
pub fn body(form: &Form) -> Result<Value, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut body = Map::new();
    let optional = |name: &str| match form.text(name) {
        "" => Value::Null,
        text => json!(text),
    };
    body.insert("name".to_owned(), json!(form.text("name")));
    body.insert("apiId".to_owned(), optional("apiId"));
    body.insert("endpoint".to_owned(), optional("endpoint"));
    body.insert("methods".to_owned(), json!(form.list("methods")));
    body.insert("scopes".to_owned(), json!(scopes(form)));
    for name in ["algorithm", "unit", "mode", "failureMode"] {
        body.insert(name.to_owned(), json!(form.get(name)));
    }
    let mut number = |name: &str, places: u32| match from_field(form.text(name), places, form.get("unit")) {
        Some(text) => drop(body.insert(name.to_owned(), json!(text))),
        None => faults.push((name.to_owned(), "Must be a number above 0.".to_owned())),
    };
    if has_bucket(form) {
        number("bucketSize", 7);
        number("refillRate", 3);
    } else {
        number("limit", 7);
    }
    if has_window(form) {
        body.insert(
            "windowMs".to_owned(),
            json!(form.get("windowMs").parse::<u64>().unwrap_or(0)),
        );
    }
    match form.text("priority").parse::<i32>() {
        Ok(priority) => drop(body.insert("priority".to_owned(), json!(priority))),
        Err(_) => faults.push(("priority".to_owned(), "Must be a whole number.".to_owned())),
    }
    body.insert("enabled".to_owned(), json!(form.is_on("enabled")));
    let shared = form.is_on("sharedAcrossApis") && form.text("apiId").is_empty();
    body.insert("sharedAcrossApis".to_owned(), json!(shared));
    if faults.is_empty() {
        Ok(Value::Object(body))
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::form::Edit;
    use rateguard_api::rule::{CreateRule, UpdateRule};
    use std::rc::Rc;
    use yew::Reducible;

    fn set(form: Rc<Form>, name: &str, value: &str) -> Rc<Form> {
        form.reduce(Edit::Set(name.to_owned(), value.to_owned()))
    }

    fn fresh() -> Rc<Form> {
        set(
            Rc::new(Form::new(values_of(None, FailureMode::FailOpen))),
            "name",
            "n",
        )
    }

    #[test]
    fn the_body_is_one_that_the_api_reads() {
        let window = body(&fresh()).unwrap();
        assert_eq!(window["limit"], "60");
        assert_eq!(window["windowMs"], 60_000);
        serde_json::from_value::<CreateRule>(window.clone()).unwrap();
        serde_json::from_value::<UpdateRule>(window).unwrap();
        let bucket = body(&set(fresh(), "algorithm", "TOKEN_BUCKET")).unwrap();
        assert_eq!(
            (&bucket["bucketSize"], &bucket["refillRate"]),
            (&json!("100"), &json!("10"))
        );
        assert_eq!(bucket.get("limit"), None);
        serde_json::from_value::<CreateRule>(bucket).unwrap();
    }

    #[test]
    fn money_is_typed_in_dollars_and_sent_in_cents() {
        let form = set(set(fresh(), "unit", "COST"), "limit", "5.5");
        assert_eq!(body(&form).unwrap()["limit"], "550");
        assert_eq!(to_field(5_500_000_000, 7, Unit::Cost), "5.5");
        assert_eq!(from_field("0", 7, "REQUESTS"), None);
        assert_eq!(from_field("many", 7, "REQUESTS"), None);
    }

    #[test]
    fn scopes_carry_what_belongs_to_them() {
        let form = set(
            set(set(fresh(), "scopes", "PER_IP,PER_TAG"), "hops", "2"),
            "tag",
            "team",
        );
        let expected = json!([{"type": "PER_IP", "trustedHops": 2}, {"type": "PER_TAG", "name": "team"}]);
        assert_eq!(json!(scopes(&form)), expected);
    }

    #[test]
    fn one_counter_for_all_is_only_for_rules_on_all() {
        let form = set(set(fresh(), "sharedAcrossApis", "true"), "apiId", "1");
        assert_eq!(body(&form).unwrap()["sharedAcrossApis"], false);
    }
}
