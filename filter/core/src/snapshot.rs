//! The policy a filter runs on: resources of the feed, indexed for requests.
//!
//! An update is applied whole between two requests, after everything in it was decoded: no request sees half of one.
//! Exchanges keep what they started with (`Rc`), so an update never changes a request that is under way.

use crate::policy::Policy;
use rateguard_model::budget::Budget;
use rateguard_model::digest::Digest;
use rateguard_model::id::{ApiId, KeyId, QuotaId, WorkspaceId};
use rateguard_model::resource::{Api, Key, Workspace};
use rateguard_model::rule::{Rule, Scope};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hasher;
use std::rc::Rc;

mod keys;
mod receive;

pub use receive::{Received, Shrinks};

/// One decoded answer of the feed.
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the answer")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    pub version: String,
    /// Replaces everything instead of adding to it. Its removals only say what is rightly gone.
    pub full: bool,
    /// A full one in pages: this is not the first.
    pub continues: bool,
    /// A full one in pages: this is not the last.
    pub has_more: bool,
    /// A full one may leave out more than half of what is in force.
    pub may_shrink: bool,
    pub workspaces: Vec<Workspace>,
    pub apis: Vec<Api>,
    pub keys: Vec<Key>,
    pub rules: Vec<Rule>,
    pub budgets: Vec<Budget>,
    pub removals: Vec<Removal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    Workspace(WorkspaceId),
    Api(ApiId),
    Key(KeyId),
    Rule(QuotaId),
    Budget(QuotaId),
}

/// Everything in force. Empty until the first update.
#[derive(Debug, Default)]
pub struct Snapshot {
    version: String,
    held: bool,
    /// When the feed last confirmed it, in Unix milliseconds.
    confirmed_at_ms: i64,
    workspaces: BTreeMap<WorkspaceId, Tenant>,
    keys: keys::Keys,
    needs_peer: bool,
    /// The pages of a full update that have come so far; not in force.
    coming: Option<Box<receive::Coming>>,
}

/// What one workspace owns, and the indexes over it.
#[derive(Debug, Default)]
struct Tenant {
    workspace: Option<Rc<Workspace>>,
    apis: BTreeMap<ApiId, Rc<Api>>,
    rules: BTreeMap<QuotaId, Rc<Rule>>,
    budgets: BTreeMap<QuotaId, Rc<Budget>>,
    by_slug: HashMap<String, Rc<Policy>>,
    by_host: HashMap<String, Rc<Policy>>,
}

impl Snapshot {
    /// The feed's name of what is in force; empty if nothing is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether there was any update, be it an empty one.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Milliseconds since the feed last confirmed what is in force.
    pub fn age_ms(&self, now_ms: i64) -> u64 {
        u64::try_from(now_ms.saturating_sub(self.confirmed_at_ms)).unwrap_or(0)
    }

    /// The feed answered: whether or not anything changed, this is current.
    pub fn confirm(&mut self, now_ms: i64) {
        self.confirmed_at_ms = now_ms;
    }

    /// Whether a rule counts by the peer's address.
    pub fn needs_peer(&self) -> bool {
        self.needs_peer
    }

    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub fn key_by_digest(&self, digest: &Digest) -> Option<Rc<Key>> {
        self.keys.by_digest(digest)
    }

    pub fn policy_by_slug(&self, workspace: &WorkspaceId, slug: &str) -> Option<&Rc<Policy>> {
        self.workspaces.get(workspace)?.by_slug.get(slug)
    }

    /// `host` as an API's `hosts` spell it: lower case, with a port only if one was given there.
    pub fn policy_by_host(&self, workspace: &WorkspaceId, host: &str) -> Option<&Rc<Policy>> {
        self.workspaces.get(workspace)?.by_host.get(host)
    }

