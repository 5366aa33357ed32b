-- Answers of creations that came with an Idempotency-Key, for 24 hours.

CREATE TABLE idempotency (
    user_id       uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    -- The nil UUID: in no workspace.
    workspace_id  uuid NOT NULL,
    key           text NOT NULL,
    id            uuid NOT NULL,
    -- SHA-256 of method, path and body.
    request_hash  bytea NOT NULL,
    -- The answer's body; it may hold a new key, so it is sealed as credentials are: iv:authTag:ciphertext.
    answer        text NOT NULL,
    answer_key_id text NOT NULL,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, workspace_id, key)
);
