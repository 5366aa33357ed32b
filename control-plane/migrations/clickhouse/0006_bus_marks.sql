-- Marks that came by on the bus: everything of the workspace that was on the bus before one is in api_events. The limit
-- service puts one there when it lost what was spent, and waits for it. Written after the rows of its batch.
CREATE TABLE IF NOT EXISTS bus_marks ${on_cluster}
(
    workspace_id UUID CODEC(ZSTD(1)),
    mark_id      UUID CODEC(ZSTD(1)),
    passed_at    DateTime('UTC') CODEC(Delta(4), ZSTD(1))
)
ENGINE = ${replicated}MergeTree
ORDER BY (workspace_id, mark_id)
TTL passed_at + INTERVAL 1 DAY;
