//! The data planes that poll: what each runs, when it was last heard, what it refused. In memory, per replica.

use crate::snapshot::Role;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Data planes remembered; beyond it the one not heard for longest is forgotten.
const NODES_MAX: usize = 10_000;

/// Which data plane of which token. Node ids are the client's own words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeKey {
    pub token_id: Uuid,
    pub role: &'static str,
    pub node_id: String,
}

/// A refused answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub nonce: String,
    pub reason: String,
    pub at_ms: i64,
}

/// What is known of a data plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// What it runs, by its last poll; empty before its first answer.
    pub version: String,
    pub software_version: String,
    pub last_seen_ms: i64,
    pub rejection_count: u64,
    /// The last one; stays when a later answer is accepted.
    pub rejection: Option<Rejection>,
}

/// One poll, as the inventory records it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub token_id: Uuid,
    pub role: Role,
    pub node_id: &'a str,
    pub version: &'a str,
    pub software_version: &'a str,
    pub nonce: &'a str,
    pub nack_reason: Option<&'a str>,
    pub now_ms: i64,
}

#[derive(Debug, Default)]
pub struct Inventory(BTreeMap<NodeKey, Node>);

impl Inventory {
    pub fn record(&mut self, seen: Seen<'_>) {
        let key = NodeKey {
            token_id: seen.token_id,
            role: seen.role.as_str(),
            node_id: seen.node_id.to_owned(),
        };
        if !self.0.contains_key(&key) && self.0.len() >= NODES_MAX {
            self.forget_oldest();
        }
        let node = self.0.entry(key).or_default();
        seen.version.clone_into(&mut node.version);
        seen.software_version.clone_into(&mut node.software_version);
        node.last_seen_ms = seen.now_ms;
        if let Some(reason) = seen.nack_reason {
            node.rejection_count += 1;
            node.rejection = Some(Rejection {
                nonce: seen.nonce.to_owned(),
                reason: reason.to_owned(),
                at_ms: seen.now_ms,
            });
        }
    }

    pub fn nodes(&self) -> impl Iterator<Item = (&NodeKey, &Node)> {
        self.0.iter()
    }

    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, node)| node.last_seen_ms);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node_id: &str, now_ms: i64) -> Seen<'_> {
        Seen {
            token_id: Uuid::from_u128(1),
            role: Role::Filter,
            node_id,
            version: "v",
            software_version: "0.1.0",
            nonce: "n",
            nack_reason: None,
            now_ms,
        }
    }

    #[test]
    fn a_refusal_stays_visible_after_a_later_acceptance() {
        let mut inventory = Inventory::default();
        inventory.record(Seen {
            nack_reason: Some("too small"),
            ..seen("a", 1)
        });
        inventory.record(seen("a", 2));
        let (_, node) = inventory.nodes().next().unwrap();
        assert_eq!((node.last_seen_ms, node.rejection_count), (2, 1));
        assert_eq!(node.rejection.as_ref().unwrap().reason, "too small");
    }

    #[test]
    fn the_inventory_is_bounded() {
        let mut inventory = Inventory::default();
        for at in 0..=NODES_MAX {
            inventory.record(seen(&at.to_string(), i64::try_from(at).unwrap()));
        }
        assert_eq!(inventory.nodes().count(), NODES_MAX);
        assert!(inventory.nodes().all(|(key, _)| key.node_id != "0"));
    }
}
