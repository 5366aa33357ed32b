//! Everything that the feed tells, in memory, encoded, with the version at which each thing last changed.
//!
//! Each resource is kept as a fragment: a [`PollResponse`] with that resource alone, encoded. Protobuf messages merge
//! when their bytes are put one after the other, so an answer is fragments put together; nothing is encoded per poll.

use super::audience::Audience;
use super::compile::{Body, Change};
use super::row::Position;
use crate::ssrf::BaseUrl;
use prost::Message as _;
use rateguard_wire::v1::{PollResponse, Removal, ResourceType};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use uuid::Uuid;

/// Removals remembered; clients that have missed older ones get everything.
const REMOVALS_MAX: usize = 100_000;

/// Names a resource; the feed tells them in this order.
pub type ResourceId = (ResourceType, Uuid);

type Id = ResourceId;

/// A token in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    /// `None`: every workspace.
    pub workspace_id: Option<Uuid>,
}

struct Entry {
    version: i64,
    workspace_id: Option<Uuid>,
    /// The API a rule is for: it leaves with it.
    api_id: Option<Uuid>,
    fragment: Box<[u8]>,
    base_url: Option<BaseUrl>,
    sha256: Option<[u8; 32]>,
}

struct Tombstone {
    version: i64,
    workspace_id: Option<Uuid>,
}

/// The fragments of an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fragments {
    pub bytes: Vec<u8>,
    /// Upserts and removals in them.
    pub count: usize,
}

/// The in-memory image of the feed at one position.
pub struct Image {
    position: Position,
    floor: i64,
    /// Version of the last change to what clusters are made of.
    clusters_version: i64,
    live: BTreeMap<Id, Entry>,
    gone: HashMap<Id, Tombstone>,
    /// Every id of `live` and `gone` once, by the version of its last change.
    log: BTreeSet<(i64, Id)>,
    tokens: HashMap<[u8; 32], Token>,
}

