-- The audit log: a row for every write of the REST API. Rows are only ever added, and outlive what they speak of: no
-- foreign keys.

CREATE TABLE audit_entry (
    id            uuid PRIMARY KEY,
    -- NULL: the write was in no workspace.
    workspace_id  uuid,
    at            timestamptz NOT NULL,
    user_id       uuid,
    session_id    uuid,
    -- Of a personal access token.
    token_id      uuid,
    action        text NOT NULL,
    resource_type text NOT NULL,
    resource_id   uuid,
    resource_name text NOT NULL,
    -- As the REST API shows the resource, which is without secrets.
    before        jsonb,
    after         jsonb,
    ip            text,
    user_agent    text,
    request_id    uuid
);
CREATE INDEX audit_entry_workspace ON audit_entry (workspace_id, at, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
