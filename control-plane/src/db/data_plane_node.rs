//! Table `data_plane_node`.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Nodes kept of one token; node ids are the client's own words, and could be many.
const NODES_PER_TOKEN_MAX: i64 = 1_000;

/// What a replica heard of a data plane since it wrote last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub token_id: Uuid,
    pub role: &'static str,
    pub node_id: String,
    pub software_version: String,
    pub version: String,
    pub last_seen_at: DateTime<Utc>,
    /// Refusals since the last write.
    pub rejections: i64,
    /// The last refusal's reason and time; `None`: none since the last write.
    pub rejection: Option<(String, DateTime<Utc>)>,
}

/// A data plane as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub token_id: Uuid,
    pub role: String,
    pub node_id: String,
    pub software_version: String,
    pub version: String,
    pub last_seen_at: DateTime<Utc>,
    pub rejection_count: i64,
    pub rejection_reason: Option<String>,
    pub rejected_at: Option<DateTime<Utc>>,
}

/// Adds what was heard to what is known; the latest word wins, whichever replica heard it.
pub async fn record(db: &PgPool, heard: &[Heard]) -> Result<(), DbError> {
    let column = |of: fn(&Heard) -> &str| heard.iter().map(of).map(str::to_owned).collect::<Vec<String>>();
    let token_ids: Vec<Uuid> = heard.iter().map(|one| one.token_id).collect();
    let (roles, node_ids) = (column(|one| one.role), column(|one| &one.node_id));
    let (software, versions) = (column(|one| &one.software_version), column(|one| &one.version));
    let seen_at: Vec<DateTime<Utc>> = heard.iter().map(|one| one.last_seen_at).collect();
    let counts: Vec<i64> = heard.iter().map(|one| one.rejections).collect();
    let (reasons, rejected_at): (Vec<Option<String>>, Vec<Option<DateTime<Utc>>>) =
        heard.iter().map(|one| one.rejection.clone().unzip()).unzip();
    sqlx::query!(
        "INSERT INTO data_plane_node AS n (token_id, role, node_id, software_version, version, last_seen_at,
                                           rejection_count, rejection_reason, rejected_at)
         SELECT h.* FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                                $7::bigint[], $8::text[], $9::timestamptz[])
             AS h (token_id, role, node_id, software_version, version, last_seen_at, rejection_count,
                   rejection_reason, rejected_at)
         JOIN data_plane_token t ON t.id = h.token_id
         ON CONFLICT (token_id, role, node_id) DO UPDATE SET
             software_version = CASE WHEN excluded.last_seen_at >= n.last_seen_at
                                     THEN excluded.software_version ELSE n.software_version END,
             version = CASE WHEN excluded.last_seen_at >= n.last_seen_at THEN excluded.version ELSE n.version END,
             last_seen_at = GREATEST(n.last_seen_at, excluded.last_seen_at),
             rejection_count = n.rejection_count + excluded.rejection_count,
             rejection_reason = COALESCE(excluded.rejection_reason, n.rejection_reason),
             rejected_at = COALESCE(excluded.rejected_at, n.rejected_at)",
        &token_ids,
        &roles,
        &node_ids,
        &software,
        &versions,
        &seen_at,
        &counts,
        &reasons as &[Option<String>],
        &rejected_at as &[Option<DateTime<Utc>>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The nodes that poll with a workspace's tokens, or with one for all workspaces: those serve it too. Why the latter
/// refused something is the operator's business.
pub async fn list(db: &mut PgConnection, workspace_id: Uuid) -> Result<Vec<Node>, DbError> {
    Ok(sqlx::query_as!(
        Node,
        r#"SELECT n.token_id, n.role, n.node_id, n.software_version, n.version, n.last_seen_at, n.rejection_count,
                  CASE WHEN t.workspace_id IS NOT NULL THEN n.rejection_reason END AS rejection_reason,
                  n.rejected_at
           FROM data_plane_node n JOIN data_plane_token t ON t.id = n.token_id
           WHERE t.workspace_id = $1 OR t.workspace_id IS NULL
           ORDER BY n.token_id, n.role, n.node_id"#,
        workspace_id,
    )
    .fetch_all(db)
    .await?)
}

/// Forgets nodes not heard since `before`, and of each token all but those heard last.
pub async fn prune(db: &PgPool, before: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "DELETE FROM data_plane_node n USING (
             SELECT token_id, role, node_id, last_seen_at,
                    row_number() OVER (PARTITION BY token_id ORDER BY last_seen_at DESC) AS place
             FROM data_plane_node
         ) ranked
         WHERE n.token_id = ranked.token_id AND n.role = ranked.role AND n.node_id = ranked.node_id
           AND (ranked.last_seen_at < $1 OR ranked.place > $2)",
        before,
        NODES_PER_TOKEN_MAX,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
