//! An API as a form: its values, and what is sent for them. Pure.

use super::api_presets::preset;
use crate::show::money::{cents_of_dollars, dollars_for_field, per_million, per_thousand};
use crate::state::form::Form;
use rateguard_api::api::Api;
use rateguard_api::name::{AuthType, UsageFormat};
use serde_json::{Map, Value, json};

/// Names of the fields as the API spells them.
const FIELDS: [&str; 13] = [
    "name",
    "slug",
    "baseUrl",
    "hosts",
    "authType",
    "authHeaderName",
    "credential",
    "usageFormat",
    "timeoutMs",
    "forwardCookies",
    "streamCostComment",
    "isActive",
    "costModel",
];
/// Rows of prices that the form shows.
pub const ROWS_MAX: usize = 100;

/// A form with the values of an API.
pub fn values_of(api: &Api) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = [
        ("name", api.name.clone()),
        ("slug", api.slug.clone()),
        ("baseUrl", api.base_url.clone()),
        ("hosts", api.hosts.join("\n")),
        ("authType", api.auth_type.to_string()),
        ("authHeaderName", api.auth_header_name.clone().unwrap_or_default()),
        ("credential", String::new()),
        ("usageFormat", api.usage_format.to_string()),
        ("timeoutMs", api.timeout_ms.to_string()),
        ("forwardCookies", api.forward_cookies.to_string()),
        ("streamCostComment", api.stream_cost_comment.to_string()),
        ("isActive", api.is_active.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let mut put = |name: String, value: String| values.push((name, value));
    let Some(model) = &api.cost_model else {
        put("cost".to_owned(), "NONE".to_owned());
        return values;
    };
    put("cost".to_owned(), model.kind.to_string());
    if let Some(cost) = model.cost_cents_per_request {
        put("perRequest".to_owned(), dollars_for_field(cost));
    }
    if let Some(prices) = model.default {
        put(
            "default.input".to_owned(),
            per_million(prices.input_cost_per_1k_tokens).unwrap_or_default(),
        );
        put(
            "default.output".to_owned(),
            per_million(prices.output_cost_per_1k_tokens).unwrap_or_default(),
        );
    }
    for (at, entry) in model.models.iter().flatten().enumerate() {
        put(format!("models[{at}].model"), entry.model.clone());
        put(
            format!("models[{at}].input"),
            per_million(entry.input_cost_per_1k_tokens).unwrap_or_default(),
        );
        put(
            format!("models[{at}].output"),
            per_million(entry.output_cost_per_1k_tokens).unwrap_or_default(),
        );
        let cached = entry
            .cached_input_cost_per_1k_tokens
            .and_then(per_million)
            .unwrap_or_default();
        put(format!("models[{at}].cached"), cached);
    }
    values
}

pub fn values_of_preset(id: &str) -> Vec<(String, String)> {
    let preset = preset(id);
    let priced = if preset.usage_format == UsageFormat::None {
        "PER_REQUEST"
    } else {
        "NONE"
    };
    [
        ("preset", preset.id),
        ("name", preset.name),
        ("slug", ""),
        ("baseUrl", preset.base_url),
        ("hosts", preset.hosts),
        ("authType", preset.auth_type.as_str()),
        ("authHeaderName", preset.header),
        ("credential", ""),
        ("usageFormat", preset.usage_format.as_str()),
        ("timeoutMs", preset.timeout_ms),
        ("forwardCookies", "false"),
        ("streamCostComment", "false"),
        ("isActive", "true"),
        ("cost", priced),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// How many rows of prices the form has.
pub fn rows(form: &Form) -> usize {
    (0..ROWS_MAX)
        .take_while(|at| form.has(&format!("models[{at}].model")))
        .count()
}

/// The cost model that the form describes, or what is wrong with it. `kept` are prices that this form does not show:
/// they stay as they are.
fn cost_model(form: &Form, kept: Option<&Value>) -> Result<Value, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut price = |name: String, needed: bool| -> Option<String> {
        let text = form.text(&name).to_owned();
        if text.is_empty() && !needed {
            return None;
        }
        let price = per_thousand(&text);
        if price.is_none() {
            faults.push((name, "Must be an amount in dollars, such as 2.50.".to_owned()));
        }
        price
    };
    let model = match form.get("cost") {
        "PER_REQUEST" => match cents_of_dollars(form.text("perRequest")) {
            Some(cents) => json!({ "type": "PER_REQUEST", "costCentsPerRequest": cents }),
            None => {
                return Err(vec![(
                    "perRequest".to_owned(),
                    "Must be an amount in dollars, such as 0.01.".to_owned(),
                )]);
            }
        },
        "PER_TOKEN" => {
            let mut model = json!({ "type": "PER_TOKEN" });
            if !form.text("default.input").is_empty() || !form.text("default.output").is_empty() {
                let mut prices = kept_prices(kept.and_then(|kept| kept.get("default")));
                prices.insert(
                    "inputCostPer1kTokens".to_owned(),
                    json!(price("default.input".to_owned(), true)),
                );
                prices.insert(
                    "outputCostPer1kTokens".to_owned(),
                    json!(price("default.output".to_owned(), true)),
                );
                model["default"] = Value::Object(prices);
            }
            let mut models = Vec::new();
            for at in 0..rows(form) {
                let name = form.text(&format!("models[{at}].model"));
                let before = kept.and_then(|kept| {
                    kept.get("models")?
                        .as_array()?
                        .iter()
                        .find(|entry| entry["model"] == name)
                });
                let mut prices = kept_prices(before);
                prices.insert("model".to_owned(), json!(name));
                prices.insert(
                    "inputCostPer1kTokens".to_owned(),
                    json!(price(format!("models[{at}].input"), true)),
                );
                prices.insert(
                    "outputCostPer1kTokens".to_owned(),
                    json!(price(format!("models[{at}].output"), true)),
                );
                match price(format!("models[{at}].cached"), false) {
                    Some(cached) => prices.insert("cachedInputCostPer1kTokens".to_owned(), json!(cached)),
                    None => prices.remove("cachedInputCostPer1kTokens"),
                };
                models.push(Value::Object(prices));
            }
            model["models"] = Value::Array(models);
            model
        }
        "NONE" => Value::Null,
        other => kept.cloned().unwrap_or_else(|| json!({ "type": other })),
    };
    if faults.is_empty() { Ok(model) } else { Err(faults) }
}

fn kept_prices(before: Option<&Value>) -> Map<String, Value> {
    let mut prices = before.and_then(Value::as_object).cloned().unwrap_or_default();
    // The one number that is no price.
    if let Some(tokens) = prices
        .get("defaultOutputTokens")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<u32>().ok())
    {
        prices.insert("defaultOutputTokens".to_owned(), json!(tokens));
    }
    prices
}

/// The body of a creation or, with the stored API, of an update: what has not changed is left out.
pub fn body(form: &Form, stored: Option<&Api>) -> Result<Value, Vec<(String, String)>> {
    let mut body = Map::new();
    let edit = stored.is_some();
    let mut put = |name: &str, value: Value| {
        if !edit || form.changed(name) {
            body.insert(name.to_owned(), value);
        }
    };
    put("name", json!(form.text("name")));
    if edit || !form.text("slug").is_empty() {
        put("slug", json!(form.text("slug")));
    }
    put("baseUrl", json!(form.text("baseUrl")));
    put("hosts", json!(form.list("hosts")));
    put("authType", json!(form.get("authType")));
    let header = (form.get("authType") == "API_KEY_HEADER").then(|| form.text("authHeaderName"));
    if edit && form.changed("authType") {
        body.insert("authHeaderName".to_owned(), json!(header));
    } else {
        put("authHeaderName", json!(header));
    }
    let has_credential = form.get("authType") != AuthType::None.as_str();
    if has_credential && !form.get("credential").is_empty() {
        body.insert("credential".to_owned(), json!(form.text("credential")));
    } else if edit && form.changed("authType") && !has_credential {
        body.insert("credential".to_owned(), Value::Null);
    }
    let mut put = |name: &str, value: Value| {
        if !edit || form.changed(name) {
            body.insert(name.to_owned(), value);
        }
    };
    put("usageFormat", json!(form.get("usageFormat")));
    match form.text("timeoutMs").parse::<u32>() {
        Ok(timeout) => put("timeoutMs", json!(timeout)),
        Err(_) => {
            return Err(vec![(
                "timeoutMs".to_owned(),
                "Must be a whole number of milliseconds.".to_owned(),
            )]);
        }
    }
    for name in ["forwardCookies", "streamCostComment", "isActive"] {
        put(name, json!(form.is_on(name)));
    }
    let kept = stored.and_then(|api| serde_json::to_string(&api.cost_model).ok());
    let kept: Option<Value> = kept.and_then(|text| serde_json::from_str(&exact(&text)).ok());
    let model = cost_model(form, kept.as_ref())?;
    if !edit || cost_changed(form) {
        body.insert("costModel".to_owned(), model);
    }
    Ok(Value::Object(body))
}

/// Numbers as strings, so that a `Value` keeps prices exact.
fn exact(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 16);
    let (mut quoted, mut escaped, mut number) = (false, false, false);
    for letter in json.chars() {
        let of_number =
            !quoted && (letter.is_ascii_digit() || (number && matches!(letter, '.' | 'e' | 'E' | '-' | '+')));
        if of_number != number {
            text.push('"');
            number = of_number;
        }
        text.push(letter);
        if quoted && !escaped && letter == '\\' {
            escaped = true;
            continue;
        }
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = false;
    }
    text
}

