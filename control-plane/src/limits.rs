//! The limit service's client: what budgets have spent, and the reset of a rule.

use crate::config::Limits;
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use rateguard_wire::v1::{
    BudgetState, BudgetStatusRequest, RaiseSpendRequest, RaisedBudget, ResetRequest, SpentBudget,
};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the limit service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    #[error("LIMITS_URL is not set")]
    NotConfigured,
    #[error("the limit service refused or did not answer")]
    Call(#[source] Box<tonic::Status>),
}

/// Cheap to clone. Connects when first used and again when the connection breaks.
#[derive(Clone)]
pub struct LimitsClient {
    client: Option<LimitServiceClient<Channel>>,
    health: Option<HealthClient<Channel>>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl LimitsClient {
    /// Must be called on a Tokio runtime. A URL that [`Limits`] took and tonic does not counts as none.
    pub fn new(limits: &Limits) -> Self {
        let endpoint = limits.url.clone().and_then(|url| Endpoint::from_shared(url).ok());
        let channel = endpoint.map(|e| {
            e.connect_timeout(CONNECT_TIMEOUT)
                .timeout(CALL_TIMEOUT)
                .connect_lazy()
        });
        let authorization = limits.token.as_ref().and_then(|token| {
            let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose()).parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            client: channel.clone().map(LimitServiceClient::new),
            health: channel.map(HealthClient::new),
            authorization,
        }
    }

    /// Whether `LIMITS_URL` is set.
    pub fn is_configured(&self) -> bool {
        self.client.is_some()
    }

    /// Whether the service says that it serves (gRPC health; needs no token).
    pub async fn is_serving(&self) -> Result<bool, LimitsError> {
        let mut health = self.health.clone().ok_or(LimitsError::NotConfigured)?;
        let response = health
            .check(HealthCheckRequest::default())
            .await
            .map_err(call_error)?;
        Ok(response.into_inner().status() == ServingStatus::Serving)
    }

    /// What the budgets of a workspace have spent and hold. One that the service has not been fed yet is absent.
    pub async fn budget_status(&self, workspace_id: Uuid) -> Result<Vec<BudgetState>, LimitsError> {
        let request = BudgetStatusRequest {
            workspace_id: workspace_id.as_bytes().to_vec(),
            budget_ids: Vec::new(),
        };
        let mut client = self.client()?;
        let response = client
            .budget_status(self.request(request))
            .await
            .map_err(call_error)?;
        Ok(response.into_inner().budgets)
    }

    /// The same while the service has its store; `None` while it has not, or tells what it heard last.
    pub async fn undegraded_status(
        &self,
        workspace_id: Uuid,
    ) -> Result<Option<Vec<BudgetState>>, LimitsError> {
        let request = BudgetStatusRequest {
            workspace_id: workspace_id.as_bytes().to_vec(),
            budget_ids: Vec::new(),
        };
        let mut client = self.client()?;
        let response = client
            .budget_status(self.request(request))
            .await
            .map_err(call_error)?
            .into_inner();
        Ok((!response.degraded).then_some(response.budgets))
    }

    /// Raises what budgets have spent, and never lowers it; gives those that were raised.
    pub async fn raise_spend(
        &self,
        workspace_id: Uuid,
        budgets: Vec<SpentBudget>,
    ) -> Result<Vec<RaisedBudget>, LimitsError> {
        let request = RaiseSpendRequest {
            workspace_id: workspace_id.as_bytes().to_vec(),
            budgets,
        };
        let mut client = self.client()?;
        let response = client
            .raise_spend(self.request(request))
            .await
            .map_err(call_error)?;
        Ok(response.into_inner().budgets)
    }

    /// Empties the buckets of a rule, of everybody or of one partition; gives how many there were.
    pub async fn reset(
        &self,
        workspace_id: Uuid,
        rule_id: Uuid,
        partition: Option<String>,
    ) -> Result<u32, LimitsError> {
        let request = ResetRequest {
            workspace_id: workspace_id.as_bytes().to_vec(),
            quota_id: rule_id.as_bytes().to_vec(),
            partition,
        };
        let mut client = self.client()?;
        let response = client.reset(self.request(request)).await.map_err(call_error)?;
        Ok(response.into_inner().buckets_removed)
    }

    fn client(&self) -> Result<LimitServiceClient<Channel>, LimitsError> {
        self.client.clone().ok_or(LimitsError::NotConfigured)
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        rateguard_telemetry::pass_on(request.metadata_mut().as_mut());
        if let Some(authorization) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        request
    }
}

fn call_error(status: tonic::Status) -> LimitsError {
    LimitsError::Call(Box::new(status))
}
