//! Code that makes a first call through the gateway.

use crate::api::{Call, use_load};
use crate::browser;
use crate::ui::{Code, Tabs};
use rateguard_api::api::Api;
use rateguard_api::gateway::Gateway;
use rateguard_api::name::UsageFormat;
use yew::prelude::*;

/// Stands for a key that is not known here any more.
const KEY: &str = "$RATEGUARD_KEY";

#[derive(Debug, Clone, PartialEq)]
pub struct Snippet {
    pub title: &'static str,
    pub code: String,
}

/// The snippets that fit an API, the provider's own SDK first.
pub fn snippets(gateway: &str, api: &Api, key: Option<&str>) -> Vec<Snippet> {
    let key = key.unwrap_or(KEY);
    let base = format!("{gateway}/proxy/{}", api.slug);
    let curl = curl(&base, api, key);
    match dialect(api) {
        Dialect::Anthropic => vec![curl, anthropic_sdk(&base, key)],
        Dialect::OpenAi => vec![curl, openai_sdk(&base, key), openai_node(&base, key)],
        Dialect::Gemini | Dialect::Other => vec![curl],
    }
}

enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Other,
}

fn dialect(api: &Api) -> Dialect {
    match api.usage_format {
        UsageFormat::OpenAi => Dialect::OpenAi,
        UsageFormat::Anthropic => Dialect::Anthropic,
        UsageFormat::Gemini => Dialect::Gemini,
        UsageFormat::Auto if api.base_url.contains("openai") => Dialect::OpenAi,
        UsageFormat::Auto if api.base_url.contains("anthropic") => Dialect::Anthropic,
        _ => Dialect::Other,
    }
}

/// A first call to an API.
pub struct Example {
    pub path: &'static str,
    /// None: nothing is sent.
    pub body: &'static str,
    dialect: Dialect,
}

impl Example {
    pub fn of(api: &Api) -> Self {
        let dialect = dialect(api);
        let (path, body) = match dialect {
            Dialect::OpenAi => (
                "chat/completions",
                r#"{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}"#,
            ),
            Dialect::Anthropic => (
                "v1/messages",
                r#"{"model": "claude-3-5-haiku-latest", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}"#,
            ),
            Dialect::Gemini => (
                "v1beta/models/gemini-2.0-flash:generateContent",
                r#"{"contents": [{"parts": [{"text": "Hello"}]}]}"#,
            ),
            Dialect::Other => ("", ""),
        };
        Self { path, body, dialect }
    }

    /// The key where the provider's own SDK puts it, and what the provider wants besides.
    pub fn headers(&self, key: &str) -> Vec<(&'static str, String)> {
        match self.dialect {
            Dialect::OpenAi => vec![("authorization", ["Bearer ", key].concat())],
            Dialect::Anthropic => vec![
                ("x-api-key", key.to_owned()),
                ("anthropic-version", "2023-06-01".to_owned()),
            ],
            Dialect::Gemini => vec![("x-goog-api-key", key.to_owned())],
            Dialect::Other => vec![("x-rateguard-key", key.to_owned())],
        }
    }
}

fn curl(base: &str, api: &Api, key: &str) -> Snippet {
    let example = Example::of(api);
    let mut code = ["curl -i ", base, "/", example.path].concat();
    let mut headers = example.headers(key);
    if !example.body.is_empty() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    for (name, value) in headers {
        code += &[" \\\n  -H \"", name, ": ", &value, "\""].concat();
    }
    if !example.body.is_empty() {
        code += &[" \\\n  -d '", example.body, "'"].concat();
    }
    Snippet { title: "curl", code }
}

fn openai_sdk(base: &str, key: &str) -> Snippet {
    Snippet {
        title: "OpenAI SDK (Python)",
        code: format!(
            "from openai import OpenAI\n\nclient = OpenAI(\n    base_url=\"{base}\",\n    api_key=\"{key}\",\n)\n\nanswer = client.chat.completions.create(\n    \
             model=\"gpt-4o-mini\",\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.choices[0].message.content)"
        ),
    }
}

fn openai_node(base: &str, key: &str) -> Snippet {
    Snippet {
        title: "OpenAI SDK (Node)",
        code: format!(
            "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{\n  baseURL: \"{base}\",\n  apiKey: \"{key}\",\n}});\n\nconst answer = await client.chat.completions.create({{\n  \
             model: \"gpt-4o-mini\",\n  messages: [{{ role: \"user\", content: \"Hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);"
        ),
    }
}

