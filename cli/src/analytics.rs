//! What was asked of the gateway: totals, breakdowns, recent requests, and requests as they come in.

use crate::arguments::{AnalyticsCommand, EventFilter, Span, Tail};
use crate::client::Client;
use crate::error::Error;
use crate::output::{Column, Format, Printer};
use crate::resources::below_workspace;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::time::Duration;
use url::form_urlencoded::Serializer;

const COLUMNS: &[Column] = &[
    ("TIME", "/timestamp"),
    ("STATUS", "/statusCode"),
    ("METHOD", "/method"),
    ("ENDPOINT", "/endpoint"),
    ("API", "/apiName"),
    ("KEY", "/keyName"),
    ("MODEL", "/model"),
    ("MS", "/latencyMs"),
    ("CENTS", "/costCents"),
    ("ERROR", "/errorType"),
];

const GROUPS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("REQUESTS", "/requestCount"),
    ("CENTS", "/costCents"),
    ("SHARE", "/share"),
];

const ENDPOINTS: &[Column] = &[
    ("METHOD", "/method"),
    ("ENDPOINT", "/endpoint"),
    ("REQUESTS", "/requestCount"),
    ("MS", "/avgLatencyMs"),
    ("ERRORS", "/errorRate"),
    ("CENTS", "/totalCostCents"),
];

/// A stream that broke off is asked for again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Ids that a new stream may repeat.
const REMEMBERED: usize = 1_000;

pub(crate) async fn analytics(
    client: &mut Client,
    printer: &Printer,
    command: AnalyticsCommand,
) -> Result<(), Error> {
    match command {
        AnalyticsCommand::Summary(span) => {
            let path = path(client_path(client, "summary").await?, &pairs(&span));
            let answer = client.get(&path).await?;
            printer.one(&answer.text, None)
        }
        AnalyticsCommand::TopEndpoints(span) => {
            let path = path(client_path(client, "top-endpoints").await?, &pairs(&span));
            let answer = client.get(&path).await?;
            printer.list(&entries(&answer.text, "endpoints"), ENDPOINTS)
        }
        AnalyticsCommand::Latency(span) => {
            let path = path(client_path(client, "latency").await?, &pairs(&span));
            let answer = client.get(&path).await?;
            printer.one(&answer.text, None)
        }
        AnalyticsCommand::Events { span, filter, limit } => {
            let mut pairs = pairs(&span);
            pairs.extend(filter_pairs(&filter));
            pairs.push(("limit", limit.to_string()));
            let path = path(client_path(client, "events").await?, &pairs);
            let answer = client.get(&path).await?;
            printer.list(&entries(&answer.text, "data"), COLUMNS)
        }
    }
}

/// Costs by what they were for.
pub(crate) async fn breakdown(
    client: &mut Client,
    printer: &Printer,
    by: &str,
    span: &Span,
) -> Result<(), Error> {
    let mut pairs = pairs(span);
    pairs.push(("by", by.to_owned()));
    let path = path(client_path(client, "costs").await?, &pairs);
    let answer = client.get(&path).await?;
    printer.list(&entries(&answer.text, "groups"), GROUPS)
}

/// Prints requests until it is stopped. The control plane ends a stream now and then: it is asked for again.
pub(crate) async fn tail(client: &mut Client, printer: &Printer, tail: Tail) -> Result<(), Error> {
    let json = tail.json || printer.format() == Format::Json;
    let path = path(client_path(client, "tail").await?, &filter_pairs(&tail.filter));
    let mut shown: VecDeque<String> = VecDeque::new();
    let mut has_begun = false;
    loop {
        match client.follow(&path).await {
            Ok(mut stream) => {
                has_begun = true;
                let mut lines = Lines::default();
                while let Some(chunk) = stream.next().await {
                    for data in lines.push(&chunk) {
                        show(printer, &data, json, &mut shown)?;
                    }
                }
            }
            Err(Error::Unreachable { .. }) if has_begun => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn show(printer: &Printer, data: &str, json: bool, shown: &mut VecDeque<String>) -> Result<(), Error> {
    let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let id = format!("{}/{}", value["id"], value["revision"]);
    if shown.contains(&id) {
        return Ok(());
    }
    shown.push_back(id);
    if shown.len() > REMEMBERED {
        shown.pop_front();
    }
    if json {
        Printer::raw(data)
    } else {
        printer.line(&value, COLUMNS)
    }
}

/// Puts a stream's chunks together to lines, and gives the data of its events.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(chunk);
        let mut data = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(text) = line.trim_end().strip_prefix("data:") {
                data.push(text.trim_start().to_owned());
            }
        }
        data
    }
}

async fn client_path(client: &mut Client, route: &str) -> Result<String, Error> {
    below_workspace(client, &format!("analytics/{route}")).await
}

fn path(path: String, pairs: &[(&'static str, String)]) -> String {
    if pairs.is_empty() {
        return path;
    }
    let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

fn pairs(span: &Span) -> Vec<(&'static str, String)> {
    given([("start", span.start.as_ref()), ("end", span.end.as_ref())])
}

fn filter_pairs(filter: &EventFilter) -> Vec<(&'static str, String)> {
    let mut pairs = given([
        ("status", filter.status.as_ref()),
        ("errorType", filter.error_type.as_ref()),
        ("endpoint", filter.endpoint.as_ref()),
        ("apiId", filter.api.as_ref()),
        ("keyId", filter.key.as_ref()),
        ("model", filter.model.as_ref()),
    ]);
    if let Some(min) = filter.min_latency_ms {
        pairs.push(("minLatencyMs", min.to_string()));
    }
    pairs
}

fn given<const N: usize>(pairs: [(&'static str, Option<&String>); N]) -> Vec<(&'static str, String)> {
    let given = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.clone())));
    given.collect()
}

/// The entries of a list within an answer, each as the server wrote it.
fn entries(text: &str, name: &str) -> Vec<Box<RawValue>> {
    let mut fields: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_str(text).unwrap_or_default();
    let list = fields.remove(name);
    list.and_then(|list| serde_json::from_str(list.get()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_chunks() {
        let mut lines = Lines::default();
        assert!(lines.push(b"event: request\nda").is_empty());
        assert_eq!(
            lines.push(b"ta: {\"a\":1}\n\n:\n\ndata: 2\r\n"),
            ["{\"a\":1}", "2"]
        );
    }
}
