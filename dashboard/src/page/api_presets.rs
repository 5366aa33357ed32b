//! What an API starts from: the settings of well-known providers.

use rateguard_api::name::{AuthType, UsageFormat};

pub struct Preset {
    pub id: &'static str,
    pub title: &'static str,
    pub text: &'static str,
    pub name: &'static str,
    pub base_url: &'static str,
    pub hosts: &'static str,
    pub auth_type: AuthType,
    pub header: &'static str,
    pub usage_format: UsageFormat,
    pub timeout_ms: &'static str,
    /// What the provider's key looks like.
    pub credential: &'static str,
}

/// Long completions need patience; other APIs do not.
const PATIENT_MS: &str = "600000";
const USUAL_MS: &str = "30000";

pub const PRESETS: [Preset; 5] = [
    Preset {
        id: "openai",
        title: "OpenAI",
        text: "Chat, responses, embeddings",
        name: "OpenAI",
        base_url: "https://api.openai.com/v1",
        hosts: "api.openai.com",
        auth_type: AuthType::Bearer,
        header: "",
        usage_format: UsageFormat::OpenAi,
        timeout_ms: PATIENT_MS,
        credential: "sk-…",
    },
    Preset {
        id: "anthropic",
        title: "Anthropic",
        text: "Messages",
        name: "Anthropic",
        base_url: "https://api.anthropic.com",
        hosts: "api.anthropic.com",
        auth_type: AuthType::ApiKeyHeader,
        header: "x-api-key",
        usage_format: UsageFormat::Anthropic,
        timeout_ms: PATIENT_MS,
        credential: "sk-ant-…",
    },
    Preset {
        id: "gemini",
        title: "Gemini",
        text: "Generate content",
        name: "Gemini",
        base_url: "https://generativelanguage.googleapis.com",
        hosts: "generativelanguage.googleapis.com",
        auth_type: AuthType::ApiKeyHeader,
        header: "x-goog-api-key",
        usage_format: UsageFormat::Gemini,
        timeout_ms: PATIENT_MS,
        credential: "AIza…",
    },
    Preset {
        id: "stripe",
        title: "Stripe",
        text: "A price per request",
        name: "Stripe",
        base_url: "https://api.stripe.com",
        hosts: "api.stripe.com",
        auth_type: AuthType::Bearer,
        header: "",
        usage_format: UsageFormat::None,
        timeout_ms: USUAL_MS,
        credential: "sk_live_…",
    },
    Preset {
        id: "custom",
        title: "Custom",
        text: "Any API over HTTP",
        name: "",
        base_url: "",
        hosts: "",
        auth_type: AuthType::None,
        header: "",
        usage_format: UsageFormat::Auto,
        timeout_ms: USUAL_MS,
        credential: "",
    },
];

pub fn preset(id: &str) -> &'static Preset {
    let [.., custom] = &PRESETS;
    PRESETS.iter().find(|preset| preset.id == id).unwrap_or(custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_found_and_custom_is_the_rest() {
        assert_eq!(preset("anthropic").header, "x-api-key");
        assert_eq!(preset("nothing").id, "custom");
    }
}
