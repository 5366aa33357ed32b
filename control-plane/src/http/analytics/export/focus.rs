//! Events as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification. `docs/FOCUS.md` says what becomes what.

use super::csv::{Line, tags};
use super::{Known, show};
use crate::analytics::ApiEvent;
use chrono::{DateTime, Datelike as _, TimeZone as _, Utc};
use rateguard_api::decimal::show_fixed;

pub(super) const HEAD: &str = "BilledCost,BillingAccountId,BillingAccountName,BillingAccountType,BillingCurrency,\
    BillingPeriodEnd,BillingPeriodStart,ChargeCategory,ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,\
    ChargePeriodStart,ConsumedQuantity,ConsumedUnit,ContractedCost,EffectiveCost,InvoiceIssuerName,ListCost,\
    PricingCurrency,ProviderName,PublisherName,RegionId,ResourceId,ResourceName,ResourceType,ServiceCategory,\
    ServiceName,ServiceSubcategory,SkuId,SkuPriceId,SubAccountId,SubAccountName,SubAccountType,Tags,\
    x_EventId,x_EventRevision,x_Endpoint,x_InputTokens,x_CachedTokens,x_CacheWriteTokens,x_OutputTokens,x_UsageSource\r\n";

/// Dollars have two places more than cents.
const DOLLAR_PLACES: u32 = 9;

pub(super) fn write(out: &mut String, event: &ApiEvent, known: &Known<'_>) {
    let at = DateTime::from_timestamp_millis(event.timestamp).unwrap_or_default();
    let (month, next_month) = month(at);
    let cost = show_fixed(event.cost_nanos, DOLLAR_PLACES);
    let cache_write = event.cache_write_5m.saturating_add(event.cache_write_1h);
    let tokens = [
        event.fresh_input,
        event.cache_read,
        cache_write,
        event.output_text,
        event.reasoning,
        event.audio_in,
        event.audio_out,
    ];
    let tokens: i64 = tokens.into_iter().fold(0, i64::saturating_add);
    let (quantity, unit) = match (tokens, event.units, event.revision) {
        (0, 0, 0) => (1, "Requests"),
        (0, 0, _) => (0, "Requests"),
        (0, units, _) => (units, "Units"),
        (tokens, _, _) => (tokens, "Tokens"),
    };
    let description = if event.revision == 0 {
        "Request"
    } else {
        "Late settlement of a request"
    };
    let mut line = Line::new(out);
    line.shown(&cost).shown(event.workspace_id).text(known.workspace);
    line.text("RateGuard workspace")
        .text("USD")
        .text(&next_month)
        .text(&month);
    line.text("Usage").empty().text(description).text("Usage-Based");
    line.text(&show::time_ms(event.timestamp.saturating_add(1)))
        .text(&show::time_ms(event.timestamp));
    line.shown(quantity).text(unit).shown(&cost).shown(&cost);
    line.text(known.api).shown(&cost).text("USD");
    line.text(known.api).text(known.api).empty();
    line.id(event.api_id).text(known.api).text("API");
    line.text("AI and Machine Learning")
        .text(known.api)
        .text("Generative AI");
    line.text(&event.model).text(&event.price_version);
    line.id(event.api_key_id).text(known.key).text("API key");
    line.text(&tags(event));
    line.shown(event.event_id)
        .shown(event.revision)
        .text(&event.endpoint);
    line.shown(event.fresh_input)
        .shown(event.cache_read)
        .shown(cache_write);
    line.shown(event.output_text)
        .text(show::usage_source(event.usage_source));
    line.end();
}

/// The calendar month of UTC that an instant is in, and the beginning of the next.
fn month(at: DateTime<Utc>) -> (String, String) {
    let first = |year: i32, month: u32| {
        let at = Utc
            .with_ymd_and_hms(year, month, 1, 0, 0, 0)
            .single()
            .unwrap_or_default();
        show::time_ms(at.timestamp_millis())
    };
    let (year, month) = (at.year(), at.month());
    let next = if month == 12 {
        first(year + 1, 1)
    } else {
        first(year, month + 1)
    };
    (first(year, month), next)
}
