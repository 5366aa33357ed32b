//! The topic of what can never be stored. Nothing is connected before there is a first letter.

use super::failed;
use crate::analytics::source::{DeadLetter, SourceError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long the brokers may take for a letter or its topic.
const DEAD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct DeadLetters {
    config: ClientConfig,
    topic: String,
    producer: OnceCell<FutureProducer>,
}

impl DeadLetters {
    /// `config` names the brokers.
    pub(super) fn new(config: ClientConfig, topic: String) -> Self {
        Self {
            config,
            topic,
            producer: OnceCell::new(),
        }
    }

    /// Succeeds when the brokers have all of them.
    pub(super) async fn keep(&self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        let producer = self
            .producer
            .get_or_try_init(|| self.open())
            .await
            .map_err(failed)?;
        for letter in letters {
            let header = |key, value| Header {
                key,
                value: Some(value),
            };
            let headers = OwnedHeaders::new()
                .insert(header("origin", letter.origin.as_str()))
                .insert(header("reason", letter.reason.as_str()));
            let record = FutureRecord::<(), _>::to(&self.topic)
                .payload(letter.payload.as_slice())
                .headers(headers);
            producer
                .send(record, Timeout::After(DEAD_TIMEOUT))
                .await
                .map_err(|(error, _)| failed(error))?;
        }
        Ok(())
    }

    /// Makes the topic where it is missing.
    async fn open(&self) -> Result<FutureProducer, KafkaError> {
        let admin: AdminClient<DefaultClientContext> = AdminClient::from_config(&self.config)?;
        let topic = NewTopic::new(&self.topic, 1, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().request_timeout(Some(DEAD_TIMEOUT));
        let answer = admin.create_topics([&topic], &options).await?;
        match answer.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            Some(Err((_, code))) => return Err(KafkaError::AdminOp(code)),
            None => return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage)),
        }
        let mut config = self.config.clone();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "5000");
        FutureProducer::from_config(&config)
    }
}
