//! Column `rule.scopes`: `[{"type": "PER_KEY"}, {"type": "PER_IP", "trustedHops": 1}]`.

use rateguard_model::rule::Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
enum Stored {
    Global,
    PerWorkspace,
    PerKey,
    #[serde(rename_all = "camelCase")]
    PerIp {
        #[serde(default)]
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

/// The column's value.
pub fn to_json(scopes: &[Scope]) -> Value {
    let stored: Vec<Stored> = scopes
        .iter()
        .map(|scope| match scope {
            Scope::Global => Stored::Global,
            Scope::PerWorkspace => Stored::PerWorkspace,
            Scope::PerKey => Stored::PerKey,
            Scope::PerIp { trusted_hops } => Stored::PerIp {
                trusted_hops: *trusted_hops,
            },
            Scope::PerHeader { name } => Stored::PerHeader { name: name.clone() },
            Scope::PerModel => Stored::PerModel,
            Scope::PerTag { name } => Stored::PerTag { name: name.clone() },
        })
        .collect();
    // Strings and integers only: serialising cannot fail.
    serde_json::to_value(stored).unwrap_or(Value::Null)
}

/// Reads the column's value.
pub fn from_json(value: Value) -> Result<Vec<Scope>, serde_json::Error> {
    let stored: Vec<Stored> = serde_json::from_value(value)?;
    Ok(stored
        .into_iter()
        .map(|scope| match scope {
            Stored::Global => Scope::Global,
            Stored::PerWorkspace => Scope::PerWorkspace,
            Stored::PerKey => Scope::PerKey,
            Stored::PerIp { trusted_hops } => Scope::PerIp { trusted_hops },
            Stored::PerHeader { name } => Scope::PerHeader { name },
            Stored::PerModel => Scope::PerModel,
            Stored::PerTag { name } => Scope::PerTag { name },
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_spelled_as_documented() {
        let scopes = vec![Scope::PerKey, Scope::PerIp { trusted_hops: 1 }];
        let json = to_json(&scopes);
        assert_eq!(
            json,
            serde_json::json!([{"type": "PER_KEY"}, {"type": "PER_IP", "trustedHops": 1}])
        );
        assert_eq!(from_json(json).unwrap(), scopes);
    }
}
