//! What the data planes that poll this replica said, until it is written where every replica sees it.

use crate::db::data_plane_node::Heard;
use crate::snapshot::Role;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Data planes waiting to be written; beyond it new ones are not noted until some are.
const WAITING_MAX: usize = 10_000;

type NodeKey = (Uuid, &'static str, String);

/// One poll, as the inventory records it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub token_id: Uuid,
    pub role: Role,
    pub node_id: &'a str,
    pub version: &'a str,
    pub software_version: &'a str,
    pub nack_reason: Option<&'a str>,
    pub now: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub struct Inventory(BTreeMap<NodeKey, Heard>);

impl Inventory {
    pub fn record(&mut self, seen: Seen<'_>) {
        let Seen {
            token_id,
            role,
            node_id,
            version,
            software_version,
            nack_reason,
            now,
        } = seen;
        self.add(Heard {
            token_id,
            role: role.as_str(),
            node_id: node_id.to_owned(),
            software_version: software_version.to_owned(),
            version: version.to_owned(),
            last_seen_at: now,
            rejections: i64::from(nack_reason.is_some()),
            rejection: nack_reason.map(|reason| (reason.to_owned(), now)),
        });
    }

    /// Takes what is to be written.
    pub fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.0).into_values().collect()
    }

    /// Takes back what could not be written; what was heard since comes on top.
    pub fn put_back(&mut self, heard: Vec<Heard>) {
        let since = self.take();
        for one in heard.into_iter().chain(since) {
            self.add(one);
        }
    }

    fn add(&mut self, heard: Heard) {
        let key = (heard.token_id, heard.role, heard.node_id.clone());
        if self.0.len() >= WAITING_MAX && !self.0.contains_key(&key) {
            return;
        }
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(heard);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let known = place.get_mut();
                let rejections = known.rejections.saturating_add(heard.rejections);
                let rejection = heard.rejection.clone().or_else(|| known.rejection.take());
                *known = Heard {
                    rejections,
                    rejection,
                    ..heard
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node_id: &str, at_ms: i64) -> Seen<'_> {
        Seen {
            token_id: Uuid::from_u128(1),
            role: Role::Filter,
            node_id,
            version: "v",
            software_version: "0.1.0",
            nack_reason: None,
            now: DateTime::from_timestamp_millis(at_ms).unwrap(),
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
        let heard = inventory.take();
        let [node] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        assert_eq!((node.last_seen_at.timestamp_millis(), node.rejections), (2, 1));
        assert_eq!(node.rejection.as_ref().unwrap().0, "too small");
        assert_eq!(inventory.take(), []);
    }

    #[test]
    fn what_could_not_be_written_counts_on() {
        let mut inventory = Inventory::default();
        let refusing = |at| Seen {
            nack_reason: Some("no"),
            ..seen("a", at)
        };
        inventory.record(refusing(1));
        let heard = inventory.take();
        inventory.record(refusing(2));
        inventory.put_back(heard);
        let node = inventory.take().pop().unwrap();
        assert_eq!((node.last_seen_at.timestamp_millis(), node.rejections), (2, 2));
    }

    #[test]
    fn the_inventory_is_bounded() {
        let mut inventory = Inventory::default();
        for at in 0..=WAITING_MAX {
            inventory.record(seen(&at.to_string(), 1));
        }
        assert_eq!(inventory.take().len(), WAITING_MAX);
    }
}
