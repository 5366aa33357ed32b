//! How fast passwords may be tried: without letting anybody lock somebody else out (AU-12).
//!
//! Three bounds, each counted before the password is looked at and taken back when it was right:
//!
//! - **per network** (IPv4 address, IPv6 /64), over all accounts: a bucket in this process's memory, so each replica has
//!   its own. It is what stops spraying, and keeps a flood away from Postgres and bcrypt.
//! - **per account and origin**, in Postgres: five attempts, then a delay that doubles up to 15 minutes. The origin is
//!   the network, or the browser's own former session: a neighbour behind the same address cannot use up its attempts.
//! - **per account over all unknown origins**, in Postgres: what many addresses together may try. A browser that has
//!   been signed in, and a network from which the account signed in within 30 days, are known and not bound by it.
//!
//! An address without an account is counted like one with: refusals do not tell them apart.

use super::refresh;
use crate::db::login_failure::{self, Failures};
use crate::db::{DbError, session, transaction};
use crate::http::client::{self, Client};
use crate::http::error::ApiError;
use crate::pace::Pace;
use crate::state::AppState;
use chrono::{DateTime, TimeDelta, Utc};
use rateguard_model::digest::Digest;
use std::net::{IpAddr, Ipv6Addr};
use uuid::Uuid;

/// Attempts that a network has at once.
const NETWORK_BURST: i64 = 60;
/// After those, one in this time.
const NETWORK_REFILL_MS: i64 = 3_000;
/// Networks remembered; those that are back at full are forgotten first.
const NETWORKS_MAX: usize = 100_000;

/// Failures are forgotten after this long without another.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(1);
/// A network that the account signed in from within this is known.
const KNOWN_FOR: TimeDelta = TimeDelta::days(30);
const ALL_UNKNOWN: &str = "*";

/// How a bound grows: free attempts, then a delay that doubles from the first to the last.
struct Bound {
    free: i32,
    delay_first_ms: i64,
    delay_last_ms: i64,
}

const PER_ORIGIN: Bound = Bound {
    free: 5,
    delay_first_ms: 1_000,
    delay_last_ms: 15 * 60 * 1_000,
};
const OVER_UNKNOWN: Bound = Bound {
    free: 50,
    delay_first_ms: 10_000,
    delay_last_ms: 60_000,
};

impl Bound {
    /// How long an attempt has to wait, in milliseconds; 0 is not at all.
    fn wait_ms(&self, failures: Failures, now: DateTime<Utc>) -> i64 {
        let since_ms = (now - failures.last_at).num_milliseconds();
        if failures.count < self.free || since_ms >= FORGOTTEN_AFTER.num_milliseconds() {
            return 0;
        }
        let doublings = (failures.count - self.free).clamp(0, 20);
        let delay_ms = (self.delay_first_ms << doublings).min(self.delay_last_ms);
        (delay_ms - since_ms).max(0)
    }
}

/// The failures after one more.
fn counted(failures: Failures, now: DateTime<Utc>) -> Failures {
    let old = now - failures.last_at >= FORGOTTEN_AFTER;
    Failures {
        count: if old { 1 } else { failures.count.saturating_add(1) },
        last_at: now,
    }
}

/// What networks may try.
pub struct Throttle {
    networks: Pace<IpAddr>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            networks: Pace::new(NETWORK_BURST, NETWORK_REFILL_MS, NETWORKS_MAX),
        }
    }
}