    /// Puts an update in force, whatever it leaves out.
    pub fn apply(&mut self, update: Update, now_ms: i64) {
        if update.full {
            *self = Self::default();
        }
        let version = update.version.clone();
        let touched = self.add(update);
        self.finish(touched, version, now_ms);
    }

    /// Takes in what an update says; the indexes of the workspaces that it gives back are then out of date.
    fn add(&mut self, update: Update) -> BTreeSet<WorkspaceId> {
        let Update {
            version: _,
            full,
            continues: _,
            has_more: _,
            may_shrink: _,
            workspaces,
            apis,
            keys,
            rules,
            budgets,
            removals,
        } = update;
        let mut touched = BTreeSet::new();
        for removal in removals.into_iter().filter(|_| !full) {
            self.remove(removal, &mut touched);
        }
        for workspace in workspaces {
            let id = workspace.id;
            touched.insert(id);
            self.workspaces.entry(id).or_default().workspace = Some(Rc::new(workspace));
        }
        for api in apis {
            touched.insert(api.workspace_id);
            self.workspaces
                .entry(api.workspace_id)
                .or_default()
                .apis
                .insert(api.id, Rc::new(api));
        }
        for rule in rules {
            touched.insert(rule.workspace_id);
            self.workspaces
                .entry(rule.workspace_id)
                .or_default()
                .rules
                .insert(rule.id, Rc::new(rule));
        }
        for budget in budgets {
            touched.insert(budget.workspace_id);
            self.workspaces
                .entry(budget.workspace_id)
                .or_default()
                .budgets
                .insert(budget.id, Rc::new(budget));
        }
        for key in keys {
            self.keys.insert(key);
        }
        touched
    }

    fn finish(&mut self, touched: BTreeSet<WorkspaceId>, version: String, now_ms: i64) {
        for id in touched {
            if let Some(tenant) = self.workspaces.get_mut(&id) {
                tenant.index();
            }
        }
        self.needs_peer = self.workspaces.values().any(Tenant::needs_peer);
        self.version = version;
        self.held = true;
        self.confirmed_at_ms = now_ms;
    }

    fn remove(&mut self, removal: Removal, touched: &mut BTreeSet<WorkspaceId>) {
        match removal {
            Removal::Workspace(id) => {
                self.workspaces.remove(&id);
            }
            Removal::Key(id) => {
                self.keys.remove(&id);
            }
            Removal::Api(id) => self.remove_from(touched, |tenant| tenant.apis.remove(&id).is_some()),
            Removal::Rule(id) => self.remove_from(touched, |tenant| tenant.rules.remove(&id).is_some()),
            Removal::Budget(id) => self.remove_from(touched, |tenant| tenant.budgets.remove(&id).is_some()),
        }
    }

    /// Removals name no workspace.
    fn remove_from(
        &mut self,
        touched: &mut BTreeSet<WorkspaceId>,
        mut remove: impl FnMut(&mut Tenant) -> bool,
    ) {
        let owner = self
            .workspaces
            .iter_mut()
            .find_map(|(id, tenant)| remove(tenant).then_some(id));
        if let Some(id) = owner {
            touched.insert(*id);
        }
    }
}

impl Tenant {
    fn needs_peer(&self) -> bool {
        self.rules.values().any(|rule| {
            rule.scopes
                .iter()
                .any(|scope| matches!(scope, Scope::PerIp { .. }))
        })
    }

    fn index(&mut self) {
        self.by_slug.clear();
        self.by_host.clear();
        let Some(workspace) = &self.workspace else { return };
        for api in self.apis.values() {
            let policy = Rc::new(Policy::compile(
                Rc::clone(workspace),
                Rc::clone(api),
                self.rules.values(),
                self.budgets.values(),
            ));
            self.by_slug.insert(api.slug.clone(), Rc::clone(&policy));
            for host in &api.hosts {
                self.by_host.insert(host.clone(), Rc::clone(&policy));
            }
        }
    }
}

/// A SHA-256 is a hash already: its first eight bytes will do.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