fn anthropic_sdk(base: &str, key: &str) -> Snippet {
    Snippet {
        title: "Anthropic SDK (Python)",
        code: format!(
            "from anthropic import Anthropic\n\nclient = Anthropic(\n    base_url=\"{base}\",\n    api_key=\"{key}\",\n)\n\nanswer = client.messages.create(\n    \
             model=\"claude-3-5-haiku-latest\",\n    max_tokens=64,\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.content[0].text)"
        ),
    }
}

/// Where the gateway is, as the operator says; until that is known, probably: the console's host with its usual port.
#[hook]
pub fn use_gateway() -> String {
    let load = use_load::<Gateway>(Some(Call::get("/api/gateway")));
    load.state
        .ready()
        .map_or_else(|| guess(&browser::origin()), |gateway| gateway.url.clone())
}

fn guess(origin: &str) -> String {
    let (scheme, rest) = origin.split_once("://").unwrap_or(("http", "127.0.0.1"));
    let host = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => format!("[{address}]"),
        None => rest.split(':').next().unwrap_or(rest).to_owned(),
    };
    format!("{scheme}://{host}:3001")
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub api: Api,
    /// Put into the code where it is still known.
    #[prop_or_default]
    pub secret: Option<AttrValue>,
}

#[component]
pub fn Snippets(props: &Props) -> Html {
    let said = use_gateway();
    let put = use_state_eq(|| browser::stored("rateguard.gateway").unwrap_or_default());
    let gateway = if put.is_empty() { said } else { (*put).clone() };
    let chosen = use_state_eq(|| 0_usize);
    let all = snippets(gateway.trim_end_matches('/'), &props.api, props.secret.as_deref());
    let at = (*chosen).min(all.len().saturating_sub(1));
    let oninput = {
        let put = put.clone();
        Callback::from(move |event: InputEvent| {
            let value = event.target_unchecked_into::<web_sys::HtmlInputElement>().value();
            browser::store("rateguard.gateway", &value);
            put.set(value);
        })
    };
    let onchoose = {
        let chosen = chosen.clone();
        Callback::from(move |at| chosen.set(at))
    };
    let names: Vec<AttrValue> = all.iter().map(|snippet| snippet.title.into()).collect();
    html! {
        <div class="stack">
            <div class="field">
                <label for="gateway">{ "Gateway" }</label>
                <input id="gateway" class="control" type="url" value={gateway} {oninput} spellcheck="false" />
                <p class="hint">{ "Where your Envoy listens. Another address is kept in this browser only; empty: the operator's." }</p>
            </div>
            <Tabs label="Language" {names} chosen={at} {onchoose}>
                if let Some(snippet) = all.get(at) { <Code title={snippet.title} code={snippet.code.clone()} /> }
            </Tabs>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(format: &str) -> Api {
        serde_json::from_value(serde_json::json!({
            "id": "1", "name": "n", "slug": "my-api", "baseUrl": "https://x.example", "hosts": [], "authType": "NONE",
            "authHeaderName": null, "hasCredential": false, "usageFormat": format, "costModel": null,
            "priceVersion": "", "timeoutMs": 1, "forwardCookies": false, "streamCostComment": false, "isActive": true,
            "createdAt": "", "updatedAt": "",
        }))
        .unwrap()
    }

    #[test]
    fn snippets_name_the_gateway_the_slug_and_the_key() {
        for format in ["openai", "anthropic", "gemini", "auto", "none"] {
            for snippet in snippets("http://gw:3001", &api(format), Some("rg_live_x")) {
                assert!(
                    snippet.code.contains("http://gw:3001/proxy/my-api"),
                    "{}",
                    snippet.code
                );
                assert!(snippet.code.contains("rg_live_x"), "{}", snippet.code);
            }
        }
        assert_eq!(snippets("http://gw", &api("openai"), None).len(), 3);
    }

    #[test]
    fn the_gateway_is_guessed_beside_the_console() {
        assert_eq!(guess("http://127.0.0.1:3000"), "http://127.0.0.1:3001");
        assert_eq!(
            guess("https://rateguard.example.com"),
            "https://rateguard.example.com:3001"
        );
        assert_eq!(guess("http://[::1]:3000"), "http://[::1]:3001");
    }
}
