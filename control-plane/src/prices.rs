//! The cost model CATALOGUE: the workspace's overrides, then the bundled catalogue, compiled into prices per model, so
//! that the data plane prices it as it prices any PER_TOKEN model.

use crate::db::price::{self, Override};
use crate::db::{DbError, api, cost_model, feed, transaction};
use crate::state::AppState;
use chrono::{DateTime, Utc};
use rateguard_api::decimal::parse_fixed;
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::money::NanoUsd;
use serde::Deserialize;
use sqlx::{Postgres, Transaction};
use std::cmp::Reverse;
use std::sync::LazyLock;
use uuid::Uuid;

/// The prices that this program was built with.
#[derive(Debug)]
pub struct Catalogue {
    /// A date: later ones replace earlier ones.
    pub version: String,
    /// The first whose pattern matches wins.
    pub entries: Vec<CatalogueEntry>,
}

#[derive(Debug)]
pub struct CatalogueEntry {
    pub provider: String,
    pub model: String,
    pub prices: TokenPrices,
    /// Where the price was read.
    pub source: String,
    /// When it was last known to hold.
    pub as_of: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    #[serde(rename = "unit")]
    _unit: String,
    entries: Vec<Line>,
}

/// USD per 1 000 000 tokens, as providers publish them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    provider: String,
    model: String,
    input: String,
    output: String,
    cache_read: Option<String>,
    #[serde(rename = "cacheWrite5m")]
    cache_write_5m: Option<String>,
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<String>,
    audio_input: Option<String>,
    audio_output: Option<String>,
    source: String,
    as_of: String,
}

/// The bundled catalogue; empty if the file is broken, which a test excludes.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        read(include_str!("../catalogue/prices.json")).unwrap_or(Catalogue {
            version: String::new(),
            entries: Vec::new(),
        })
    });
    &CATALOGUE
}

fn read(text: &str) -> Option<Catalogue> {
    let file: File = serde_json::from_str(text).ok()?;
    let entries: Option<Vec<CatalogueEntry>> = file.entries.into_iter().map(entry).collect();
    Some(Catalogue {
        version: file.version,
        entries: entries?,
    })
}

fn entry(line: Line) -> Option<CatalogueEntry> {
    let optional = |text: Option<String>| text.map(|text| nanos(&text).ok_or(())).transpose().ok();
    Some(CatalogueEntry {
        prices: TokenPrices {
            input: nanos(&line.input)?,
            output: nanos(&line.output)?,
            cache_read: optional(line.cache_read)?,
            cache_write_5m: optional(line.cache_write_5m)?,
            cache_write_1h: optional(line.cache_write_1h)?,
            audio_in: optional(line.audio_input)?,
            reasoning: None,
            audio_out: optional(line.audio_output)?,
        },
        provider: line.provider,
        model: line.model,
        source: line.source,
        as_of: line.as_of,
    })
}

/// Millionths of a USD per 1 000 000 tokens are nano-USD per 1 000 tokens.
fn nanos(usd_per_million: &str) -> Option<NanoUsd> {
    parse_fixed(usd_per_million, 6)
        .ok()
        .filter(|nanos| *nanos >= 0)
        .map(NanoUsd)
}

/// What a workspace's overrides and the catalogue come to: longer patterns of its own first, they say more.
pub fn compile(overrides: &[Override]) -> CostModel {
    let mut own: Vec<&ModelPrices> = overrides.iter().map(|own| &own.entry).collect();
    own.sort_by_key(|entry| (Reverse(entry.model.len()), entry.model.clone()));
    let bundled = catalogue().entries.iter().map(|entry| ModelPrices {
        model: entry.model.clone(),
        prices: entry.prices,
        default_output_tokens: 0,
    });
    CostModel::PerToken(TokenPricing {
        default_prices: None,
        models: own.into_iter().cloned().chain(bundled).collect(),
    })
}

/// Prices one API by the catalogue. To be asked under the feed's lock.
pub async fn apply(tx: &mut Transaction<'_, Postgres>, api: &mut api::Api) -> Result<(), DbError> {
    let model = compile(&price::all(tx, api.workspace_id).await?);
    api.price_version = cost_model::price_version(Some(&model));
    api.cost_model = Some(model);
    api.catalogue_version = Some(catalogue().version.clone());
    Ok(())
}

/// Prices every API of the workspace that follows the catalogue anew, after its overrides changed.
pub async fn reprice(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    now: DateTime<Utc>,
    feed_version: i64,
) -> Result<(), DbError> {
    let model = compile(&price::all(tx, workspace_id).await?);
    api::reprice(tx, workspace_id, &model, &catalogue().version, now, feed_version).await
}

/// Brings APIs that follow an older catalogue to this one. To be asked when the program starts; a replica of an older
/// version changes nothing back.
pub async fn adopt_catalogue(state: &AppState) -> Result<(), DbError> {
    for workspace_id in api::workspaces_behind_catalogue(&state.db, &catalogue().version).await? {
        let mut tx = transaction::begin(&state.db).await?;
        let feed_version = feed::next_version(&mut tx).await?;
        reprice(&mut tx, workspace_id, state.now(), feed_version).await?;
        tx.commit().await?;
        tracing::info!(workspace.id = %workspace_id, catalogue = %catalogue().version, "repriced");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_catalogue_is_sound() {
        let catalogue = catalogue();
        assert!(catalogue.entries.len() > 40, "{}", catalogue.entries.len());
        assert_eq!(catalogue.version.len(), "2025-01-31".len());
        for (index, entry) in catalogue.entries.iter().enumerate() {
            assert!(entry.source.starts_with("https://"), "{}", entry.model);
            assert_eq!(entry.as_of.len(), "2025-01-31".len(), "{}", entry.model);
            assert!(entry.prices.input.0 > 0, "{}", entry.model);
            let hidden = catalogue.entries.iter().take(index).find(|earlier| {
                rateguard_model::glob::matches(&earlier.model, &entry.model.replace('*', "x"))
            });
            assert!(hidden.is_none(), "{} never matches", entry.model);
        }
    }

    #[test]
    fn published_prices_are_exact_and_overrides_come_first() {
        let price = |model: &CostModel, name: &str| match model {
            CostModel::PerToken(pricing) => pricing.prices_of(name).map(|(prices, _)| prices.input.0),
            CostModel::PerRequest { .. } => None,
        };
        let bundled = compile(&[]);
        // USD 0.15 per million tokens are 0.015 cents per thousand.
        assert_eq!(price(&bundled, "gpt-4o-mini-2024-07-18"), Some(150_000));
        assert_eq!(price(&bundled, "gpt-4o-2024-08-06"), Some(2_500_000));
        assert_eq!(price(&bundled, "claude-sonnet-4-5-20250929"), Some(3_000_000));
        assert_eq!(price(&bundled, "unknown"), None);
        let own = |model: &str, input: i64| Override {
            id: Uuid::nil(),
            workspace_id: Uuid::nil(),
            entry: ModelPrices {
                model: model.to_owned(),
                prices: TokenPrices {
                    input: NanoUsd(input),
                    ..TokenPrices::default()
                },
                default_output_tokens: 0,
            },
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let overridden = compile(&[own("gpt-*", 1), own("gpt-4o-mini*", 2)]);
        assert_eq!(price(&overridden, "gpt-4o-mini-2024-07-18"), Some(2));
        assert_eq!(price(&overridden, "gpt-4o"), Some(1));
        assert_eq!(price(&overridden, "o3"), price(&bundled, "o3"));
        let version = |model: &CostModel| cost_model::price_version(Some(model));
        assert_ne!(version(&bundled), version(&overridden));
    }
}