fn network_of(client: &Client) -> IpAddr {
    client.network().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// 429 if this network tries too much: for what costs a hash and has no account yet.
pub fn admit_network(state: &AppState, client: &Client) -> Result<(), ApiError> {
    let taken = state
        .auth
        .throttle
        .networks
        .take(network_of(client), state.clock.now_ms());
    taken.map_err(ApiError::too_many)
}

/// An attempt that was counted as a failure; say how it ended.
pub struct Attempt {
    account: Digest,
    origin: String,
    known: bool,
    network: IpAddr,
}

/// Counts an attempt on an account, or refuses it with 429. `user_id` is the account's, if there is one; `cookie` the
/// refresh token that came along.
pub async fn admit(
    state: &AppState,
    email: &str,
    user_id: Option<Uuid>,
    cookie: Option<&str>,
    client: &Client,
) -> Result<Attempt, ApiError> {
    admit_network(state, client)?;
    let network = network_of(client);
    let account = Digest::of(email.trim().to_lowercase().as_bytes());
    let (origin, known) = origin(state, user_id, cookie, network).await?;
    let attempt = Attempt {
        account,
        origin,
        known,
        network,
    };
    let now = state.now();
    let mut tx = transaction::begin(&state.db).await?;
    let mut bounds = vec![(attempt.origin.as_str(), PER_ORIGIN)];
    if !known {
        bounds.push((ALL_UNKNOWN, OVER_UNKNOWN));
    }
    let mut wait_ms = 0;
    for (origin, bound) in bounds {
        let failures = login_failure::lock(&mut tx, account.as_bytes(), origin, now).await?;
        wait_ms = wait_ms.max(bound.wait_ms(failures, now));
        login_failure::set(&mut tx, account.as_bytes(), origin, counted(failures, now)).await?;
    }
    if wait_ms > 0 {
        return Err(ApiError::too_many(wait_ms));
    }
    tx.commit().await?;
    Ok(attempt)
}

impl Attempt {
    /// The password was right.
    pub async fn succeeded(self, state: &AppState) -> Result<(), DbError> {
        login_failure::clear(&state.db, self.account.as_bytes(), &self.origin).await?;
        self.give_back_shared(state).await
    }

    /// The password was not looked at.
    pub async fn was_none(self, state: &AppState) -> Result<(), DbError> {
        login_failure::take_back(&state.db, self.account.as_bytes(), &self.origin).await?;
        self.give_back_shared(state).await
    }

    async fn give_back_shared(&self, state: &AppState) -> Result<(), DbError> {
        state.auth.throttle.networks.give_back(&self.network);
        if !self.known {
            login_failure::take_back(&state.db, self.account.as_bytes(), ALL_UNKNOWN).await?;
        }
        Ok(())
    }
}

/// Where an attempt is counted, and whether the account knows that place.
async fn origin(
    state: &AppState,
    user_id: Option<Uuid>,
    cookie: Option<&str>,
    network: IpAddr,
) -> Result<(String, bool), DbError> {
    let by_network = format!("ip:{network}");
    // Nobody's address costs the same queries as somebody's.
    let user_id = user_id.unwrap_or_default();
    if let Some(presented) = cookie
        && let Some(session_id) = refresh::session_of(presented)
        && let Some(found) = session::by_id(&state.db, session_id).await?
        && found.user_id == user_id
        && refresh::is_of(&found, Digest::of(presented.as_bytes()))
    {
        return Ok((format!("session:{session_id}"), true));
    }
    let since = state.now() - KNOWN_FOR;
    let addresses = session::addresses_of_user(&state.db, user_id, since).await?;
    let known = addresses
        .iter()
        .filter_map(|text| text.parse().ok())
        .any(|ip| client::network(ip) == network);
    Ok((by_network, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn failures(count: i32) -> Failures {
        Failures {
            count,
            last_at: at(0),
        }
    }

    #[test]
    fn au_12_the_delay_doubles_up_to_its_end_and_is_forgotten() {
        for (count, now_ms, expected) in [
            (0, 0, 0),
            (4, 0, 0),
            (5, 0, 1_000),
            (5, 400, 600),
            (5, 1_000, 0),
            (6, 0, 2_000),
            (10, 0, 32_000),
            (15, 0, 900_000),
            (i32::MAX, 0, 900_000),
            (i32::MAX, 3_600_000, 0),
        ] {
            assert_eq!(
                PER_ORIGIN.wait_ms(failures(count), at(now_ms)),
                expected,
                "{count} at {now_ms}"
            );
        }
        assert_eq!(counted(failures(7), at(10)).count, 8);
        assert_eq!(counted(failures(7), at(3_600_000)).count, 1);
    }

    #[test]
    fn au_12_a_network_has_a_burst_and_a_pace() {
        let networks = Throttle::default().networks;
        let [here, there]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        for _ in 0..NETWORK_BURST {
            assert_eq!(networks.take(here, 0), Ok(()));
        }
        assert_eq!(networks.take(here, 0), Err(NETWORK_REFILL_MS));
        assert_eq!(networks.take(there, 0), Ok(()));
    }
}
