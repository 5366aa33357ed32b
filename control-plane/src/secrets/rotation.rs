//! `rotate-master-key`: every stored credential, encrypted anew under the current key, while replicas serve.
//!
//! Each row is replaced only if it still holds what was opened, so that a credential written meanwhile stays. The plain
//! text does not change: neither the feed nor an `ETag` moves. Replicas must already have both keys.

use super::{Keyring, SecretError};
use crate::db::DbError;
use crate::db::credential::{self, Stored};
use crate::entropy::Entropy;
use sqlx::PgPool;
use std::fmt;
use uuid::Uuid;

/// Rows read at a time.
const BATCH: i64 = 200;

/// What a rotation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rotated_count: u64,
    /// Written by somebody else in between; under the current key if that replica has it.
    pub changed_count: u64,
    /// APIs whose credential no configured key opens; they stay as they are.
    pub failed: Vec<(Uuid, SecretError)>,
}

/// A rotation that left credentials behind: their keys must not be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} credentials cannot be opened; keep the previous keys and enter these credentials again")]
pub struct LeftBehind(pub usize);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} credentials encrypted anew, {} changed meanwhile",
            self.rotated_count, self.changed_count
        )?;
        for (api_id, error) in &self.failed {
            write!(f, "\napi {api_id}: {error}")?;
        }
        Ok(())
    }
}

impl Outcome {
    pub fn into_result(self) -> Result<(), LeftBehind> {
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(LeftBehind(self.failed.len()))
        }
    }
}

/// Goes through every credential that is not under the current key, until a pass finds none but those that failed.
pub async fn rotate(db: &PgPool, keyring: &Keyring, entropy: &dyn Entropy) -> Result<Outcome, DbError> {
    let mut outcome = Outcome::default();
    loop {
        let changed_before = outcome.changed_count;
        outcome.failed.clear();
        pass(db, keyring, entropy, &mut outcome).await?;
        // Somebody wrote between our look and our write, perhaps under an older key: look again.
        if outcome.changed_count == changed_before {
            return Ok(outcome);
        }
    }
}

async fn pass(
    db: &PgPool,
    keyring: &Keyring,
    entropy: &dyn Entropy,
    outcome: &mut Outcome,
) -> Result<(), DbError> {
    let mut after = Uuid::nil();
    loop {
        let batch = credential::not_under(db, keyring.current_id(), after, BATCH).await?;
        let Some(last) = batch.last() else {
            return Ok(());
        };
        after = last.api_id;
        for stored in &batch {
            let Stored {
                api_id,
                workspace_id,
                sealed,
            } = stored;
            let anew = keyring
                .open(*workspace_id, *api_id, sealed)
                .and_then(|plain| keyring.seal(*workspace_id, *api_id, &plain, entropy));
            match anew {
                Ok(anew) if credential::replace(db, stored, &anew).await? => outcome.rotated_count += 1,
                Ok(_) => outcome.changed_count += 1,
                Err(error) => outcome.failed.push((*api_id, error)),
            }
        }
    }
}
