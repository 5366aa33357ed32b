//! Asks the control plane what the ledger of events says: `POST /v1/spend:query`.

use crate::config::{Config, Secret};
use prost::Message as _;
use rateguard_wire::v1::{SpendAnswer, SpendQuery};
use std::time::Duration;

const CONTENT_TYPE: &str = "application/x-protobuf";

/// An answer holds a number per window.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SpendError {
    #[error("the control plane cannot be reached")]
    Transport(#[from] reqwest::Error),
    #[error("the control plane answered {0}")]
    Status(u16),
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer cannot be decoded")]
    Decode(#[from] prost::DecodeError),
}

pub struct SpendSource {
    client: reqwest::Client,
    url: String,
    token: Secret,
}

impl SpendSource {
    /// `None` when no control plane is configured.
    pub fn new(config: &Config) -> Result<Option<Self>, reqwest::Error> {
        let Some(origin) = &config.control_plane_url else {
            return Ok(None);
        };
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .timeout(TIMEOUT)
            // The token goes to the configured origin and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Some(Self {
            client,
            url: format!("{origin}/v1/spend:query"),
            token: config.data_plane_token.clone(),
        }))
    }

    pub(super) async fn ask(&self, query: &SpendQuery) -> Result<SpendAnswer, SpendError> {
        let mut response = self
            .client
            .post(&self.url)
            .bearer_auth(self.token.expose())
            .header("content-type", CONTENT_TYPE)
            .body(query.encode_to_vec())
            .send()
            .await?;
        if response.status().as_u16() != 200 {
            return Err(SpendError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(SpendError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(SpendAnswer::decode(body.as_slice())?)
    }
}
