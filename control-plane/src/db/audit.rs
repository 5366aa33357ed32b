//! Table `audit_entry`: rows are added and read, never changed; the table refuses more.

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::AuditAction;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: Uuid,
    pub workspace_id: Option<Uuid>,
    pub at: DateTime<Utc>,
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub token_id: Option<Uuid>,
    pub action: AuditAction,
    pub resource_id: Option<Uuid>,
    pub resource_name: String,
    /// JSON, as is `after`.
    pub before: Option<String>,
    pub after: Option<String>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<Uuid>,
}

struct Row {
    id: Uuid,
    workspace_id: Option<Uuid>,
    at: DateTime<Utc>,
    user_id: Option<Uuid>,
    session_id: Option<Uuid>,
    token_id: Option<Uuid>,
    action: String,
    resource_id: Option<Uuid>,
    resource_name: String,
    before: Option<String>,
    after: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<Uuid>,
    email: Option<String>,
}

/// An entry, and the address of the user as it is today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub record: Record,
    pub email: Option<String>,
}

impl TryFrom<Row> for Listed {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            record: Record {
                id: row.id,
                workspace_id: row.workspace_id,
                at: row.at,
                user_id: row.user_id,
                session_id: row.session_id,
                token_id: row.token_id,
                action: parse_column("audit_entry", "action", row.id, &row.action)?,
                resource_id: row.resource_id,
                resource_name: row.resource_name,
                before: row.before,
                after: row.after,
                ip: row.ip,
                user_agent: row.user_agent,
                request_id: row.request_id,
            },
            email: row.email,
        })
    }
}

pub async fn insert(tx: &mut Transaction<'_, Postgres>, record: &Record) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO audit_entry (id, workspace_id, at, user_id, session_id, token_id, action,
                                  resource_type, resource_id, resource_name, before, after, ip,
                                  user_agent, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb, $13, $14,
                $15)",
        record.id,
        record.workspace_id,
        record.at,
        record.user_id,
        record.session_id,
        record.token_id,
        record.action.as_str(),
        record.action.resource_type(),
        record.resource_id,
        &record.resource_name,
        record.before.as_deref(),
        record.after.as_deref(),
        record.ip.as_deref(),
        record.user_agent.as_deref(),
        record.request_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which entries; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub action: Option<AuditAction>,
    pub resource_type: Option<String>,
    pub resource_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    /// From this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// A workspace's entries, newest first.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Listed>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT e.id, e.workspace_id, e.at, e.user_id, e.session_id, e.token_id, e.action, e.resource_id,
                e.resource_name, e.before::text AS before, e.after::text AS after, e.ip, e.user_agent,
                e.request_id, u.email AS \"email?\"
         FROM audit_entry e LEFT JOIN app_user u ON u.id = e.user_id
         WHERE e.workspace_id = $1
           AND ($2::text IS NULL OR e.action = $2)
           AND ($3::text IS NULL OR e.resource_type = $3)
           AND ($4::uuid IS NULL OR e.resource_id = $4)
           AND ($5::uuid IS NULL OR e.user_id = $5)
           AND ($6::timestamptz IS NULL OR e.at >= $6)
           AND ($7::timestamptz IS NULL OR e.at < $7)
           AND ($8::timestamptz IS NULL OR (e.at, e.id) < ($8, $9::uuid))
         ORDER BY e.at DESC, e.id DESC
         LIMIT $10",
        workspace_id,
        filter.action.map(AuditAction::as_str),
        filter.resource_type.as_deref(),
        filter.resource_id,
        filter.user_id,
        filter.from,
        filter.to,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Listed::try_from).collect()
}
