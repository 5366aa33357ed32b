-- Quantiles of hours and days in three shapes: by API and model (as before), by API alone, by key.
--
-- A row of sketches has some 5 kB, and a question reads whole granules: of the usual 8192 rows, 40 MB, for an hour at the
-- end of a range. So granules are of 256 rows here. `latency_hour` and `latency_day` cannot be changed to that; they are
-- fed no more from here on and are replaced. A program of the version before, still running, reads them without what came
-- since. They forget by themselves, days apart. Minutes stay where they are.
--
-- What was there before is brought over, and no row twice though inserts go on:
-- * Hours and days by model: the old view is dropped before the new one is made. An insert has its views from when it
--   began, so it went to the old tables or goes to the new ones, and never to both. What the old ones hold is copied.
-- * By key: from the raw rows, as far as they are kept. The view takes rows that were received after the newest row that
--   was there (`${newest_received_ms}`), the copy those up to it, read from the view's own definition: each row
--   is of one kind, whenever it is inserted.
-- * A copy that broke off, or that two programs make at once, is made again in the same order under the same token, so
--   that blocks which are there already change nothing.
-- What can be missed is what is inserted in the moment between two statements, and by key what came before the newest row
-- and is inserted after the copy: percentiles only, of seconds.
CREATE TABLE IF NOT EXISTS latency_model_hour ${on_cluster}
(
    workspace_id     UUID CODEC(ZSTD(1)),
    bucket           DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id           UUID CODEC(ZSTD(1)),
    model            LowCardinality(String),
    latency          AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    upstream_latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    ttft             AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, api_id, model)
TTL bucket + INTERVAL 400 DAY
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS latency_model_day ${on_cluster}
(
    workspace_id     UUID CODEC(ZSTD(1)),
    bucket           DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id           UUID CODEC(ZSTD(1)),
    model            LowCardinality(String),
    latency          AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    upstream_latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    ttft             AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, api_id, model)
SETTINGS index_granularity = 256, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_model_day_mv ${on_cluster} TO latency_model_day AS
SELECT
    workspace_id, toStartOfDay(latency_model_hour.bucket) AS bucket, api_id, model,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.ttft) AS ttft
FROM latency_model_hour
GROUP BY workspace_id, bucket, api_id, model;

-- Without the model: what a chart merges for each hour is as many sketches as there are APIs.
CREATE TABLE IF NOT EXISTS latency_api_hour ${on_cluster}
(
    workspace_id     UUID CODEC(ZSTD(1)),
    bucket           DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_id           UUID CODEC(ZSTD(1)),
    latency          AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    upstream_latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    ttft             AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, bucket, api_id)
TTL bucket + INTERVAL 400 DAY
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_api_hour_mv ${on_cluster} TO latency_api_hour AS
SELECT
    workspace_id, latency_model_hour.bucket AS bucket, api_id,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_model_hour.ttft) AS ttft
FROM latency_model_hour
GROUP BY workspace_id, bucket, api_id;

DROP VIEW IF EXISTS latency_hour_mv ${on_cluster};

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_model_hour_mv ${on_cluster} TO latency_model_hour AS
SELECT
    workspace_id, toStartOfHour(latency_minute.bucket) AS bucket, api_id, model,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_minute.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_minute.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_minute.ttft) AS ttft
FROM latency_minute
GROUP BY workspace_id, bucket, api_id, model;

DROP VIEW IF EXISTS latency_day_mv ${on_cluster};

-- By key there are no minutes: nearly every request would have a row of its own there, so minutes are read from the raw
-- rows. A key's rows are together: a question of one reads only those.
CREATE TABLE IF NOT EXISTS latency_key_hour ${on_cluster}
(
    workspace_id     UUID CODEC(ZSTD(1)),
    bucket           DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_key_id       UUID CODEC(ZSTD(1)),
    api_id           UUID CODEC(ZSTD(1)),
    model            LowCardinality(String),
    latency          AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    upstream_latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    ttft             AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, api_key_id, bucket, api_id, model)
