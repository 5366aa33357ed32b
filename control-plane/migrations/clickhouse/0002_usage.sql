-- Counts and sums per minute, hour and day: what every chart and table of the console is drawn from.
--
-- A late settlement (revision 1) adds its differences to the sums and is no request of its own, so totals equal those of
-- the raw rows. Hours are made from minutes and days from hours, as they are inserted: a raw row is grouped once.
-- Latencies leave out requests that got no answer (status 0), which have none.
CREATE TABLE IF NOT EXISTS usage_minute ${on_cluster}
(
    workspace_id            UUID CODEC(ZSTD(1)),
    bucket                  DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id                  UUID CODEC(ZSTD(1)),
    api_key_id              UUID CODEC(ZSTD(1)),
    key_owner_id            UUID CODEC(ZSTD(1)),
    model                   LowCardinality(String),
    endpoint                LowCardinality(String),
    method                  LowCardinality(String),
    requests                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    client_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    server_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    rate_limited            SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    budget_exceeded         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    shadow                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    degraded                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_hits              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    streams                 SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    estimated               SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_count           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_count              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_sum_ms          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    upstream_latency_sum_ms SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_sum_ms             SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    request_bytes           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    response_bytes          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_nanos              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    fresh_input             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_read              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_5m          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_1h          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    output_text             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    reasoning               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_in                SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_out               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    units                   SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMMDD(bucket)
ORDER BY (workspace_id, bucket, api_id, api_key_id, model, endpoint, method, key_owner_id)
TTL bucket + INTERVAL 32 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_minute_mv ${on_cluster} TO usage_minute AS
SELECT
    workspace_id, toStartOfMinute(timestamp) AS bucket, api_id, api_key_id, key_owner_id, model, endpoint, method,
    countIf(revision = 0) AS requests,
    countIf(revision = 0 AND (error_type != '' OR status_code >= 400)) AS errors,
    countIf(revision = 0 AND status_code >= 400 AND status_code < 500) AS client_errors,
    countIf(revision = 0 AND status_code >= 500) AS server_errors,
    countIf(revision = 0 AND e.rate_limited) AS rate_limited,
    countIf(revision = 0 AND e.budget_exceeded) AS budget_exceeded,
    countIf(revision = 0 AND e.shadow) AS shadow,
    countIf(revision = 0 AND e.degraded) AS degraded,
    countIf(revision = 0 AND cache_hit) AS cache_hits,
    countIf(revision = 0 AND stream) AS streams,
    countIf(revision = 0 AND usage_source IN ('partial', 'estimated', 'reserved')) AS estimated,
    countIf(revision = 0 AND status_code != 0) AS latency_count,
    countIf(revision = 0 AND ttft_ms != 0) AS ttft_count,
    sumIf(latency_ms, revision = 0 AND status_code != 0) AS latency_sum_ms,
    sumIf(upstream_latency_ms, revision = 0 AND status_code != 0) AS upstream_latency_sum_ms,
    sumIf(ttft_ms, revision = 0) AS ttft_sum_ms,
    sum(e.request_bytes) AS request_bytes,
    sum(e.response_bytes) AS response_bytes,
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
GROUP BY workspace_id, bucket, api_id, api_key_id, key_owner_id, model, endpoint, method;

CREATE TABLE IF NOT EXISTS usage_hour ${on_cluster}
(
    workspace_id            UUID CODEC(ZSTD(1)),
    bucket                  DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id                  UUID CODEC(ZSTD(1)),
    api_key_id              UUID CODEC(ZSTD(1)),
    key_owner_id            UUID CODEC(ZSTD(1)),
    model                   LowCardinality(String),
    endpoint                LowCardinality(String),
    method                  LowCardinality(String),
    requests                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    client_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    server_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    rate_limited            SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    budget_exceeded         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    shadow                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    degraded                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_hits              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    streams                 SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    estimated               SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_count           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_count              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_sum_ms          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    upstream_latency_sum_ms SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_sum_ms             SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    request_bytes           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    response_bytes          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_nanos              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    fresh_input             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_read              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_5m          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_1h          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    output_text             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    reasoning               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_in                SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_out               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    units                   SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, api_id, api_key_id, model, endpoint, method, key_owner_id)
TTL bucket + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_hour_mv ${on_cluster} TO usage_hour AS
SELECT
    workspace_id, toStartOfHour(usage_minute.bucket) AS bucket, api_id, api_key_id, key_owner_id, model, endpoint, method,
    sum(usage_minute.requests) AS requests,
    sum(usage_minute.errors) AS errors,
    sum(usage_minute.client_errors) AS client_errors,
    sum(usage_minute.server_errors) AS server_errors,
    sum(usage_minute.rate_limited) AS rate_limited,
    sum(usage_minute.budget_exceeded) AS budget_exceeded,
    sum(usage_minute.shadow) AS shadow,
    sum(usage_minute.degraded) AS degraded,
    sum(usage_minute.cache_hits) AS cache_hits,
    sum(usage_minute.streams) AS streams,
    sum(usage_minute.estimated) AS estimated,
    sum(usage_minute.latency_count) AS latency_count,
    sum(usage_minute.ttft_count) AS ttft_count,
    sum(usage_minute.latency_sum_ms) AS latency_sum_ms,
    sum(usage_minute.upstream_latency_sum_ms) AS upstream_latency_sum_ms,
    sum(usage_minute.ttft_sum_ms) AS ttft_sum_ms,
    sum(usage_minute.request_bytes) AS request_bytes,
    sum(usage_minute.response_bytes) AS response_bytes,
    sum(usage_minute.cost_nanos) AS cost_nanos,
    sum(usage_minute.fresh_input) AS fresh_input,
    sum(usage_minute.cache_read) AS cache_read,
    sum(usage_minute.cache_write_5m) AS cache_write_5m,
    sum(usage_minute.cache_write_1h) AS cache_write_1h,
    sum(usage_minute.output_text) AS output_text,
    sum(usage_minute.reasoning) AS reasoning,
    sum(usage_minute.audio_in) AS audio_in,
    sum(usage_minute.audio_out) AS audio_out,
    sum(usage_minute.units) AS units
FROM usage_minute
GROUP BY workspace_id, bucket, api_id, api_key_id, key_owner_id, model, endpoint, method;

CREATE TABLE IF NOT EXISTS usage_day ${on_cluster}
(
    workspace_id            UUID CODEC(ZSTD(1)),
    bucket                  DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id                  UUID CODEC(ZSTD(1)),
    api_key_id              UUID CODEC(ZSTD(1)),
    key_owner_id            UUID CODEC(ZSTD(1)),
    model                   LowCardinality(String),
    endpoint                LowCardinality(String),
    method                  LowCardinality(String),
    requests                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    errors                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    client_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    server_errors           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    rate_limited            SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    budget_exceeded         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    shadow                  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    degraded                SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_hits              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    streams                 SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    estimated               SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_count           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_count              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    latency_sum_ms          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    upstream_latency_sum_ms SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ttft_sum_ms             SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    request_bytes           SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    response_bytes          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_nanos              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    fresh_input             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_read              SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_5m          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    cache_write_1h          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    output_text             SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    reasoning               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_in                SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    audio_out               SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    units                   SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, api_id, api_key_id, model, endpoint, method, key_owner_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_day_mv ${on_cluster} TO usage_day AS
SELECT
    workspace_id, toStartOfDay(usage_hour.bucket) AS bucket, api_id, api_key_id, key_owner_id, model, endpoint, method,
    sum(usage_hour.requests) AS requests,
    sum(usage_hour.errors) AS errors,
    sum(usage_hour.client_errors) AS client_errors,
    sum(usage_hour.server_errors) AS server_errors,
    sum(usage_hour.rate_limited) AS rate_limited,
    sum(usage_hour.budget_exceeded) AS budget_exceeded,
    sum(usage_hour.shadow) AS shadow,
    sum(usage_hour.degraded) AS degraded,
    sum(usage_hour.cache_hits) AS cache_hits,
    sum(usage_hour.streams) AS streams,
    sum(usage_hour.estimated) AS estimated,
    sum(usage_hour.latency_count) AS latency_count,
    sum(usage_hour.ttft_count) AS ttft_count,
    sum(usage_hour.latency_sum_ms) AS latency_sum_ms,
    sum(usage_hour.upstream_latency_sum_ms) AS upstream_latency_sum_ms,
    sum(usage_hour.ttft_sum_ms) AS ttft_sum_ms,
    sum(usage_hour.request_bytes) AS request_bytes,
    sum(usage_hour.response_bytes) AS response_bytes,
    sum(usage_hour.cost_nanos) AS cost_nanos,
    sum(usage_hour.fresh_input) AS fresh_input,
    sum(usage_hour.cache_read) AS cache_read,
    sum(usage_hour.cache_write_5m) AS cache_write_5m,
    sum(usage_hour.cache_write_1h) AS cache_write_1h,
    sum(usage_hour.output_text) AS output_text,
    sum(usage_hour.reasoning) AS reasoning,
    sum(usage_hour.audio_in) AS audio_in,
    sum(usage_hour.audio_out) AS audio_out,
    sum(usage_hour.units) AS units
FROM usage_hour
GROUP BY workspace_id, bucket, api_id, api_key_id, key_owner_id, model, endpoint, method;
