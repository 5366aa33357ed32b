-- What each subject of a budget has spent (SPEC 1.4): the whole workspace (subject ''), an API or a key (its id), a model
-- (its name; a glob is matched when reading), a tag (`name=value`). Kept for good: some windows never end.
--
-- A quarter of an hour is the coarsest bucket of which every day, week and month of every time zone is made up.
CREATE TABLE IF NOT EXISTS spend_ledger ${on_cluster}
(
    workspace_id UUID CODEC(ZSTD(1)),
    bucket       DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    subject_kind Enum8('workspace' = 0, 'api' = 1, 'key' = 2, 'model' = 3, 'tag' = 4),
    subject      String CODEC(ZSTD(1)),
    requests     SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_nanos   SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace_id, subject_kind, subject, bucket)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS spend_ledger_mv ${on_cluster} TO spend_ledger AS
SELECT
    workspace_id, toStartOfFifteenMinutes(timestamp) AS bucket,
    charged.1 AS subject_kind, charged.2 AS subject,
    countIf(revision = 0) AS requests, sum(e.cost_nanos) AS cost_nanos
FROM api_events AS e
ARRAY JOIN arrayConcat(
    [('workspace', ''), ('api', toString(api_id)), ('key', toString(api_key_id)), ('model', toString(model))],
    arrayMap((name, value) -> ('tag', concat(name, '=', value)), mapKeys(e.tags), mapValues(e.tags))
) AS charged
GROUP BY workspace_id, bucket, subject_kind, subject;