TTL bucket + INTERVAL 400 DAY
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS latency_key_day ${on_cluster}
(
    workspace_id     UUID CODEC(ZSTD(1)),
    bucket           DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    api_key_id       UUID CODEC(ZSTD(1)),
    api_id           UUID CODEC(ZSTD(1)),
    model            LowCardinality(String),
    latency          AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    upstream_latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1)),
    ttft             AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt32) CODEC(ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, api_key_id, bucket, api_id, model)
SETTINGS index_granularity = 256, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_key_day_mv ${on_cluster} TO latency_key_day AS
SELECT
    workspace_id, toStartOfDay(latency_key_hour.bucket) AS bucket, api_key_id, api_id, model,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_key_hour.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_key_hour.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_key_hour.ttft) AS ttft
FROM latency_key_hour
GROUP BY workspace_id, bucket, api_key_id, api_id, model;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_key_hour_mv ${on_cluster} TO latency_key_hour AS
SELECT
    workspace_id, toStartOfHour(timestamp) AS bucket, api_key_id, api_id, model,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(latency_ms, revision = 0 AND status_code != 0) AS latency,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(upstream_latency_ms, revision = 0 AND status_code != 0) AS upstream_latency,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(ttft_ms, revision = 0 AND ttft_ms != 0) AS ttft
FROM api_events
WHERE toUnixTimestamp64Milli(received_at) > ${newest_received_ms}
GROUP BY workspace_id, bucket, api_key_id, api_id, model;

-- Days that are older than hours are kept. A table's age stays, so that a copy made again is of the same rows.
INSERT INTO latency_model_day (workspace_id, bucket, api_id, model, latency, upstream_latency, ttft)
SELECT
    workspace_id, latency_day.bucket AS bucket, api_id, model,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_day.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_day.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_day.ttft) AS ttft
FROM latency_day
WHERE latency_day.bucket < (
    SELECT toStartOfDay(toTimeZone(metadata_modification_time, 'UTC')) - INTERVAL 399 DAY
    FROM system.tables WHERE database = currentDatabase() AND name = 'latency_model_hour')
GROUP BY workspace_id, bucket, api_id, model
ORDER BY workspace_id, bucket, api_id, model
SETTINGS ${backfill}, insert_deduplication_token = '0007-model-day';

-- The views make days of them, and hours by API.
INSERT INTO latency_model_hour (workspace_id, bucket, api_id, model, latency, upstream_latency, ttft)
SELECT
    workspace_id, latency_hour.bucket AS bucket, api_id, model,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_hour.latency) AS latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_hour.upstream_latency) AS upstream_latency,
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(latency_hour.ttft) AS ttft
FROM latency_hour
WHERE latency_hour.bucket >= (
    SELECT toStartOfDay(toTimeZone(metadata_modification_time, 'UTC')) - INTERVAL 399 DAY
    FROM system.tables WHERE database = currentDatabase() AND name = 'latency_model_hour')
GROUP BY workspace_id, bucket, api_id, model
ORDER BY workspace_id, bucket, api_id, model
SETTINGS ${backfill}, insert_deduplication_token = '0007-model-hour';

INSERT INTO latency_key_hour (workspace_id, bucket, api_key_id, api_id, model, latency, upstream_latency, ttft)
SELECT
    workspace_id, toStartOfHour(timestamp) AS bucket, api_key_id, api_id, model,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(latency_ms, revision = 0 AND status_code != 0) AS latency,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(upstream_latency_ms, revision = 0 AND status_code != 0) AS upstream_latency,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(ttft_ms, revision = 0 AND ttft_ms != 0) AS ttft
FROM api_events
WHERE toUnixTimestamp64Milli(received_at) <= (
    SELECT toInt64(extract(as_select, 'toUnixTimestamp64Milli\\(received_at\\) > (\\d+)'))
    FROM system.tables WHERE database = currentDatabase() AND name = 'latency_key_hour_mv')
GROUP BY workspace_id, bucket, api_key_id, api_id, model
ORDER BY workspace_id, bucket, api_key_id, api_id, model
SETTINGS ${backfill}, insert_deduplication_token = '0007-key-hour';
