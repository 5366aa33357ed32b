-- What each data plane runs, as its polls said: every replica writes what it heard, and all of them show it.
CREATE TABLE data_plane_node (
    token_id         uuid NOT NULL REFERENCES data_plane_token (id) ON DELETE CASCADE,
    role             text NOT NULL CHECK (role IN ('filter', 'limits')),
    -- The client's own words.
    node_id          text NOT NULL,
    software_version text NOT NULL,
    -- Of the feed, as acknowledged; empty before its first answer.
    version          text NOT NULL,
    last_seen_at     timestamptz NOT NULL,
    rejection_count  bigint NOT NULL DEFAULT 0,
    rejection_reason text,
    rejected_at      timestamptz,
    PRIMARY KEY (token_id, role, node_id)
);
CREATE INDEX data_plane_node_last_seen ON data_plane_node (last_seen_at);