fn cost_changed(form: &Form) -> bool {
    ["cost", "perRequest", "default.input", "default.output"]
        .iter()
        .any(|name| form.changed(name))
        || (0..=rows(form)).any(|at| {
            ["model", "input", "output", "cached"]
                .iter()
                .any(|part| form.changed(&format!("models[{at}].{part}")))
        })
}

pub fn known(form: &Form) -> Vec<String> {
    let rows = (0..rows(form)).map(|at| format!("models[{at}]"));
    let auth = form.get("authType");
    let shown = |field: &&&str| match **field {
        "authHeaderName" => auth == AuthType::ApiKeyHeader.as_str(),
        "credential" => auth != AuthType::None.as_str(),
        _ => true,
    };
    let fields = FIELDS.iter().filter(shown).map(|field| (*field).to_owned());
    fields.chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::super::api_presets::PRESETS;
    use super::*;
    use crate::state::form::Edit;
    use rateguard_api::api::{CreateApi, UpdateApi};
    use std::rc::Rc;
    use yew::Reducible;

    fn stored() -> Api {
        serde_json::from_value(json!({
            "id": "1", "name": "OpenAI", "slug": "openai", "baseUrl": "https://api.openai.com/v1", "hosts": ["a", "b"],
            "authType": "API_KEY_HEADER", "authHeaderName": "x-api-key", "hasCredential": true, "usageFormat": "openai",
            "costModel": null, "priceVersion": "", "timeoutMs": 600_000, "forwardCookies": false,
            "streamCostComment": false, "isActive": true, "createdAt": "", "updatedAt": "",
        }))
        .unwrap()
    }

    fn priced() -> Api {
        let model = r#"{"type":"PER_TOKEN","models":[{"model":"gpt-4o*","inputCostPer1kTokens":0.25,
            "outputCostPer1kTokens":1,"reasoningCostPer1kTokens":0.0000001,"defaultOutputTokens":500}]}"#;
        Api {
            cost_model: serde_json::from_str(model).unwrap(),
            ..stored()
        }
    }

    fn set(form: Rc<Form>, name: &str, value: &str) -> Rc<Form> {
        form.reduce(Edit::Set(name.to_owned(), value.to_owned()))
    }

    #[test]
    fn every_preset_makes_a_body_that_the_api_reads() {
        for preset in &PRESETS {
            let form = Rc::new(Form::new(values_of_preset(preset.id)));
            let form = set(set(form, "cost", "NONE"), "credential", "secret");
            let body = body(&form, None).unwrap();
            serde_json::from_value::<CreateApi>(body).unwrap();
        }
    }

    #[test]
    fn an_update_carries_only_what_changed() {
        let api = stored();
        let form = Rc::new(Form::new(values_of(&api)));
        assert_eq!(body(&form, Some(&api)).unwrap(), json!({}));
        let form = set(set(form, "name", "B"), "authType", "BEARER");
        let body = body(&form, Some(&api)).unwrap();
        assert_eq!(
            body,
            json!({"name": "B", "authType": "BEARER", "authHeaderName": null})
        );
        serde_json::from_value::<UpdateApi>(body).unwrap();
    }

    #[test]
    fn prices_that_the_form_does_not_show_stay_exact() {
        let api = priced();
        let form = Rc::new(Form::new(values_of(&api)));
        assert_eq!(form.get("models[0].input"), "2.5");
        let form = set(form, "models[0].input", "3");
        let model = body(&form, Some(&api)).unwrap()["costModel"].clone();
        assert_eq!(model["models"][0]["inputCostPer1kTokens"], "0.3");
        assert_eq!(model["models"][0]["reasoningCostPer1kTokens"], "0.0000001");
        serde_json::from_value::<UpdateApi>(json!({ "costModel": model })).unwrap();
    }

    #[test]
    fn bad_prices_are_named() {
        let form = Rc::new(Form::new(values_of_preset("openai")));
        let form = set(set(form, "cost", "PER_REQUEST"), "perRequest", "cheap");
        assert_eq!(body(&form, None).unwrap_err()[0].0, "perRequest");
        let form = set(
            set(set(form, "cost", "PER_TOKEN"), "models[0].model", "m"),
            "models[0].input",
            "1",
        );
        assert_eq!(body(&form, None).unwrap_err()[0].0, "models[0].output");
    }

    #[test]
    fn numbers_become_strings() {
        assert_eq!(
            exact(r#"{"a":1.5e-3,"b":[0],"c":"1\"2","d":true}"#),
            r#"{"a":"1.5e-3","b":["0"],"c":"1\"2","d":true}"#
        );
    }
}
