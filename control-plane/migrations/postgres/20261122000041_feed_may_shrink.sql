-- Until when data planes may be told to drop most of what they run (rateguard-control-plane feed force-shrink).
ALTER TABLE feed_version ADD COLUMN may_shrink_until_ms bigint NOT NULL DEFAULT 0;
