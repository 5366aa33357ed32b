-- The second wall between workspaces (TI-10): a request acts as this role, which sees the rows of the one workspace that
-- its transaction names, whatever its SQL says. Everything else that the program does acts as before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rateguard_tenant') THEN
        CREATE ROLE rateguard_tenant NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'rateguard_tenant', 'MEMBER') THEN
        GRANT rateguard_tenant TO CURRENT_USER;
    END IF;
EXCEPTION
    -- The migration of another database of this server was quicker.
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role rateguard_tenant is missing, and % may not make it', current_user
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('As a superuser: CREATE ROLE rateguard_tenant NOLOGIN; GRANT rateguard_tenant TO %I;', current_user);
END
$$;

-- The workspace of the running transaction; NULL, which equals nothing, where none was named.
CREATE FUNCTION rateguard_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('rateguard.workspace', true), '')::uuid
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    workspace, membership, api, api_key, api_key_secret, rule, budget, price_override, invitation, access_token,
    data_plane_token, idempotency TO rateguard_tenant;
GRANT SELECT ON data_plane_node TO rateguard_tenant;
GRANT SELECT, INSERT ON audit_entry, feed_removal TO rateguard_tenant;
GRANT SELECT, UPDATE ON feed_version TO rateguard_tenant;
-- People without their password hashes.
GRANT SELECT (id, email, name, created_at) ON app_user TO rateguard_tenant;

ALTER TABLE workspace ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON workspace USING (current_user <> 'rateguard_tenant' OR id = rateguard_workspace());
ALTER TABLE membership ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON membership USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE api ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE api_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_key USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE api_key_secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_key_secret
    USING (current_user <> 'rateguard_tenant' OR EXISTS (SELECT FROM api_key WHERE api_key.id = api_key_id));
ALTER TABLE rule ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rule USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE budget ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budget USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE price_override ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_override USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE invitation ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invitation USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE access_token ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access_token USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE data_plane_token ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON data_plane_token USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
-- Tokens for all workspaces are shown to each, and changed by none.
CREATE POLICY shared ON data_plane_token FOR SELECT USING (workspace_id IS NULL AND rateguard_workspace() IS NOT NULL);
ALTER TABLE data_plane_node ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON data_plane_node
    USING (current_user <> 'rateguard_tenant' OR EXISTS (SELECT FROM data_plane_token t WHERE t.id = token_id));
ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON idempotency USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_entry USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
ALTER TABLE feed_removal ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feed_removal USING (current_user <> 'rateguard_tenant' OR workspace_id = rateguard_workspace());
