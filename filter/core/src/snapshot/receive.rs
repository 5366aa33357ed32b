//! Full updates: collected page by page beside what is in force, and compared with it before they replace it.
//!
//! A feed that forgot most of what it told before is more likely broken (a database restored half, rows that cannot be
//! read, another tenant's answer) than right. So what is in force stays unless the feed says what is rightly gone, or
//! the operator says that all is well.

use super::{Removal, Snapshot, Update};
use rateguard_model::id::WorkspaceId;
use std::collections::{BTreeMap, BTreeSet};

/// Fewer than this may go all at once.
const GUARDED_MIN: usize = 10;

/// The pages of one full update.
#[derive(Debug)]
pub(super) struct Coming {
    snapshot: Snapshot,
    touched: BTreeSet<WorkspaceId>,
    gone: BTreeSet<Removal>,
    may_shrink: bool,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    InForce,
    /// More pages have to come first.
    Incomplete,
}

/// A full update that leaves out more than half; what was in force still is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it would leave {found} of {held} {what}{}", of_workspace(.workspace_id.as_ref()))]
pub struct Shrinks {
    pub what: &'static str,
    /// `None`: of all workspaces together.
    pub workspace_id: Option<WorkspaceId>,
    /// In force, without what is rightly gone.
    pub held: usize,
    pub found: usize,
}

fn of_workspace(id: Option<&WorkspaceId>) -> String {
    id.map_or_else(String::new, |id| format!(" of workspace {id}"))
}

/// How many of each kind a workspace has: keys, APIs, rules, budgets.
type Counts = [usize; 4];
const KINDS: [&str; 4] = ["keys", "APIs", "rules", "budgets"];

impl Snapshot {
    /// Takes an answer of the feed.
    pub fn receive(&mut self, update: Update, now_ms: i64) -> Result<Received, Shrinks> {
        if !update.full {
            self.coming = None;
            self.apply(update, now_ms);
            return Ok(Received::InForce);
        }
        let mut coming = match self.coming.take() {
            Some(coming) if update.continues => coming,
            _ => Box::new(Coming {
                snapshot: Self::default(),
                touched: BTreeSet::new(),
                gone: BTreeSet::new(),
                may_shrink: false,
            }),
        };
        let (version, has_more) = (update.version.clone(), update.has_more);
        coming.may_shrink |= update.may_shrink;
        coming.gone.extend(update.removals.iter().copied());
        coming.touched.extend(coming.snapshot.add(update));
        if has_more {
            self.coming = Some(coming);
            return Ok(Received::Incomplete);
        }
        let Coming {
            mut snapshot,
            touched,
            gone,
            may_shrink,
        } = *coming;
        if let Some(shrinks) = self.shrinks_to(&snapshot, &gone).filter(|_| !may_shrink) {
            return Err(shrinks);
        }
        snapshot.finish(touched, version, now_ms);
        *self = snapshot;
        Ok(Received::InForce)
    }

    /// Forgets the pages that have come; the feed starts over.
    pub fn forget_pages(&mut self) {
        self.coming = None;
    }

    fn shrinks_to(&self, next: &Self, gone: &BTreeSet<Removal>) -> Option<Shrinks> {
        let removed = |id: &WorkspaceId| gone.contains(&Removal::Workspace(*id));
        let held: BTreeMap<WorkspaceId, Counts> = self.counts(gone);
        let found = next.counts(&BTreeSet::new());
        let held_workspaces = self.workspaces.keys().filter(|id| !removed(id)).count();
        let found_workspaces = self
            .workspaces
            .keys()
            .filter(|id| next.workspaces.contains_key(id))
            .count();
        let loses_all = held_workspaces > 0 && next.workspaces.is_empty();
        if loses_all || is_shrunk(held_workspaces, found_workspaces) {
            return Some(Shrinks {
                what: "workspaces",
                workspace_id: None,
                held: held_workspaces,
                found: found_workspaces,
            });
        }
        // A workspace that is gone as a whole takes all it has with it.
        let both = held.iter().filter_map(|(id, held)| {
            let stays = next.workspaces.contains_key(id) || !self.workspaces.contains_key(id);
            stays.then(|| (*id, *held, found.get(id).copied().unwrap_or_default()))
        });
        for (id, held, found) in both {
            for ((what, held), found) in KINDS.into_iter().zip(held).zip(found) {
                if is_shrunk(held, found) {
                    return Some(Shrinks {
                        what,
                        workspace_id: Some(id),
                        held,
                        found,
                    });
                }
            }
        }
        None
    }

    /// What is in force, without what is rightly gone.
    fn counts(&self, gone: &BTreeSet<Removal>) -> BTreeMap<WorkspaceId, Counts> {
        let mut counts: BTreeMap<WorkspaceId, Counts> = BTreeMap::new();
        for (id, keys) in self.keys.count_by_workspace() {
            counts.insert(id, [keys, 0, 0, 0]);
        }
        for (id, tenant) in &self.workspaces {
            let [_, apis, rules, budgets] = counts.entry(*id).or_default();
            let is_gone = |removal: Removal| gone.contains(&removal);
            *apis = tenant
                .apis
                .keys()
                .filter(|id| !is_gone(Removal::Api(**id)))
                .count();
            *rules = tenant
                .rules
                .keys()
                .filter(|id| !is_gone(Removal::Rule(**id)))
                .count();
            *budgets = tenant
                .budgets
                .keys()
                .filter(|id| !is_gone(Removal::Budget(**id)))
                .count();
        }
        for removal in gone {
            if let Removal::Key(id) = removal
                && let Some([keys, ..]) = self.keys.workspace_of(id).and_then(|id| counts.get_mut(&id))
            {
                *keys = keys.saturating_sub(1);
            }
        }
        counts
    }
}

fn is_shrunk(held: usize, found: usize) -> bool {
    held >= GUARDED_MIN && found < held.div_ceil(2)
}
