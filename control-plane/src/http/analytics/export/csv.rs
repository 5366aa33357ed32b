//! Events as CSV (RFC 4180), safe to open in a spreadsheet (DS-07).

use super::{Known, show};
use crate::analytics::ApiEvent;
use rateguard_api::decimal::show_fixed;
use std::fmt::Write as _;
use uuid::Uuid;

pub(super) const HEAD: &str = "id,revision,timestamp,received_at,api_id,api_name,key_id,key_name,key_owner_id,\
    endpoint,method,model,status_code,error_type,latency_ms,upstream_latency_ms,ttft_ms,request_bytes,response_bytes,\
    cost_cents,input_tokens,cached_tokens,cache_write_tokens,output_tokens,reasoning_tokens,audio_tokens,units,\
    usage_source,price_version,cache_hit,rate_limited,budget_exceeded,shadow,degraded,stream,client_ip,rule_id,\
    budget_id,tags\r\n";

pub(super) fn write(out: &mut String, event: &ApiEvent, known: &Known<'_>) {
    let mut line = Line::new(out);
    line.shown(event.event_id).shown(event.revision);
    line.text(&show::time_ms(event.timestamp))
        .text(&show::time_ms(event.received_at));
    line.id(event.api_id).text(known.api);
    line.id(event.api_key_id).text(known.key).id(event.key_owner_id);
    line.text(&event.endpoint).text(&event.method).text(&event.model);
    line.some(u64::from(event.status_code)).text(&event.error_type);
    line.shown(event.latency_ms)
        .shown(event.upstream_latency_ms)
        .some(u64::from(event.ttft_ms));
    line.shown(event.request_bytes).shown(event.response_bytes);
    line.shown(show_fixed(event.cost_nanos, 7));
    for tokens in [
        event.fresh_input,
        event.cache_read,
        event.cache_write_5m.saturating_add(event.cache_write_1h),
        event.output_text,
        event.reasoning,
        event.audio_in.saturating_add(event.audio_out),
        event.units,
    ] {
        line.shown(tokens);
    }
    line.text(show::usage_source(event.usage_source))
        .text(&event.price_version);
    for flag in [
        event.cache_hit,
        event.rate_limited,
        event.budget_exceeded,
        event.shadow,
        event.degraded,
        event.stream,
    ] {
        line.shown(flag);
    }
    line.text(&event.client_ip).id(event.rule_id).id(event.budget_id);
    line.text(&tags(event));
    line.end();
}

/// As a JSON object, names in order.
pub(super) fn tags(event: &ApiEvent) -> String {
    let tags: std::collections::BTreeMap<&str, &str> = event
        .tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if tags.is_empty() {
        return String::new();
    }
    // A map of text: serialising cannot fail.
    serde_json::to_string(&tags).unwrap_or_default()
}

/// One line, field by field.
pub(super) struct Line<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl<'a> Line<'a> {
    pub(super) const fn new(out: &'a mut String) -> Self {
        Self { out, is_first: true }
    }

    fn comma(&mut self) {
        if !self.is_first {
            self.out.push(',');
        }
        self.is_first = false;
    }

    /// Numbers, ids, booleans: what no one could write a formula into.
    pub(super) fn shown(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.comma();
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
        self
    }

    /// Empty for 0.
    pub(super) fn some(&mut self, value: u64) -> &mut Self {
        if value == 0 {
            self.empty()
        } else {
            self.shown(value)
        }
    }

    /// Empty for nil.
    pub(super) fn id(&mut self, id: Uuid) -> &mut Self {
        if id.is_nil() { self.empty() } else { self.shown(id) }
    }

    pub(super) fn empty(&mut self) -> &mut Self {
        self.comma();
        self
    }

    /// Text that others chose. What a spreadsheet would take for a formula gets an apostrophe before it.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.comma();
        let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
        if !is_formula && !text.contains([',', '"', '\r', '\n']) {
            self.out.push_str(text);
            return self;
        }
        self.out.push('"');
        if is_formula {
            self.out.push('\'');
        }
        self.out.push_str(&text.replace('"', "\"\""));
        self.out.push('"');
        self
    }

    pub(super) fn end(self) {
        self.out.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ds_07_formulas_are_text() {
        let mut out = String::new();
        let mut line = Line::new(&mut out);
        for text in [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@x",
            "\t=1",
            "a,b",
            "say \"hi\"",
            "a\r\nb",
            "plain",
            "",
        ] {
            line.text(text);
        }
        line.shown(-5).some(0).id(Uuid::nil());
        line.end();
        assert_eq!(
            out,
            "\"'=cmd|' /C calc'!A0\",\"'+1\",\"'-1\",\"'@x\",\"'\t=1\",\"a,b\",\"say \"\"hi\"\"\",\"a\r\nb\",plain,,-5,,\r\n"
        );
    }
}
