//! Reads the rows of the feed, all at one position.

use super::{DbError, transaction};
use crate::snapshot::row::{self, Position, Reading, Removal, Rows};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Where the feed is. One cheap statement: what the fallback poll asks.
pub async fn position(db: &PgPool) -> Result<Position, DbError> {
    let position = sqlx::query_as!(Position, "SELECT epoch, version FROM feed_version")
        .fetch_one(db)
        .await?;
    Ok(position)
}

/// Everything of a position.
pub async fn read_all(db: &PgPool) -> Result<Reading, DbError> {
    read(db, None).await
}

/// What changed after `since`, if the epoch is still `epoch`; everything if it is not, or if the version went back.
pub async fn read_since(db: &PgPool, since: Position) -> Result<Reading, DbError> {
    read(db, Some(since)).await
}

async fn read(db: &PgPool, since: Option<Position>) -> Result<Reading, DbError> {
    // One snapshot for all statements: the version row is written with every change, so a row of this snapshot is
    // never newer than the version read here, and none at or below it is missing.
    let mut tx = transaction::begin_with(db, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let position: Position = sqlx::query_as!(Position, "SELECT epoch, version FROM feed_version")
        .fetch_one(&mut *tx)
        .await?;
    let start = since.filter(|since| since.epoch == position.epoch && since.version <= position.version);
    let (after, floor) = match start {
        Some(since) => (since.version, since.version),
        None => (i64::MIN, floor(&mut tx, position).await?),
    };
    let rows = rows_after(&mut tx, after).await?;
    tx.commit().await?;
    Ok(Reading {
        position,
        is_full: start.is_none(),
        floor,
        rows,
    })
}

/// The oldest version from which every removal is still known. A removed workspace counts as forgotten: what went
/// along with it has no row, so that clients which missed it start over.
async fn floor(connection: &mut PgConnection, position: Position) -> Result<i64, DbError> {
    let known = sqlx::query!(
        "SELECT min(version) AS oldest,
                max(version) FILTER (WHERE resource_type = 'workspace') AS workspaces_gone
         FROM feed_removal"
    )
    .fetch_one(connection)
    .await?;
    let floor = match (known.oldest, known.workspaces_gone) {
        (_, Some(workspaces_gone)) => workspaces_gone,
        (Some(oldest), None) => oldest - 1,
        (None, None) => 0,
    };
    Ok(floor.min(position.version))
}

async fn rows_after(connection: &mut PgConnection, after: i64) -> Result<Rows, DbError> {
    let workspaces = sqlx::query_as!(
        row::Workspace,
        "SELECT id, slug, time_zone, unpriced_model_policy, failure_mode, feed_version
         FROM workspace WHERE feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    let apis = sqlx::query_as!(
        row::Api,
        "SELECT id, workspace_id, slug, base_url, hosts, auth_type, auth_header_name, credential,
                credential_key_id, usage_format, cost_model::text AS cost_model, price_version,
                timeout_ms, forward_cookies, stream_cost_comment, is_active, feed_version
         FROM api WHERE feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    let keys = sqlx::query_as!(
        row::Key,
        "SELECT k.id, k.workspace_id, k.is_active, k.revoked_at, k.expires_at, k.allowed_api_ids,
                k.allowed_models, k.tags::text AS \"tags!\", k.owner_id, k.deleted_at, k.feed_version,
                COALESCE(s.sha256, '{}') AS \"secret_sha256!\",
                COALESCE(s.not_after, '{}') AS \"secret_not_after!: Vec<Option<DateTime<Utc>>>\"
         FROM api_key k
         LEFT JOIN LATERAL (
             SELECT array_agg(sha256 ORDER BY created_at DESC, sha256) AS sha256,
                    array_agg(not_after ORDER BY created_at DESC, sha256) AS not_after
             FROM api_key_secret WHERE api_key_id = k.id
         ) s ON true
         WHERE k.feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    let rules = sqlx::query_as!(
        row::Rule,
        "SELECT id, workspace_id, version, name, api_id, endpoint, methods, scopes::text AS \"scopes!\",
                algorithm, unit, limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode,
                failure_mode, shared_across_apis, created_at, feed_version
         FROM rule WHERE feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    // A budget's window is in its workspace's time zone: it changes with it.
    let budgets = sqlx::query_as!(
        row::Budget,
        "SELECT b.id, b.workspace_id, b.version, b.name, b.subject_type, b.subject, b.limit_nanos,
                b.window_type, w.time_zone, b.auto_shutoff, b.failure_mode,
                GREATEST(b.feed_version, w.feed_version) AS \"feed_version!\"
         FROM budget b JOIN workspace w ON w.id = b.workspace_id
         WHERE b.feed_version > $1 OR w.feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    let data_plane_tokens = sqlx::query_as!(
        row::DataPlaneToken,
        "SELECT id, workspace_id, sha256, revoked_at, feed_version
         FROM data_plane_token WHERE feed_version > $1",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    let removals: Vec<Removal> = sqlx::query_as!(
        Removal,
        "SELECT version, resource_type, resource_id, workspace_id FROM feed_removal WHERE version > $1
         ORDER BY version",
        after
    )
    .fetch_all(&mut *connection)
    .await?;
    Ok(Rows {
        workspaces,
        apis,
        keys,
        rules,
        budgets,
        data_plane_tokens,
        removals,
    })
}

/// Forgets removals from before `before`. The newest stays, so that an empty table means that nothing ever left.
pub async fn prune_removals(db: &PgPool, before: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "DELETE FROM feed_removal
         WHERE removed_at < $1 AND version < (SELECT max(version) FROM feed_removal)",
        before
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Writes when keys were last used; never backwards, and never a change of the feed.
pub async fn touch_keys(db: &PgPool, uses: &[(Uuid, DateTime<Utc>)]) -> Result<(), DbError> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().copied().unzip();
    sqlx::query!(
        "UPDATE api_key k SET last_used_at = u.used_at
         FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, used_at)
         WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.used_at)",
        &ids,
        &times
    )
    .execute(db)
    .await?;
    Ok(())
}
