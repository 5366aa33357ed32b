//! Where the limit service leaves events and the analytics consumer finds them, on either bus.

/// Streams that events are spread over on Redis, a workspace always in the same one.
pub const STREAM_COUNT: u8 = 16;

/// The only field of a stream's entry: a protobuf `rateguard.v1.ReportUsageRequest`.
pub const STREAM_FIELD: &str = "b";

/// The consumer's group, on either bus.
pub const GROUP: &str = "analytics-consumer";

/// The header of Kafka's records that names the data plane.
pub const NODE_HEADER: &str = "node";

/// The stream with what can never be stored, and why.
pub const DEAD_STREAM: &str = "rg1:{events:dead}";

/// The same as a topic of Kafka.
pub fn dead_topic(topic: &str) -> String {
    format!("{topic}.dead")
}

/// The sender of a mark: a message that stands for no request. Who asks the ledger what a workspace has spent puts one
/// behind all that is on its way there; when the consumer has passed it, so are they.
pub const MARK_NODE: &str = "ext-ratelimit/mark";

/// Stream `n`. Its hash tag is its own: streams live in all slots of a cluster.
pub fn stream(n: u8) -> String {
    format!("rg1:{{events:{n}}}")
}

/// The stream of a workspace: by the last byte of its id, which is random in every UUID version in use; 0 for none.
pub fn stream_of(workspace_id: &[u8]) -> u8 {
    workspace_id.last().map_or(0, |last| last % STREAM_COUNT)
}
