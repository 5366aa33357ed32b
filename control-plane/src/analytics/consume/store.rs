//! Inserts a batch, however long that takes.

use super::Context;
use super::batch::letter;
use crate::analytics::row::{ApiEvent, INSERT_SETTINGS, TABLE};
use crate::analytics::source::{DeadLetter, Hold, Offset};
use clickhouse::error::Error;
use std::time::Duration;
use tokio::sync::watch;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a slow server needs with every view; a repetition under the same token is harmless.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Tries of rows that the server calls wrong before it is asked which of them (EV-12).
const POISON_TRIES: u32 = 3;

/// The lane's partition is gone, or must be given back now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Waits a little longer each time.
#[derive(Debug, Default)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// [`Gone`] as soon as the lane should not go on trying.
    pub(super) async fn wait(&mut self, hold: &mut watch::Receiver<Hold>) -> Result<(), Gone> {
        self.0 = (self.0 * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let changed = hold.wait_for(|hold| *hold != Hold::Keep);
        match tokio::time::timeout(self.0, changed).await {
            Err(_) => Ok(()),
            Ok(_) => Err(Gone),
        }
    }
}

/// Stores all rows but those that ClickHouse itself refuses, which come back as dead letters. On [`Gone`] some may be
/// stored; who reads them next finds them.
pub(super) async fn store(
    context: &Context,
    lane: &str,
    token: &str,
    rows: &[ApiEvent],
    hold: &mut watch::Receiver<Hold>,
) -> Result<Vec<DeadLetter>, Gone> {
    let mut dead = Vec::new();
    let mut parts = vec![(token.to_owned(), rows)];
    while let Some((token, rows)) = parts.pop() {
        let Err(reason) = store_part(context, lane, &token, rows, hold).await? else {
            continue;
        };
        match rows {
            [row] => dead.push(letter(
                lane,
                Offset(0, 0),
                reason,
                format!("{row:?}").into_bytes(),
            )),
            rows => {
                let (left, right) = rows.split_at(rows.len() / 2);
                parts.push((format!("{token}r"), right));
                parts.push((format!("{token}l"), left));
            }
        }
    }
    Ok(dead)
}

/// `Ok(Err(reason))` when the server refuses these rows for what they hold.
async fn store_part(
    context: &Context,
    lane: &str,
    token: &str,
    rows: &[ApiEvent],
    hold: &mut watch::Receiver<Hold>,
) -> Result<Result<(), String>, Gone> {
    let mut backoff = Backoff::default();
    let mut refusals = 0;
    loop {
        if rows.is_empty() {
            return Ok(Ok(()));
        }
        let error = match insert(context, token, rows).await {
            Ok(()) => {
                context.metrics.inserted(rows.len(), context.clock.now_ms());
                return Ok(Ok(()));
            }
            Err(error) => error,
        };
        context.metrics.failed();
        tracing::warn!(partition = lane, rows = rows.len(), %error, "clickhouse did not take a batch");
        if is_about_the_rows(&error) {
            refusals += 1;
            if refusals == POISON_TRIES {
                return Ok(Err(error.to_string()));
            }
        }
        backoff.wait(hold).await?;
    }
}

async fn insert(context: &Context, token: &str, rows: &[ApiEvent]) -> Result<(), Error> {
    let mut insert = context.endpoint.client().insert::<ApiEvent>(TABLE).await?;
    for (name, value) in INSERT_SETTINGS {
        insert = insert.with_setting(name, value);
    }
    insert = insert
        .with_setting("insert_deduplication_token", token)
        .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
    for row in rows {
        insert.write(row).await?;
    }
    insert.end().await
}

/// Whether the server says that the rows are wrong: everything else may pass by itself or by an operator's hand.
fn is_about_the_rows(error: &Error) -> bool {
    /// What a value can be refused for: `CANNOT_PARSE_…`, `ARGUMENT_OUT_OF_BOUND`, `INCORRECT_DATA`,
    /// `TOO_LARGE_STRING_SIZE`, `UNKNOWN_ELEMENT_OF_ENUM`, `VALUE_IS_OUT_OF_RANGE…`. Not `CANNOT_READ_ALL_DATA`: that is
    /// what a body says that was cut off on its way.
    const CODES: [u32; 11] = [6, 26, 27, 38, 41, 69, 72, 117, 131, 321, 691];
    let Error::BadResponse(text) = error else {
        return false;
    };
    text.split_once("Code: ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .is_some_and(|code: u32| CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ev_12_only_what_a_row_can_be_blamed_for_is_poison() {
        let said = |text: &str| is_about_the_rows(&Error::BadResponse(text.into()));
        assert!(said("Code: 117. DB::Exception: Incorrect data"));
        for passing in [
            "Code: 60. DB::Exception: Table api_events does not exist",
            "Code: 252. DB::Exception: Too many parts",
            "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space",
            "Code: 241. DB::Exception: Memory limit exceeded",
            "Code: 33. DB::Exception: Cannot read all data",
            "Code: 1170. DB::Exception",
            "502 Bad Gateway",
        ] {
            assert!(!said(passing), "{passing}");
        }
        assert!(!is_about_the_rows(&Error::TimedOut));
    }
}
