//! The version strings of the feed: `<epoch>.<n>`, opaque to clients.
//!
//! The epoch part stands for all that would make a delta wrong: another database history, another format of messages,
//! another audience (a token of another reach in the plugin's configuration). Whoever presents another epoch starts
//! over with everything.

use crate::snapshot::audience::Audience;
use crate::snapshot::{FORMAT, row::Position};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest version string that a client may present, in bytes.
pub const LEN_MAX: usize = 64;

/// The epoch part for an audience.
pub fn epoch(epoch: Uuid, audience: Audience) -> String {
    let Audience { role, workspace_id } = audience;
    let digest = Sha256::new()
        .chain_update(FORMAT.to_be_bytes())
        .chain_update(epoch.as_bytes())
        .chain_update(role.as_str())
        .chain_update(workspace_id.unwrap_or_default().as_bytes())
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a client at this position presents with its next poll.
pub fn format(position: Position, audience: Audience) -> String {
    format!("{}.{}", epoch(position.epoch, audience), position.version)
}

/// The number of a version string; `None` if it is of another epoch or none of ours.
pub fn number(text: &str, current_epoch: Uuid, audience: Audience) -> Option<i64> {
    let (own_epoch, number) = text.split_once('.')?;
    if own_epoch != epoch(current_epoch, audience) || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::audience::Role;

    const EPOCH: Uuid = Uuid::from_u128(7);
    const ALL: Audience = Audience {
        role: Role::Filter,
        workspace_id: None,
    };

    #[test]
    fn what_is_written_is_read_back() {
        let position = Position {
            epoch: EPOCH,
            version: 42,
        };
        let text = format(position, ALL);
        assert!(text.len() <= LEN_MAX && text.ends_with(".42"), "{text}");
        assert_eq!(number(&text, EPOCH, ALL), Some(42));
    }

    #[test]
    fn other_epochs_and_audiences_start_over() {
        let position = Position {
            epoch: EPOCH,
            version: 42,
        };
        let text = format(position, ALL);
        assert_eq!(number(&text, Uuid::from_u128(8), ALL), None);
        let limits = Audience {
            role: Role::Limits,
            ..ALL
        };
        let one = Audience {
            workspace_id: Some(Uuid::from_u128(1)),
            ..ALL
        };
        assert_eq!(number(&text, EPOCH, limits), None);
        assert_eq!(number(&text, EPOCH, one), None);
    }

    #[test]
    fn garbage_starts_over() {
        let own = epoch(EPOCH, ALL);
        for text in [
            "",
            ".",
            "x",
            &own,
            &format!("{own}."),
            &format!("{own}.-1"),
            &format!("{own}.+1"),
        ] {
            assert_eq!(number(text, EPOCH, ALL), None, "{text}");
        }
        assert_eq!(number(&format!("{own}.99999999999999999999"), EPOCH, ALL), None);
    }
}
