//! Passwords: bcrypt at cost 12, off the async threads, never more at once than there is room for.
//!
//! bcrypt reads 72 bytes and stops at NUL: longer passwords and ones with NUL are refused, not cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// bcrypt's cost (SPEC 3.1).
pub const COST: u32 = 12;
pub const PASSWORD_BYTES_MAX: usize = 72;
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Callers that may wait for one hash at a time; about 4 s of work.
const WAITING_PER_HASH: usize = 16;

/// A hash at cost 12 of nobody's password, so that an unknown address takes as long as a wrong password.
const NOBODY: &str = "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCWB1eLHg.9q";

/// Why a password cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    #[error("must have at least 8 characters")]
    TooShort,
    #[error("must have at most 72 bytes")]
    TooLong,
    #[error("must not contain a NUL character")]
    Nul,
}

/// Checks what SPEC 3.1 asks of a new password.
pub fn check(password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(WeakPassword::TooShort);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(WeakPassword::TooLong);
    }
    if password.contains('\0') {
        return Err(WeakPassword::Nul);
    }
    Ok(())
}

/// Why no answer was computed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("bcrypt failed")]
    Bcrypt(#[from] bcrypt::BcryptError),
    #[error("the hashing task ended early")]
    Ended(#[from] tokio::task::JoinError),
}

/// Runs bcrypt on the blocking threads.
#[derive(Clone)]
pub struct Hasher {
    cost: u32,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Hasher {
    /// For new hashes of this cost; old ones keep theirs.
    pub fn new(cost: u32) -> Self {
        // Half of the cores stay with everything else, however many want in (AU-13).
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let concurrent = (cores / 2).max(1);
        Self {
            cost,
            permits: Arc::new(Semaphore::new(concurrent)),
            waiting: Arc::new(AtomicUsize::new(0)),
            waiting_max: concurrent * WAITING_PER_HASH,
        }
    }

    pub async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, HashError> {
        let cost = self.cost;
        self.run(move || {
            Ok(bcrypt::hash_with_salt(password, cost, salt)?.format_for_version(bcrypt::Version::TwoB))
        })
        .await
    }

    /// Whether the password is the hash's. Without a hash the answer is no, and takes as long.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, HashError> {
        self.run(move || {
            let known = hash.is_some();
            // A password that could not have been set is checked all the same: its refusal takes as long.
            let sound = password.len() <= PASSWORD_BYTES_MAX && !password.contains('\0');
            let text = if sound { password } else { String::from("-") };
            Ok(bcrypt::verify(text, hash.as_deref().unwrap_or(NOBODY))? && known && sound)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let _place = Place::take(&self.waiting, self.waiting_max)?;
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| HashError::Busy)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await?
    }
}

/// A place in the queue; given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self, HashError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= max {
            return Err(HashError::Busy);
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn au_12_passwords_are_measured_not_cut() {
        assert_eq!(check("1234567"), Err(WeakPassword::TooShort));
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check("éééééééé"), Ok(()));
        assert_eq!(check(&"x".repeat(72)), Ok(()));
        assert_eq!(check(&"x".repeat(73)), Err(WeakPassword::TooLong));
        assert_eq!(check("12345\x00678"), Err(WeakPassword::Nul));
    }

    #[test]
    fn nobodys_hash_has_the_cost_of_everybodys() {
        let parts: bcrypt::HashParts = NOBODY.parse().unwrap();
        assert_eq!(parts.get_cost(), COST);
    }

    #[tokio::test]
    async fn only_the_password_that_was_hashed_verifies() {
        let hasher = Hasher::new(COST);
        let hash = hasher.hash("correct horse".to_owned(), [3; 16]).await.unwrap();
        assert!(hash.starts_with("$2b$12$"), "{hash}");
        assert!(
            hasher
                .verify("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!hasher.verify("wrong".to_owned(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("anything".to_owned(), None).await.unwrap());
    }

    #[tokio::test]
    async fn au_13_a_flood_is_refused_at_once() {
        let hasher = Hasher::new(COST);
        hasher.waiting.store(hasher.waiting_max, Ordering::Relaxed);
        let refused = hasher.verify("password".to_owned(), None).await;
        assert!(matches!(refused, Err(HashError::Busy)));
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), hasher.waiting_max);
    }
}
