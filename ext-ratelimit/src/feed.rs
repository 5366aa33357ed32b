//! What the control plane tells this service: data-plane tokens, workspaces and budgets (SPEC 3.3, role LIMITS).
//!
//! A [`View`] is immutable and swapped whole: a reader never sees half an update. The last good one stays in force
//! whatever happens to the control plane.

mod poll;

pub use poll::Poller;

use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::digest::Digest;
use rateguard_model::id::{DataPlaneTokenId, QuotaId, WorkspaceId};
use rateguard_model::partition;
use rateguard_model::quota::{Meter, Mode, Quota, QuotaKind, Unit};
use rateguard_model::resource::Workspace;
use rateguard_wire::v1;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What a data-plane token may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenScope {
    All,
    Workspace(WorkspaceId),
}

impl TokenScope {
    pub fn allows(self, workspace_id: WorkspaceId) -> bool {
        match self {
            Self::All => true,
            Self::Workspace(own) => own == workspace_id,
        }
    }
}

/// One version of the feed.
#[derive(Debug, Clone, Default)]
pub struct View {
    tokens: HashMap<DataPlaneTokenId, (Digest, TokenScope)>,
    by_digest: HashMap<Digest, TokenScope>,
    workspaces: HashMap<WorkspaceId, Workspace>,
    budgets: HashMap<QuotaId, Budget>,
}

/// Why an answer of the feed was refused; sent back as the NACK's reason.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FeedError {
    #[error("{resource} {at}: {reason}")]
    Malformed {
        resource: &'static str,
        at: usize,
        reason: String,
    },
    #[error("a full answer without any data-plane token")]
    NoTokens,
    #[error("a removal without a known type and a 16-byte id")]
    Removal,
}

impl View {
    /// The scope of a token, by the SHA-256 of its text.
    pub fn scope(&self, digest: &Digest) -> Option<TokenScope> {
        self.by_digest.get(digest).copied()
    }

    pub fn workspace(&self, id: WorkspaceId) -> Option<&Workspace> {
        self.workspaces.get(&id)
    }

    pub fn budget(&self, id: QuotaId) -> Option<&Budget> {
        self.budgets.get(&id)
    }

    /// All budgets, in no order.
    pub fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.budgets.values()
    }

    /// The budgets of a workspace, by id.
    pub fn budgets_of(&self, workspace_id: WorkspaceId) -> Vec<&Budget> {
        let mut budgets: Vec<_> = self
            .budgets
            .values()
            .filter(|b| b.workspace_id == workspace_id)
            .collect();
        budgets.sort_by_key(|b| b.id);
        budgets
    }

    /// This view with an answer applied: everything replaced, or upserts and removals.
    pub fn apply(&self, answer: v1::PollResponse) -> Result<Self, FeedError> {
        let mut next = if answer.full {
            Self::default()
        } else {
            self.clone()
        };
        for removal in answer.removals {
            next.remove(&removal)?;
        }
        for (at, workspace) in answer.workspaces.into_iter().enumerate() {
            let workspace = Workspace::try_from(workspace).map_err(|e| malformed("workspace", at, &e))?;
            next.workspaces.insert(workspace.id, workspace);
        }
        for (at, budget) in answer.budgets.into_iter().enumerate() {
            let budget = Budget::try_from(budget).map_err(|e| malformed("budget", at, &e))?;
            next.budgets.insert(budget.id, budget);
        }
        for (at, token) in answer.data_plane_tokens.into_iter().enumerate() {
            let (id, digest, scope) = token_of(&token).map_err(|e| malformed("data_plane_token", at, &e))?;
            next.tokens.insert(id, (digest, scope));
        }
        if answer.full && next.tokens.is_empty() {
            // The token that polled must be among them: this is a broken answer, not an empty installation.
            return Err(FeedError::NoTokens);
        }
        next.by_digest = next.tokens.values().copied().collect();
        Ok(next)
    }

    fn remove(&mut self, removal: &v1::Removal) -> Result<(), FeedError> {
        let id: [u8; 16] = removal.id.as_slice().try_into().map_err(|_| FeedError::Removal)?;
        match removal.r#type() {
            v1::ResourceType::Workspace => {
                let id = WorkspaceId::from_bytes(id);
                self.workspaces.remove(&id);
                self.budgets.retain(|_, b| b.workspace_id != id);
            }
            v1::ResourceType::Budget => {
                self.budgets.remove(&QuotaId::from_bytes(id));
            }
            v1::ResourceType::DataPlaneToken => {
                self.tokens.remove(&DataPlaneTokenId::from_bytes(id));
            }
            // Resources that this role is not sent.
            v1::ResourceType::Api | v1::ResourceType::Key | v1::ResourceType::Rule => {}
            v1::ResourceType::Unspecified => return Err(FeedError::Removal),
        }
        Ok(())
    }
}

