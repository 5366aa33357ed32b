//! The only place that spells SQL: one file per table, private row structs, rows checked into domain values.
//!
//! Every query on a workspace's data has `workspace_id` in its WHERE, and those of requests run in [`tenant::begin`]'s
//! transactions besides. Every write that the feed carries takes its
//! version from [`feed::next_version`] in the same transaction.

pub mod access_token;
pub mod api;
pub mod api_key;
pub mod audit;
pub mod budget;
pub mod capacity;
pub mod cost_model;
pub mod credential;
pub mod data_plane_node;
pub mod data_plane_token;
pub mod feed;
pub mod idempotency;
pub mod invitation;
pub mod login_failure;
pub mod member;
pub mod migrate;
pub mod names;
pub mod page;
pub mod password_reset;
pub mod price;
pub mod rule;
pub mod scopes;
pub mod session;
pub mod snapshot;
pub mod tenant;
pub mod transaction;
pub mod user;
pub mod workspace;

/// What went wrong between the program and Postgres.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("the database failed")]
    Sqlx(#[from] sqlx::Error),
    /// A stored value that the program cannot have written.
    #[error("{table}.{column} of row {id} cannot be read: {reason}")]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        id: uuid::Uuid,
        reason: String,
    },
}

impl DbError {
    /// Whether the database is away, rather than the query wrong.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Sqlx(
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Io(_)
                | sqlx::Error::WorkerCrashed,
            ) => true,
            // 57P0x: the server is shutting down or starting; 53xxx: it has no room; 25006: it is a standby.
            Self::Sqlx(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("53") || code == "25006"),
            Self::Sqlx(_) | Self::Inconsistent { .. } => false,
        }
    }

    /// Name of the constraint that a write broke.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => error.constraint(),
            Self::Sqlx(_) | Self::Inconsistent { .. } => None,
        }
    }
}

/// Reads a column that holds one of an enum's names.
pub(crate) fn parse_column<T: std::str::FromStr>(
    table: &'static str,
    column: &'static str,
    id: uuid::Uuid,
    text: &str,
) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Inconsistent {
        table,
        column,
        id,
        reason: format!("`{text}` is not a known value"),
    })
}
