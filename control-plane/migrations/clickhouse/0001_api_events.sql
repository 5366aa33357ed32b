-- One row per governed request, and one more (revision 1, signed differences) for a late settlement.
--
-- Partitions and expiry go by the time at which the limit service took the event, which a data plane cannot choose
-- (EV-11); `timestamp` is the data plane's, corrected when it cannot be true (`clock_skewed`).
-- Replacing: a row that came twice becomes one when parts merge; until then readers that bill go through
-- `api_events_once`. Ids are nil where there is none.
CREATE TABLE IF NOT EXISTS api_events ${on_cluster}
(
    workspace_id        UUID CODEC(ZSTD(1)),
    timestamp           DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received_at         DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    clock_skewed        Bool CODEC(ZSTD(1)),
    event_id            UUID CODEC(ZSTD(1)),
    revision            UInt8 CODEC(ZSTD(1)),
    node_id             LowCardinality(String),
    api_id              UUID CODEC(ZSTD(1)),
    api_key_id          UUID CODEC(ZSTD(1)),
    key_owner_id        UUID CODEC(ZSTD(1)),
    endpoint            LowCardinality(String),
    method              LowCardinality(String),
    model               LowCardinality(String),
    status_code         UInt16 CODEC(ZSTD(1)),
    error_type          LowCardinality(String),
    latency_ms          UInt32 CODEC(T64, ZSTD(1)),
    upstream_latency_ms UInt32 CODEC(T64, ZSTD(1)),
    ttft_ms             UInt32 CODEC(T64, ZSTD(1)),
    request_bytes       UInt64 CODEC(T64, ZSTD(1)),
    response_bytes      UInt64 CODEC(T64, ZSTD(1)),
    cost_nanos          Int64 CODEC(T64, ZSTD(1)),
    fresh_input         Int64 CODEC(T64, ZSTD(1)),
    cache_read          Int64 CODEC(T64, ZSTD(1)),
    cache_write_5m      Int64 CODEC(T64, ZSTD(1)),
    cache_write_1h      Int64 CODEC(T64, ZSTD(1)),
    output_text         Int64 CODEC(T64, ZSTD(1)),
    reasoning           Int64 CODEC(T64, ZSTD(1)),
    audio_in            Int64 CODEC(T64, ZSTD(1)),
    audio_out           Int64 CODEC(T64, ZSTD(1)),
    units               Int64 CODEC(T64, ZSTD(1)),
    usage_source        Enum8('none' = 0, 'reported' = 1, 'partial' = 2, 'estimated' = 3, 'reserved' = 4),
    price_version       LowCardinality(String),
    cache_hit           Bool CODEC(ZSTD(1)),
    rate_limited        Bool CODEC(ZSTD(1)),
    budget_exceeded     Bool CODEC(ZSTD(1)),
    shadow              Bool CODEC(ZSTD(1)),
    degraded            Bool CODEC(ZSTD(1)),
    stream              Bool CODEC(ZSTD(1)),
    client_ip           String CODEC(ZSTD(1)),
    rule_id             UUID CODEC(ZSTD(1)),
    budget_id           UUID CODEC(ZSTD(1)),
    tags                Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    INDEX event_id_bloom event_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ${replicated}ReplacingMergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (workspace_id, toStartOfHour(timestamp), api_id, api_key_id, timestamp, event_id, revision)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- What bills are made from: each (event, revision) once, whatever the raw table holds for the moment.
CREATE VIEW IF NOT EXISTS api_events_once ${on_cluster} AS
SELECT * FROM api_events
WHERE workspace_id = {workspace_id:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY received_at
LIMIT 1 BY event_id, revision;