fn malformed(resource: &'static str, at: usize, reason: &dyn std::fmt::Display) -> FeedError {
    FeedError::Malformed {
        resource,
        at,
        reason: reason.to_string(),
    }
}

fn token_of(token: &v1::DataPlaneToken) -> Result<(DataPlaneTokenId, Digest, TokenScope), &'static str> {
    let id = DataPlaneTokenId::try_from(token.id.as_slice()).map_err(|_| "id is not 16 bytes")?;
    let sha256: [u8; 32] = token
        .sha256
        .as_slice()
        .try_into()
        .map_err(|_| "sha256 is not 32 bytes")?;
    let scope = if token.workspace_id.is_empty() {
        TokenScope::All
    } else {
        let id = WorkspaceId::try_from(token.workspace_id.as_slice());
        TokenScope::Workspace(id.map_err(|_| "workspace_id is not 16 bytes")?)
    };
    Ok((id, Digest::from_bytes(sha256), scope))
}

/// The quota that a budget becomes, holding nothing. `None`: a subject that is not enforced.
///
/// The filter must build the same bucket: FIXED_WINDOW over the budget's own window (its time zone is the
/// workspace's), nano-USD, the budget's version, and the workspace's partition.
pub fn budget_quota(budget: &Budget) -> Option<Quota> {
    // A budget has one bucket, whoever it is about: its own id tells it from others.
    let partition = match budget.subject {
        BudgetSubject::Workspace | BudgetSubject::Api(_) | BudgetSubject::Key(_) => {
            partition::WORKSPACE.to_owned()
        }
        BudgetSubject::Tag { .. } | BudgetSubject::Model { .. } => return None,
    };
    Some(Quota {
        id: budget.id,
        version: budget.version,
        kind: QuotaKind::Budget,
        unit: Unit::NanoUsd,
        limit: budget.limit.0,
        meter: Meter::FixedWindow {
            window: budget.window,
        },
        mode: if budget.auto_shutoff {
            Mode::Enforce
        } else {
            Mode::Shadow
        },
        failure_mode: budget.failure_mode,
        partition,
        amount: 0,
    })
}

/// The view in force. Cheap to read: one lock held for the time of a pointer copy.
#[derive(Debug, Default)]
pub struct Feed {
    view: RwLock<Option<Arc<View>>>,
    reachable: std::sync::atomic::AtomicBool,
    has_ledger: std::sync::atomic::AtomicBool,
    changed: tokio::sync::Notify,
}

impl Feed {
    /// `None` before the first good answer.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
        self.changed.notify_one();
    }

    /// Until there is another view than when this was last awaited. For one to wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the last poll was answered.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether the control plane can say what was spent.
    pub fn has_ledger(&self) -> bool {
        self.has_ledger.load(std::sync::atomic::Ordering::Acquire)
    }

    fn set_has_ledger(&self, has_ledger: bool) {
        self.has_ledger
            .store(has_ledger, std::sync::atomic::Ordering::Release);
    }

    fn set_reachable(&self, reachable: bool) {
        self.reachable
            .store(reachable, std::sync::atomic::Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
