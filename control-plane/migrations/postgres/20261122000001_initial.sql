-- The tables behind the REST API and the configuration feed.
-- Ids and timestamps come from the program (STYLE 4.7); the database stores them as given.

CREATE TABLE app_user (
    id            uuid PRIMARY KEY,
    email         text NOT NULL,
    name          text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX app_user_email_key ON app_user (lower(email));

CREATE TABLE workspace (
    id                    uuid PRIMARY KEY,
    slug                  text NOT NULL,
    name                  text NOT NULL,
    time_zone             text NOT NULL DEFAULT 'UTC',
    unpriced_model_policy text NOT NULL DEFAULT 'block' CHECK (unpriced_model_policy IN ('block', 'allow')),
    failure_mode          text NOT NULL DEFAULT 'FAIL_OPEN' CHECK (failure_mode IN ('FAIL_OPEN', 'FAIL_CLOSED')),
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    feed_version          bigint NOT NULL
);
CREATE UNIQUE INDEX workspace_slug_key ON workspace (slug);
CREATE INDEX workspace_feed_version ON workspace (feed_version);

CREATE TABLE membership (
    workspace_id uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    user_id      uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER')),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX membership_user ON membership (user_id);

-- One row per login; the refresh token is rotated on every use.
CREATE TABLE session (
    id              uuid PRIMARY KEY,
    user_id         uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    token_hash      bytea NOT NULL UNIQUE,
    -- The immediately preceding token, accepted for 10 s after rotated_at.
    previous_hash   bytea,
    rotated_at      timestamptz,
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE INDEX session_of_user ON session (user_id);

CREATE TABLE api (
    id                  uuid PRIMARY KEY,
    workspace_id        uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    name                text NOT NULL,
    slug                text NOT NULL,
    base_url            text NOT NULL,
    hosts               text[] NOT NULL DEFAULT '{}',
    auth_type           text NOT NULL CHECK (auth_type IN ('NONE', 'BEARER', 'API_KEY_HEADER', 'BASIC')),
    auth_header_name    text,
    -- iv:authTag:ciphertext, each base64 (AES-256-GCM, AAD = workspace id, api id, key id).
    credential          text,
    credential_key_id   text,
    usage_format        text NOT NULL DEFAULT 'auto',
    cost_model          jsonb,
    -- Changes with cost_model; events name it.
    price_version       text NOT NULL,
    timeout_ms          integer NOT NULL DEFAULT 30000,
    forward_cookies     boolean NOT NULL DEFAULT false,
    stream_cost_comment boolean NOT NULL DEFAULT false,
    is_active           boolean NOT NULL DEFAULT true,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    feed_version        bigint NOT NULL
);
CREATE UNIQUE INDEX api_workspace_slug_key ON api (workspace_id, slug);
CREATE INDEX api_feed_version ON api (feed_version);

CREATE TABLE api_key (
    id              uuid PRIMARY KEY,
    workspace_id    uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    name            text NOT NULL,
    environment     text NOT NULL CHECK (environment IN ('live', 'test')),
    -- First 12 characters, for display.
    prefix          text NOT NULL,
    is_active       boolean NOT NULL DEFAULT true,
    revoked_at      timestamptz,
    expires_at      timestamptz,
    allowed_api_ids uuid[] NOT NULL DEFAULT '{}',
    allowed_models  text[] NOT NULL DEFAULT '{}',
    tags            jsonb NOT NULL DEFAULT '{}',
    owner_id        uuid REFERENCES app_user (id) ON DELETE SET NULL,
    last_used_at    timestamptz,
    deleted_at      timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    feed_version    bigint NOT NULL
);
CREATE INDEX api_key_workspace ON api_key (workspace_id, created_at);
CREATE INDEX api_key_feed_version ON api_key (feed_version);

CREATE TABLE api_key_secret (
    api_key_id uuid NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    -- SHA-256 of the whole key; the key itself is never stored.
    sha256     bytea NOT NULL UNIQUE,
    not_after  timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (api_key_id, sha256)
);

CREATE TABLE rule (
    id                 uuid PRIMARY KEY,
    workspace_id       uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    -- Starts at 1, grows with every edit: a new bucket.
    version            integer NOT NULL,
    name               text NOT NULL,
    api_id             uuid REFERENCES api (id) ON DELETE CASCADE,
    endpoint           text,
    methods            text[] NOT NULL DEFAULT '{}',
    -- [{"type": "PER_KEY"}, {"type": "PER_IP", "trustedHops": 1}]
    scopes             jsonb NOT NULL,
    algorithm          text NOT NULL,
    unit               text NOT NULL,
    limit_amount       bigint NOT NULL CHECK (limit_amount >= 0),
    window_ms          bigint,
    refill_milli_per_s bigint,
    priority           integer NOT NULL DEFAULT 0,
    enabled            boolean NOT NULL DEFAULT true,
    mode               text NOT NULL DEFAULT 'enforce' CHECK (mode IN ('enforce', 'shadow')),
    failure_mode       text NOT NULL DEFAULT 'FAIL_OPEN' CHECK (failure_mode IN ('FAIL_OPEN', 'FAIL_CLOSED')),
    shared_across_apis boolean NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    feed_version       bigint NOT NULL
);
CREATE INDEX rule_workspace ON rule (workspace_id, created_at);
CREATE INDEX rule_feed_version ON rule (feed_version);

CREATE TABLE budget (
    id            uuid PRIMARY KEY,
    workspace_id  uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    version       integer NOT NULL,
    name          text NOT NULL,
    subject_type  text NOT NULL CHECK (subject_type IN ('WORKSPACE', 'API', 'KEY', 'TAG', 'MODEL')),
    subject       text NOT NULL DEFAULT '',
    limit_nanos   bigint NOT NULL CHECK (limit_nanos >= 0),
    -- HOUR, DAY, WEEK, MONTH (calendar, in the workspace's time zone) or TOTAL.
    window_type   text NOT NULL,
    auto_shutoff  boolean NOT NULL,
    failure_mode  text NOT NULL CHECK (failure_mode IN ('FAIL_OPEN', 'FAIL_CLOSED', 'BOUNDED_OPEN')),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    feed_version  bigint NOT NULL
);
-- The simple form (PATCH …/budget) is the workspace's one monthly budget.
CREATE UNIQUE INDEX budget_subject_key ON budget (workspace_id, subject_type, subject, window_type);
CREATE INDEX budget_feed_version ON budget (feed_version);

CREATE TABLE data_plane_token (
    id           uuid PRIMARY KEY,
    -- NULL: every workspace. Made on the operator's machine only.
    workspace_id uuid REFERENCES workspace (id) ON DELETE CASCADE,
    name         text NOT NULL,
    sha256       bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    feed_version bigint NOT NULL
);

-- One row, locked in the same transaction as every change: versions become visible in their order, which a sequence
-- does not promise (its values are taken before the commit).
CREATE TABLE feed_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
);
INSERT INTO feed_version (version) VALUES (1);

-- What left the feed, so that a delta can say so. Pruned; a client older than the oldest kept row gets everything.
CREATE TABLE feed_removal (
    version       bigint NOT NULL,
    resource_type text NOT NULL CHECK (resource_type IN ('workspace', 'api', 'key', 'rule', 'budget', 'data_plane_token')),
    resource_id   uuid NOT NULL,
    workspace_id  uuid,
    removed_at    timestamptz NOT NULL,
    PRIMARY KEY (version, resource_type, resource_id)
);