impl Image {
    /// An image of nothing at a position. Deltas can start at `floor` or later.
    pub fn new(position: Position, floor: i64) -> Self {
        Self {
            position,
            floor,
            clusters_version: position.version,
            live: BTreeMap::new(),
            gone: HashMap::new(),
            log: BTreeSet::new(),
            tokens: HashMap::new(),
        }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// Version of the last change to an API, for whom only clusters matter.
    pub fn clusters_version(&self) -> i64 {
        self.clusters_version
    }

    pub fn token(&self, sha256: &[u8; 32]) -> Option<Token> {
        self.tokens.get(sha256).copied()
    }

    /// Whether an audience sees a key; who cannot see it cannot say that it was used.
    pub fn has_key(&self, audience: Audience, id: Uuid) -> bool {
        let entry = self.live.get(&(ResourceType::Key, id));
        entry.is_some_and(|entry| audience.sees(ResourceType::Key, entry.workspace_id))
    }

    /// Whether a delta from a version can be told.
    pub fn reaches_back_to(&self, version: i64) -> bool {
        (self.floor..=self.position.version).contains(&version)
    }

    /// Everything an audience sees.
    pub fn everything(&self, audience: Audience) -> Fragments {
        let mut fragments = Fragments::default();
        for ((resource_type, _), entry) in &self.live {
            if audience.sees(*resource_type, entry.workspace_id) {
                fragments.push(&entry.fragment);
            }
        }
        fragments
    }

    /// The part of everything that comes after `after`, of about `bytes_max`, and where the next one begins. Each part
    /// is as of now: a client that puts them together under the position of the first, and then asks what changed since,
    /// has everything.
    pub fn page(
        &self,
        audience: Audience,
        after: Option<ResourceId>,
        bytes_max: usize,
    ) -> (Fragments, Option<ResourceId>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut fragments = Fragments::default();
        let mut last = after;
        for (id, entry) in self.live.range((start, Bound::Unbounded)) {
            if !audience.sees(id.0, entry.workspace_id) {
                continue;
            }
            let is_full = fragments.bytes.len() + entry.fragment.len() > bytes_max;
            if is_full && fragments.count > 0 {
                return (fragments, last);
            }
            fragments.push(&entry.fragment);
            last = Some(*id);
        }
        (fragments, None)
    }

    /// What left an audience after a version.
    pub fn removals_since(&self, audience: Audience, version: i64) -> Fragments {
        let mut fragments = Fragments::default();
        for (id, tombstone) in &self.gone {
            if tombstone.version > version && audience.sees(id.0, tombstone.workspace_id) {
                fragments.push(&removal_fragment(*id));
            }
        }
        fragments
    }

    /// What changed for an audience after a version.
    pub fn since(&self, audience: Audience, version: i64) -> Fragments {
        let mut fragments = Fragments::default();
        let after = (
            version.saturating_add(1),
            (ResourceType::Unspecified, Uuid::nil()),
        );
        for (_, id) in self.log.range((Bound::Included(after), Bound::Unbounded)) {
            if let Some(entry) = self.live.get(id) {
                if audience.sees(id.0, entry.workspace_id) {
                    fragments.push(&entry.fragment);
                }
            } else if let Some(tombstone) = self.gone.get(id)
                && audience.sees(id.0, tombstone.workspace_id)
            {
                fragments.push(&removal_fragment(*id));
            }
        }
        fragments
    }

    /// Addresses of the APIs that an audience sees, by API id.
    pub fn base_urls(&self, audience: Audience) -> impl Iterator<Item = (Uuid, &BaseUrl)> {
        let apis = (ResourceType::Api, Uuid::nil())..=(ResourceType::Api, Uuid::max());
        self.live
            .range(apis)
            .filter(move |(_, entry)| audience.sees(ResourceType::Api, entry.workspace_id))
            .filter_map(|((_, id), entry)| Some((*id, entry.base_url.as_ref()?)))
    }

    /// Applies changes and moves to the position they were read at.
    pub fn apply(&mut self, changes: Vec<Change>, position: Position) {
        for change in changes {
            let Change {
                resource_type,
                id,
                workspace_id,
                version,
                body,
            } = change;
            match body {
                Some(body) => self.upsert((resource_type, id), workspace_id, version, body),
                None => self.remove((resource_type, id), workspace_id, version),
            }
        }
        self.position = position;
        self.forget_old_removals();
    }

    fn upsert(&mut self, id: Id, workspace_id: Option<Uuid>, version: i64, body: Body) {
        let entry = entry(body, workspace_id, version);
        if let Some(old) = self.live.get(&id)
            && old.fragment == entry.fragment
        {
            return;
        }
        self.forget(id);
        if id.0 == ResourceType::Api {
            self.clusters_version = self.clusters_version.max(version);
        }
        if let Some(sha256) = entry.sha256 {
            self.tokens.insert(
                sha256,
                Token {
                    id: id.1,
                    workspace_id,
                },
            );
        }
        self.log.insert((version, id));
        self.live.insert(id, entry);
    }

    fn remove(&mut self, id: Id, workspace_id: Option<Uuid>, version: i64) {
        self.cascade(id, version);
        self.forget(id);
        if id.0 == ResourceType::Api {
            self.clusters_version = self.clusters_version.max(version);
        }
        self.log.insert((version, id));
        self.gone.insert(
            id,
            Tombstone {
                version,
                workspace_id,
            },
        );
    }

    /// Removes what the database removes along: all of a workspace, and the rules of an API.
    fn cascade(&mut self, (resource_type, id): Id, version: i64) {
        let goes_along = |(other, entry): (&Id, &Entry)| {
            let is_part = match resource_type {
                ResourceType::Workspace => {
                    entry.workspace_id == Some(id) && other.0 != ResourceType::Workspace
                }
                ResourceType::Api => entry.api_id == Some(id),
                _ => false,
            };
            is_part.then_some((*other, entry.workspace_id))
        };
        if !matches!(resource_type, ResourceType::Workspace | ResourceType::Api) {
            return;
        }
        let parts: Vec<_> = self.live.iter().filter_map(goes_along).collect();
        for (part, workspace_id) in parts {
            self.remove(part, workspace_id, version);
        }
    }

    fn forget(&mut self, id: Id) {
        if let Some(entry) = self.live.remove(&id) {
            self.log.remove(&(entry.version, id));
            if let Some(sha256) = entry.sha256 {
                self.tokens.remove(&sha256);
            }
        }
        if let Some(tombstone) = self.gone.remove(&id) {
            self.log.remove(&(tombstone.version, id));
        }
    }

    fn forget_old_removals(&mut self) {
        if self.gone.len() <= REMOVALS_MAX {
            return;
        }
        let mut versions: Vec<i64> = self.gone.values().map(|tombstone| tombstone.version).collect();
        versions.sort_unstable();
        let Some(floor) = versions.get(versions.len() / 2).copied() else {
            return;
        };
        self.floor = floor;
        let log = &mut self.log;
        self.gone.retain(|id, tombstone| {
            let is_kept = tombstone.version > floor;
            if !is_kept {
                log.remove(&(tombstone.version, *id));
            }
            is_kept
        });
    }
}

impl Fragments {
    /// Adds others behind these.
    pub fn extend(&mut self, others: &Self) {
        self.bytes.extend_from_slice(&others.bytes);
        self.count += others.count;
    }

    fn push(&mut self, fragment: &[u8]) {
        self.bytes.extend_from_slice(fragment);
        self.count += 1;
    }
}

fn entry(body: Body, workspace_id: Option<Uuid>, version: i64) -> Entry {
    let mut response = PollResponse::default();
    let (mut api_id, mut base_url, mut sha256) = (None, None, None);
    match body {
        Body::Workspace(workspace) => response.workspaces.push(workspace),
        Body::Api(api, url) => {
            base_url = url;
            response.apis.push(*api);
        }
        Body::Key(key) => response.keys.push(key),
        Body::Rule(rule) => {
            api_id = Uuid::from_slice(&rule.api_id).ok();
            response.rules.push(*rule);
        }
        Body::Budget(budget) => response.budgets.push(budget),
        Body::DataPlaneToken(token) => {
            sha256 = token.sha256.as_slice().try_into().ok();
            response.data_plane_tokens.push(token);
        }
    }
    Entry {
        version,
        workspace_id,
        api_id,
        fragment: response.encode_to_vec().into_boxed_slice(),
        base_url,
        sha256,
    }
}

fn removal_fragment((resource_type, id): Id) -> Vec<u8> {
    let removal = Removal {
        r#type: resource_type.into(),
        id: id.as_bytes().to_vec(),
    };
    let response = PollResponse {
        removals: vec![removal],
        ..PollResponse::default()
    };
    response.encode_to_vec()
}

#[cfg(test)]
mod tests;
