//! Reading and writing where events go, past all programs.

use crate::bus::Bus;
use rateguard_tests::stack::Stack;
use rateguard_wire::v1;
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longer than any delay that the product allows, for a loaded machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);

/// A Stack, and the bus it was started with.
#[derive(Clone, Copy)]
pub(crate) struct Books {
    pub(crate) stack: &'static Stack,
    pub(crate) bus: Bus,
}

impl Books {
    /// The lines of an answer of ClickHouse, asked past any proxy.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let url = self.stack.engines().clickhouse_url.clone().expect("ClickHouse");
        let (server, database) = url.rsplit_once('/').expect("a database");
        let answer = self
            .stack
            .client()
            .post(server)
            .query(&[("database", database)])
            .body(sql.to_owned())
            .send()
            .await
            .expect("ClickHouse answers");
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        assert!(status.is_success(), "{sql}: {text}");
        text.lines().map(str::to_owned).collect()
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let lines = self.query(sql).await;
        lines.first().map_or(0, |line| line.parse().expect("a number"))
    }

    /// Ids of a workspace's rows, a row that is there twice twice, sorted. Without those of 404: a scene asks for an API
    /// that there is none of until its changes are in force.
    pub(crate) async fn ids(&self, workspace: &str) -> Vec<String> {
        let sql = format!(
            "SELECT toString(event_id) FROM api_events WHERE workspace_id = '{workspace}' AND status_code != 404 ORDER BY toString(event_id)"
        );
        self.query(&sql).await
    }

    /// Requests of a workspace that the rollup counts: a block that was inserted twice shows there for good.
    pub(crate) async fn counted(&self, workspace: &str) -> i64 {
        let sql = format!(
            "SELECT toInt64(sum(requests)) FROM usage_minute WHERE workspace_id = '{workspace}' AND api_id IN \
             (SELECT api_id FROM api_events WHERE workspace_id = '{workspace}' AND status_code != 404)"
        );
        self.number(&sql).await
    }

    /// Waits until a workspace has exactly these events, in the raw table and in the rollup.
    pub(crate) async fn has_exactly(&self, workspace: &str, ids: &[String]) {
        let mut wanted = ids.to_vec();
        wanted.sort();
        eventually("the rows are there", WITHIN, async || {
            self.ids(workspace).await.len() >= wanted.len()
        })
        .await;
        assert_eq!(self.ids(workspace).await, wanted);
        let count = i64::try_from(wanted.len()).unwrap();
        // Rows are seen before the views have them.
        eventually("the rollup counts them", WITHIN, async || {
            self.counted(workspace).await >= count
        })
        .await;
        assert_eq!(self.counted(workspace).await, count, "counted by the rollup");
    }

    /// Sends events as a data plane does.
    pub(crate) async fn report(&self, events: Vec<v1::RequestEvent>) -> Result<(), tonic::Status> {
        let token = &self.stack.seed().data_plane_token;
        self.report_with(Some(token), events).await
    }

    /// Sends events as the data plane of a token does, or as somebody without one.
    pub(crate) async fn report_with(
        &self,
        token: Option<&str>,
        events: Vec<v1::RequestEvent>,
    ) -> Result<(), tonic::Status> {
        let address = format!("http://{}", self.stack.addresses().limits);
        let channel = tonic::transport::Endpoint::from_shared(address).expect("an address");
        let channel = channel.connect().await.expect("the limit service listens");
        let mut client = LimitServiceClient::new(channel);
        let mut request = tonic::Request::new(v1::ReportUsageRequest {
            node_id: "test".into(),
            events,
            ..v1::ReportUsageRequest::default()
        });
        if let Some(token) = token {
            let token = format!("Bearer {token}").parse().expect("a token");
            request.metadata_mut().insert("authorization", token);
        }
        client.report_usage(request).await.map(drop)
    }

    /// Messages that wait, as the consumer's metric says.
    pub(crate) async fn lag(&self) -> u64 {
        self.metric("rateguard_control_plane_analytics_lag{").await
    }

    /// The sum of a metric's values.
    pub(crate) async fn metric(&self, prefix: &str) -> u64 {
        self.metric_of(self.stack.addresses().control_plane, prefix).await
    }

    /// The same of another consumer.
    pub(crate) async fn metric_of(&self, consumer: SocketAddr, prefix: &str) -> u64 {
        let url = format!("http://{consumer}/metrics");
        let Ok(answer) = self.stack.client().get(url).send().await else {
            return 0;
        };
        let text = answer.text().await.unwrap_or_default();
        let values = text.lines().filter(|line| line.starts_with(prefix));
        values
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }
}

/// An event of a request that cost something, now.
#[expect(
    clippy::disallowed_methods,
    reason = "the store drops events that the real clock calls old"
)]
pub(crate) fn event(workspace: Uuid, cost_nanos: i64) -> v1::RequestEvent {
    v1::RequestEvent {
        event_id: Uuid::now_v7().as_bytes().to_vec(),
        timestamp_ms: chrono::Utc::now().timestamp_millis(),
        workspace_id: workspace.as_bytes().to_vec(),
        endpoint: "/v1/chat/completions".into(),
        method: "POST".into(),
        status_code: 200,
        cost_nanos,
        usage_source: v1::UsageSource::Reported.into(),
        ..v1::RequestEvent::default()
    }
}

/// The ids of events, as ClickHouse writes them.
pub(crate) fn ids_of(events: &[v1::RequestEvent]) -> Vec<String> {
    let id = |event: &v1::RequestEvent| Uuid::from_slice(&event.event_id).unwrap().to_string();
    events.iter().map(id).collect()
}

/// Waits until `done` answers true, or fails after `deadline` with what was waited for.
pub(crate) async fn eventually(what: &str, deadline: Duration, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !done().await {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
