//! One stream, read by its owner.

use super::failed;
use crate::analytics::source::{DeadLetter, Hold, Lag, Lane, Message, Offset, Payload, Share, SourceError};
use rateguard_wire::bus;
use redis::aio::ConnectionManager;
use redis::{RedisError, Value, from_redis_value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Entries per reading: each holds up to a hundred events.
const ENTRIES_MAX: usize = 50;

/// Pauses between readings while nothing comes, doubled from the first to the second.
const IDLE_MIN: Duration = Duration::from_millis(20);
const IDLE_MAX: Duration = Duration::from_millis(200);

/// Dead letters are for people to look at: the oldest go when there are more.
const DEAD_MAX: usize = 10_000;

pub struct RedisLane {
    connection: ConnectionManager,
    number: u8,
    stream: String,
    name: Arc<str>,
    consumer: String,
    hold: watch::Receiver<Hold>,
    stage: Stage,
    idle: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The group may not exist.
    New,
    /// What the predecessor left, from this id on.
    Claiming(String),
    Reading,
}

/// What XAUTOCLAIM and XREADGROUP answer per entry: its id, and names and values; nothing for one that was deleted.
type Entry = (String, Option<Vec<Vec<u8>>>);

impl RedisLane {
    pub(super) fn new(
        connection: ConnectionManager,
        number: u8,
        consumer: &str,
        hold: watch::Receiver<Hold>,
    ) -> Self {
        Self {
            connection,
            number,
            stream: bus::stream(number),
            name: format!("events-{number}").into(),
            consumer: consumer.to_owned(),
            hold,
            stage: Stage::New,
            idle: IDLE_MIN,
        }
    }

    async fn make_group(&mut self) -> Result<(), RedisError> {
        let made = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&self.stream)
            .arg(bus::GROUP)
            .arg("0")
            .arg("MKSTREAM")
            .query_async::<()>(&mut self.connection)
            .await;
        match made {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made,
        }
    }

    /// Entries that were read and not acknowledged, whoever read them: the stream is ours alone.
    async fn claim(&mut self, from: &str) -> Result<(String, Vec<Entry>), RedisError> {
        let answer: (String, Vec<Entry>, Value) = redis::cmd("XAUTOCLAIM")
            .arg(&self.stream)
            .arg(bus::GROUP)
            .arg(&self.consumer)
            .arg(0)
            .arg(from)
            .arg("COUNT")
            .arg(ENTRIES_MAX)
            .query_async(&mut self.connection)
            .await?;
        Ok((answer.0, answer.1))
    }

    async fn next(&mut self) -> Result<Vec<Entry>, RedisError> {
        let answer: Value = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg(bus::GROUP)
            .arg(&self.consumer)
            .arg("COUNT")
            .arg(ENTRIES_MAX)
            .arg("STREAMS")
            .arg(&self.stream)
            .arg(">")
            .query_async(&mut self.connection)
            .await?;
        if answer == Value::Nil {
            return Ok(Vec::new());
        }
        let streams: Vec<(String, Vec<Entry>)> = from_redis_value(answer)?;
        Ok(streams.into_iter().flat_map(|(_, entries)| entries).collect())
    }

    async fn entries(&mut self) -> Result<Vec<Entry>, RedisError> {
        if self.stage == Stage::New {
            self.make_group().await?;
            self.stage = Stage::Claiming("0-0".into());
        }
        if let Stage::Claiming(from) = self.stage.clone() {
            let (next, entries) = self.claim(&from).await?;
            self.stage = if next == "0-0" {
                Stage::Reading
            } else {
                Stage::Claiming(next)
            };
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.next().await
    }
}

impl Lane for RedisLane {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn hold(&self) -> watch::Receiver<Hold> {
        self.hold.clone()
    }

    fn share(&self) -> Share {
        Share::Residue {
            modulus: bus::STREAM_COUNT,
            remainder: self.number,
        }
    }

    async fn read(&mut self) -> Result<Vec<Message>, SourceError> {
        let entries = match self.entries().await {
            Ok(entries) => entries,
            Err(error) => {
                // Somebody emptied Redis and the group with it, or a command's answer was lost on its way: what was
                // read then is claimed.
                self.stage = Stage::New;
                return Err(failed(error));
            }
        };
        let messages: Vec<Message> = entries.into_iter().filter_map(message).collect();
        if messages.is_empty() {
            tokio::time::sleep(self.idle).await;
            self.idle = (self.idle * 2).min(IDLE_MAX);
        } else {
            self.idle = IDLE_MIN;
        }
        Ok(messages)
    }

    async fn acknowledge(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        let ids: Vec<String> = offsets.iter().map(Offset::to_string).collect();
        redis::pipe()
            .atomic()
            .cmd("XACK")
            .arg(&self.stream)
            .arg(bus::GROUP)
            .arg(&ids)
            .ignore()
            .cmd("XDEL")
            .arg(&self.stream)
            .arg(&ids)
            .ignore()
            .query_async(&mut self.connection)
            .await
            .map_err(failed)
    }

    async fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        let mut pipe = redis::pipe();
        for letter in letters {
            pipe.cmd("XADD")
                .arg(bus::DEAD_STREAM)
                .arg("MAXLEN")
                .arg("~")
                .arg(DEAD_MAX)
                .arg("*")
                .arg("origin")
                .arg(&letter.origin)
                .arg("reason")
                .arg(&letter.reason)
                .arg(bus::STREAM_FIELD)
                .arg(letter.payload.as_slice())
                .ignore();
        }
        pipe.query_async(&mut self.connection).await.map_err(failed)
    }

    async fn lag(&mut self, now_ms: i64) -> Result<Lag, SourceError> {
        let (messages, oldest): (u64, Vec<Entry>) = redis::pipe()
            .cmd("XLEN")
            .arg(&self.stream)
            .cmd("XRANGE")
            .arg(&self.stream)
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut self.connection)
            .await
            .map_err(failed)?;
        let oldest = oldest.first().and_then(|(id, _)| offset(id));
        let age_ms = oldest.map_or(0, |Offset(at_ms, _)| {
            u64::try_from(now_ms).unwrap_or(0).saturating_sub(at_ms)
        });
        Ok(Lag { messages, age_ms })
    }
}

fn message((id, fields): Entry) -> Option<Message> {
    let offset = offset(&id)?;
    let fields = fields?;
    let mut pairs = fields.chunks_exact(2);
    let payload = pairs.find_map(|pair| match pair {
        [name, value] if name == bus::STREAM_FIELD.as_bytes() => Some(value.clone()),
        _ => None,
    });
    Some(Message {
        offset,
        received_at_ms: i64::try_from(offset.0).unwrap_or(i64::MAX),
        // Somebody else's entry: what it has cannot be read, and is kept as it is.
        payload: Payload::Report(payload.unwrap_or_else(|| fields.join(&0xff))),
    })
}

fn offset(id: &str) -> Option<Offset> {
    let (at_ms, sequence) = id.split_once('-')?;
    Some(Offset(at_ms.parse().ok()?, sequence.parse().ok()?))
}
