//! Table `app_user`.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Broken by a second account of an address.
pub const EMAIL_KEY: &str = "app_user_email_key";

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    /// As it was written; compared without case.
    pub email: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// A person and what a password is checked against.
pub struct Credentials {
    pub user: User,
    pub password_hash: String,
}

struct Row {
    id: Uuid,
    email: String,
    name: String,
    password_hash: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for Credentials {
    fn from(row: Row) -> Self {
        let Row {
            id,
            email,
            name,
            password_hash,
            created_at,
        } = row;
        Self {
            user: User {
                id,
                email,
                name,
                created_at,
            },
            password_hash,
        }
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    user: &User,
    password_hash: &str,
) -> Result<(), DbError> {
    let User {
        id,
        email,
        name,
        created_at,
    } = user;
    sqlx::query!(
        "INSERT INTO app_user (id, email, name, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)",
        id,
        email,
        name,
        password_hash,
        created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn by_email(db: &PgPool, email: &str) -> Result<Option<Credentials>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, email, name, password_hash, created_at FROM app_user WHERE lower(email) = lower($1)",
        email
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Credentials::from))
}

/// A person under a lock, with what a password is checked against.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
) -> Result<Option<Credentials>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, email, name, password_hash, created_at FROM app_user WHERE id = $1 FOR UPDATE",
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Credentials::from))
}

pub async fn set_password(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
    password_hash: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE app_user SET password_hash = $2 WHERE id = $1",
        id,
        password_hash
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn credentials(db: &PgPool, id: Uuid) -> Result<Option<Credentials>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, email, name, password_hash, created_at FROM app_user WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Credentials::from))
}

pub async fn by_id(db: &PgPool, id: Uuid) -> Result<Option<User>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, email, name, password_hash, created_at FROM app_user WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Credentials::from(row).user))
}
