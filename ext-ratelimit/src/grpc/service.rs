//! The methods of `rateguard.v1.LimitService`.

use super::auth::{Authenticator, Caller};
use super::last_states::LastStates;
use super::resolve::{Resolve, Resolver};
use super::usage::Usage;
use super::{decode, encode};
use crate::clock;
use crate::degraded::Failover;
use crate::feed::{Feed, budget_quota};
use crate::ledger::{BucketRef, BucketStatus, Ledger, LedgerError, Spent};
use crate::metrics::Metrics;
use crate::restore::Restorer;
use crate::workers::Workers;
use rateguard_model::id::{QuotaId, WorkspaceId};
use rateguard_model::quota::is_partition;
use rateguard_wire::v1;
use rateguard_wire::v1::limit_service_server::LimitService;
use std::sync::Arc;
use std::time::Instant;
use tonic::{Request, Response, Status};

/// The service. All state is behind the shared parts it is made of.
pub struct Limits<P, F> {
    pub ledger: Arc<Failover<P, F>>,
    pub restorer: Arc<Restorer<P, F>>,
    pub auth: Authenticator,
    pub feed: Arc<Feed>,
    pub resolver: Arc<Resolver<P, F>>,
    pub usage: Arc<Usage<P, F>>,
    pub workers: Arc<Workers>,
    pub metrics: Arc<Metrics>,
    pub last_states: LastStates,
}

impl<P: Ledger, F: Ledger> Limits<P, F> {
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.auth.authenticate(request.metadata()).inspect_err(|_| {
            self.metrics.auth_refusals.inc();
        })
    }

    async fn reserve_from(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<v1::ReserveResponse, Status> {
        let counters = &self.metrics.reserves;
        let checked = self.caller(&request).and_then(|caller| {
            let patience = decode::patience(request.metadata());
            let (reserve, worker) = decode::reserve(request.into_inner())?;
            caller.may(reserve.workspace_id)?;
            Ok((reserve, worker, patience))
        });
        let (reserve, worker, patience) = checked.inspect_err(|_| {
            counters.refused.inc();
        })?;
        let now_ms = clock::now_ms();
        let live_workers = self.workers.seen(worker, now_ms);
        let admission = self
            .restorer
            .reserve(reserve, worker, patience, now_ms)
            .await
            .map_err(|error| {
                counters.failed.inc();
                status(&error)
            })?;
        match (admission.reserved.admitted, admission.degraded) {
            (true, false) => &counters.admitted,
            (false, false) => &counters.rejected,
            (true, true) => &counters.degraded_admitted,
            (false, true) => &counters.degraded_rejected,
        }
        .inc();
        Ok(encode::admission(admission, live_workers))
    }

    /// Settles or releases what is sound; the rest is answered INVALID in its place.
    async fn resolve(
        &self,
        caller: Caller,
        batch: Vec<v1::Settlement>,
        how: Resolve,
    ) -> Result<Vec<i32>, Status> {
        decode::batch_len(batch.len(), decode::BATCH_MAX, how.field())?;
        let checked = self.resolver.check(caller, batch, how)?;
        let resolutions = self.resolver.apply(&checked).await;
        Ok(encode::resolutions(&resolutions.map_err(|error| status(&error))?))
    }

    async fn statuses_of(
        &self,
        request: v1::BudgetStatusRequest,
        caller: Caller,
    ) -> Result<v1::BudgetStatusResponse, Status> {
        let workspace_id: WorkspaceId = decode::id(&request.workspace_id, "workspace_id")?;
        caller.may(workspace_id)?;
        let wanted = decode::budget_ids(&request.budget_ids)?;
        let Some(view) = self.feed.view() else {
            return Err(Status::unavailable("no configuration yet: budgets are not known"));
        };
        let (budgets, buckets): (Vec<_>, Vec<_>) = view
            .budgets_of(workspace_id)
            .into_iter()
            .filter(|budget| wanted.is_empty() || wanted.contains(&budget.id))
            .filter_map(|budget| {
                Some((
                    budget,
                    BucketRef {
                        quota: budget_quota(budget)?,
                    },
                ))
            })
            .unzip();
        let now_ms = clock::now_ms();
        let (states, degraded) = match self.states(workspace_id, &buckets, now_ms).await {
            Ok(states) => (states, false),
            Err(error) => (
                self.last_states
                    .of(&buckets, now_ms)
                    .ok_or_else(|| status(&error))?,
                true,
            ),
        };
        let budgets = budgets
            .iter()
            .zip(&states)
            .map(|(b, s)| encode::budget_state(b, s))
            .collect();
        Ok(v1::BudgetStatusResponse {
            budgets,
            degraded,
            now_ms,
        })
    }

    async fn raise(
        &self,
        request: v1::RaiseSpendRequest,
        caller: Caller,
    ) -> Result<v1::RaiseSpendResponse, Status> {
        let workspace_id: WorkspaceId = decode::id(&request.workspace_id, "workspace_id")?;
        caller.may(workspace_id)?;
        let wanted = decode::spent_budgets(&request.budgets)?;
        let now_ms = clock::now_ms();
        if self.ledger.is_catching_up(now_ms) {
            return Err(Status::failed_precondition(
                "settlements of an outage may still come; try again later",
            ));
        }
        let Some(view) = self.feed.view() else {
            return Err(Status::unavailable("no configuration yet: budgets are not known"));
        };
        let known = |(id, window_start_ms, spent): (QuotaId, i64, i64)| {
            let budget = view
                .budget(id)
                .filter(|budget| budget.workspace_id == workspace_id)?;
            Some(Spent {
                quota: budget_quota(budget)?,
                window_start_ms,
                spent,
            })
        };
        let spent: Vec<Spent> = wanted.into_iter().filter_map(known).collect();
        let raised = self.ledger.raise(workspace_id, &spent, false, now_ms).await;
        let raised = raised.map_err(|error| status(&error))?;
        let budgets = spent.iter().zip(raised).filter(|(_, by)| *by > 0);
        let budgets = budgets.map(|(spent, raised_by)| v1::RaisedBudget {
            budget_id: spent.quota.id.as_bytes().to_vec(),
            raised_by,
        });
        Ok(v1::RaiseSpendResponse {
            budgets: budgets.collect(),
        })
    }

    async fn states(
        &self,
        workspace_id: WorkspaceId,
        buckets: &[BucketRef],
        now_ms: i64,
    ) -> Result<Vec<BucketStatus>, LedgerError> {
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.ledger.status(workspace_id, buckets, now_ms).await?;
        self.last_states.remember(buckets, &states);
        Ok(states)
    }
}

