-- Sums per tag and hour. A request with three tags is in three rows: sums over tags mean something only per name.
CREATE TABLE IF NOT EXISTS tags_hour ${on_cluster}
(
    workspace_id   UUID CODEC(ZSTD(1)),
    bucket         DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    name           LowCardinality(String),
    value          String CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_nanos     SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    fresh_input    SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_read     SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_5m SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_1h SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    output_text    SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    reasoning      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    units          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, name, value)
TTL bucket + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS tags_hour_mv ${on_cluster} TO tags_hour AS
SELECT
    workspace_id, toStartOfHour(timestamp) AS bucket, tag.1 AS name, tag.2 AS value,
    countIf(revision = 0) AS requests,
    countIf(revision = 0 AND (error_type != '' OR status_code >= 400)) AS errors,
    sum(e.cost_nanos) AS cost_nanos,
    sum(e.fresh_input) AS fresh_input,
    sum(e.cache_read) AS cache_read,
    sum(e.cache_write_5m) AS cache_write_5m,
    sum(e.cache_write_1h) AS cache_write_1h,
    sum(e.output_text) AS output_text,
    sum(e.reasoning) AS reasoning,
    sum(e.audio_in) AS audio_in,
    sum(e.audio_out) AS audio_out,
    sum(e.units) AS units
FROM api_events AS e
ARRAY JOIN e.tags AS tag
GROUP BY workspace_id, bucket, name, value;
