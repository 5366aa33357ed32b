-- Sessions that can be told apart, invitations, personal access tokens, password resets, throttled logins.

ALTER TABLE session
    -- Of the last access token; where a refresh without a workspace leads.
    ADD COLUMN workspace_id uuid REFERENCES workspace (id) ON DELETE SET NULL,
    ADD COLUMN user_agent   text NOT NULL DEFAULT '',
    -- Address of the last use, '' if unknown.
    ADD COLUMN ip           text NOT NULL DEFAULT '',
    -- NULL in rows of earlier versions.
    ADD COLUMN last_used_at timestamptz;

CREATE TABLE invitation (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    email        text NOT NULL,
    role         text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER')),
    -- SHA-256 of the link's token; the token itself is never stored.
    sha256       bytea NOT NULL UNIQUE,
    invited_by   uuid REFERENCES app_user (id) ON DELETE SET NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    -- How it ended, and when; both NULL while it is pending.
    outcome      text CHECK (outcome IN ('accepted', 'declined', 'revoked')),
    ended_at     timestamptz,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
CREATE INDEX invitation_workspace ON invitation (workspace_id, created_at, id);

CREATE TABLE access_token (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    -- Its creator, whose present role bounds it.
    user_id      uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER')),
    sha256       bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    -- To the minute.
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX access_token_workspace ON access_token (workspace_id, created_at, id);

CREATE TABLE password_reset (
    sha256     bytea PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

-- Failed logins by account and where they came from. Kept for addresses without an account too: what is refused must
-- not tell them apart.
CREATE TABLE login_failure (
    -- SHA-256 of the address in lower case.
    account         bytea NOT NULL,
    -- 'ip:…', 'session:…', or '*' for all unknown origins together.
    origin          text NOT NULL,
    failure_count   integer NOT NULL,
    last_failure_at timestamptz NOT NULL,
    PRIMARY KEY (account, origin)
);
CREATE INDEX login_failure_age ON login_failure (last_failure_at);