#[tonic::async_trait]
impl<P: Ledger, F: Ledger> LimitService for Limits<P, F> {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let begun = Instant::now();
        let answer = self.reserve_from(request).await;
        self.metrics
            .reserve_duration
            .observe(begun.elapsed().as_secs_f64());
        answer.map(Response::new)
    }

    async fn settle(
        &self,
        request: Request<v1::SettleRequest>,
    ) -> Result<Response<v1::SettleResponse>, Status> {
        let begun = Instant::now();
        let caller = self.caller(&request)?;
        let statuses = self
            .resolve(caller, request.into_inner().settlements, Resolve::Settle)
            .await?;
        self.metrics
            .settle_duration
            .observe(begun.elapsed().as_secs_f64());
        Ok(Response::new(v1::SettleResponse { statuses }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let begun = Instant::now();
        let caller = self.caller(&request)?;
        let statuses = self
            .resolve(caller, request.into_inner().releases, Resolve::Release)
            .await?;
        self.metrics
            .settle_duration
            .observe(begun.elapsed().as_secs_f64());
        Ok(Response::new(v1::ReleaseResponse { statuses }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let caller = self.caller(&request)?;
        let (reservations, ttl_ms) = decode::renew(request.into_inner())?;
        for (workspace_id, _) in &reservations {
            caller.may(*workspace_id)?;
        }
        let answer = self
            .ledger
            .renew(&reservations, ttl_ms, clock::now_ms())
            .await
            .map_err(|e| status(&e))?;
        self.resolver.count(&answer);
        Ok(Response::new(v1::RenewResponse {
            statuses: encode::resolutions(&answer),
        }))
    }

    async fn report_usage(
        &self,
        request: Request<v1::ReportUsageRequest>,
    ) -> Result<Response<v1::ReportUsageResponse>, Status> {
        let begun = Instant::now();
        let caller = self.caller(&request)?;
        let answer = self.usage.clone().report(caller, request.into_inner()).await?;
        self.metrics
            .report_duration
            .observe(begun.elapsed().as_secs_f64());
        Ok(Response::new(answer))
    }

    async fn budget_status(
        &self,
        request: Request<v1::BudgetStatusRequest>,
    ) -> Result<Response<v1::BudgetStatusResponse>, Status> {
        let caller = self.caller(&request)?;
        self.statuses_of(request.into_inner(), caller)
            .await
            .map(Response::new)
    }

    async fn raise_spend(
        &self,
        request: Request<v1::RaiseSpendRequest>,
    ) -> Result<Response<v1::RaiseSpendResponse>, Status> {
        let caller = self.caller(&request)?;
        self.raise(request.into_inner(), caller).await.map(Response::new)
    }

    async fn reset(&self, request: Request<v1::ResetRequest>) -> Result<Response<v1::ResetResponse>, Status> {
        let caller = self.caller(&request)?;
        let v1::ResetRequest {
            workspace_id,
            quota_id,
            partition,
        } = request.into_inner();
        let workspace_id: WorkspaceId = decode::id(&workspace_id, "workspace_id")?;
        let quota_id: QuotaId = decode::id(&quota_id, "quota_id")?;
        caller.may(workspace_id)?;
        if partition.as_deref().is_some_and(|p| !is_partition(p)) {
            return Err(Status::invalid_argument(
                "partition: must be at most 200 bytes of [0-9A-Za-z._:-]",
            ));
        }
        let removed = self
            .ledger
            .reset(workspace_id, quota_id, partition.as_deref(), clock::now_ms())
            .await;
        let buckets_removed = removed.map_err(|e| status(&e))?;
        Ok(Response::new(v1::ResetResponse { buckets_removed }))
    }
}

/// The store's own text stays in the log.
pub(super) fn status(error: &LedgerError) -> Status {
    match error {
        LedgerError::Unavailable(_) | LedgerError::SpendUnknown => {
            Status::unavailable("the ledger is unavailable")
        }
        LedgerError::Invalid(reason) => Status::invalid_argument(*reason),
    }
}
