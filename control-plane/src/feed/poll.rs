//! `POST /v1/config:poll`: one poll, from its body to its answer.

use super::hub::{AuthError, Caller};
use super::inventory::Seen;
use super::{page, version};
use crate::entropy;
use crate::snapshot::row::Position;
use crate::snapshot::{Audience, Role};
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message as _;
use rateguard_wire::v1::{PollRequest, PollResponse};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Longest that an answer is held back.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// How long a replica that is behind the client's last answer may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(2);
const NODE_ID_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1_024;
const KEY_USES_MAX: usize = 1_000;
/// Changes that are more than this come as everything, in pages, where the client takes pages: they can be put in
/// force one after the other only together.
const DELTA_BYTES_MAX: usize = 256 * 1024;
const ONE_PIECE_BYTES_MAX: usize = 64 * 1024;

/// Why a poll is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PollError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("the body is not a rateguard.v1.PollRequest")]
    NotAPoll,
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the body is too large")]
    TooLarge,
}

impl IntoResponse for PollError {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Auth(AuthError::NotReady) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::Auth(AuthError::Unknown) => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::NotAPoll | Self::Invalid(_) => (StatusCode::BAD_REQUEST, "validation_error"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
        };
        let problem = serde_json::json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.to_string(),
        });
        let mut response = (status, problem.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// What a poll asks, checked.
struct Poll {
    caller: Caller,
    audience: Audience,
    /// What the client runs; empty before its first answer.
    version: String,
    deadline: Instant,
    /// How long the pages of a full answer may be; 0: it comes whole.
    page_bytes: u32,
    /// The page that is asked for; empty: none.
    page: String,
    /// The version of an answer that the client refused: only a later one is worth sending before the deadline.
    refused: Option<i64>,
}

pub(super) async fn poll(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match answer(&state, &headers, body).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a poll was refused");
            error.into_response()
        }
    }
}

async fn answer(
    state: &AppState,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, PollError> {
    let caller = state.feed.authenticate(headers).inspect_err(|error| {
        if *error == AuthError::Unknown {
            tracing::warn!("a poll came with a token that is missing, unknown or revoked");
        }
    })?;
    let body = body.map_err(|_| PollError::TooLarge)?;
    let request = PollRequest::decode(body).map_err(|_| PollError::NotAPoll)?;
    let poll = accept(state, caller, request)?;
    wait(state, poll).await
}

/// Checks a request and records what it reports.
fn accept(state: &AppState, caller: Caller, request: PollRequest) -> Result<Poll, PollError> {
    let role = Role::of(request.role()).ok_or(PollError::Invalid("role is missing"))?;
    let PollRequest {
        node_id,
        role: _,
        version,
        nonce,
        nack_reason,
        wait_ms,
        key_uses,
        software_version,
        page_bytes,
        page,
    } = request;
    if node_id.is_empty() || node_id.len() > NODE_ID_BYTES_MAX {
        return Err(PollError::Invalid("node_id must have 1 to 256 bytes"));
    }
    if version.len() > version::LEN_MAX
        || nonce.len() > TEXT_BYTES_MAX
        || software_version.len() > TEXT_BYTES_MAX
        || page.len() > page::LEN_MAX
    {
        return Err(PollError::Invalid(
            "version, nonce, page or software_version is too long",
        ));
    }
    if key_uses.len() > KEY_USES_MAX {
        return Err(PollError::Invalid("more than 1000 key_uses"));
    }
    let audience = caller.audience(role);
    let now_ms = state.clock.now_ms();
    let uses = key_uses
        .iter()
        .map(|key_use| Some((Uuid::from_slice(&key_use.key_id).ok()?, key_use.minute)))
        .collect::<Option<Vec<_>>>()
        .ok_or(PollError::Invalid("key_uses: a key_id is not 16 bytes"))?;
    state.feed.note_key_uses(audience, uses, now_ms);
    let nack_reason = (!nack_reason.is_empty()).then(|| cut(&nack_reason, TEXT_BYTES_MAX));
    if let Some(reason) = nack_reason {
        tracing::warn!(
            node.id = node_id,
            version,
            nonce,
            reason,
            "a data plane refused its configuration"
        );
    }
    state.feed.record(Seen {
        token_id: caller.token.id,
        role,
        node_id: &node_id,
        version: &version,
        software_version: &software_version,
        nack_reason,
        now: state.now(),
    });
    let wait = Duration::from_millis(wait_ms.into()).min(WAIT_MAX);
    Ok(Poll {
        caller,
        audience,
        version,
        deadline: Instant::now() + wait,
        page_bytes,
        page,
        refused: nack_reason.map(|_| refused_version(&nonce)),
    })
}

/// The longest start of a text that fits and ends between two characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// A nonce is the answer's version and randomness. One that we did not make refuses nothing in particular.
fn refused_version(nonce: &str) -> i64 {
    nonce
        .split_once('-')
        .and_then(|(version, _)| version.parse().ok())
        .unwrap_or(0)
}

fn new_nonce(state: &AppState, version: i64) -> String {
    let random = u64::from_be_bytes(entropy::random_bytes(state.entropy.as_ref()));
    format!("{version}-{random:016x}")
}

/// What can be told at this moment.
enum Telling {
    Everything,
    Changes {
        position: Position,
        bytes: Vec<u8>,
    },
    /// Nothing for this audience; the client may move to the position all the same.
    Nothing(Position),
    /// This replica is behind what the client runs.
    Behind,
    /// What the client has refused is still all there is to tell.
    Refused,
}

async fn wait(state: &AppState, poll: Poll) -> Result<Response, PollError> {
    let started = Instant::now();
    let mut positions = state.feed.subscribe();
    let mut shutdown = state.shutdown.clone();
    if !poll.page.is_empty() {
        state.feed.caller_of(poll.caller.sha256)?;
        return everything(state, &poll);
    }
    loop {
        positions.borrow_and_update();
        let caller = state.feed.caller_of(poll.caller.sha256)?;
        debug_assert_eq!(caller.token.id, poll.caller.token.id);
        let is_late = Instant::now() >= poll.deadline || *shutdown.borrow();
        let until = match tell(state, &poll)? {
            Telling::Changes { bytes, .. } if poll.page_bytes > 0 && bytes.len() > DELTA_BYTES_MAX => {
                return everything(state, &poll);
            }
            Telling::Changes { position, bytes } => return Ok(respond(state, &poll, position, bytes)),
            Telling::Everything => return everything(state, &poll),
            Telling::Nothing(position) if is_late => return Ok(respond(state, &poll, position, Vec::new())),
            Telling::Refused if is_late => return resend(state, &poll),
            Telling::Behind if is_late || started.elapsed() >= CATCH_UP => return everything(state, &poll),
            Telling::Behind => poll.deadline.min(started + CATCH_UP),
            Telling::Nothing(_) | Telling::Refused => poll.deadline,
        };
        tokio::select! {
            _ = positions.changed() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

fn tell(state: &AppState, poll: &Poll) -> Result<Telling, PollError> {
    let telling = state.feed.read(|image| {
        let position = image.position();
        // What was refused for what it left out is worth another try once the operator has said that all is well.
        let may_shrink = state.feed.may_shrink(state.clock.now_ms());
        let refused = poll.refused.filter(|refused| *refused > 0 && !may_shrink);
        if refused.is_some_and(|refused| refused >= position.version) {
            return Telling::Refused;
        }
        let Some(number) = version::number(&poll.version, position.epoch, poll.audience) else {
            return Telling::Everything;
        };
        if number > position.version {
            return Telling::Behind;
        }
        if !image.reaches_back_to(number) {
            return Telling::Everything;
        }
        // Refused before: nothing new for this audience since then is no reason to send the same again.
        if refused.is_some_and(|refused| image.since(poll.audience, refused).count == 0) {
            return Telling::Refused;
        }
        let fragments = image.since(poll.audience, number);
        if fragments.count == 0 {
            Telling::Nothing(position)
        } else {
            let bytes = fragments.bytes;
            Telling::Changes { position, bytes }
        }
    });
    telling.ok_or(PollError::Auth(AuthError::NotReady))
}

/// At the deadline a refused answer is offered once more: what it was refused for may be over.
fn resend(state: &AppState, poll: &Poll) -> Result<Response, PollError> {
    let changes = state.feed.read(|image| {
        let position = image.position();
        let number = version::number(&poll.version, position.epoch, poll.audience)?;
        let is_known = image.reaches_back_to(number);
        is_known.then(|| (position, image.since(poll.audience, number).bytes))
    });
    match changes.flatten() {
        Some((position, bytes)) => Ok(respond(state, poll, position, bytes)),
        None => everything(state, poll),
    }
}

fn respond(state: &AppState, poll: &Poll, position: Position, changes: Vec<u8>) -> Response {
    protobuf(encode(&head(state, poll, position)), Bytes::from(changes))
}

fn everything(state: &AppState, poll: &Poll) -> Result<Response, PollError> {
    let not_ready = PollError::Auth(AuthError::NotReady);
    let may_shrink = state.feed.may_shrink(state.clock.now_ms());
    if poll.page_bytes == 0 {
        let (position, bytes) = state.feed.everything(poll.audience).ok_or(not_ready)?;
        let head = PollResponse {
            full: true,
            may_shrink,
            ..head(state, poll, position)
        };
        return Ok(protobuf(encode(&head), bytes));
    }
    let page = state.feed.read(|image| {
        let known = version::number(&poll.version, image.position().epoch, poll.audience);
        page::page(image, poll.audience, &poll.page, poll.page_bytes, known)
    });
    let page = page.ok_or(not_ready)?;
    let head = PollResponse {
        full: true,
        may_shrink,
        page: if page.continues {
            poll.page.clone()
        } else {
            String::new()
        },
        next_page: page.next,
        ..head(state, poll, page.position)
    };
    Ok(protobuf(encode(&head), Bytes::from(page.fragments.bytes)))
}

/// What is this answer's own.
fn head(state: &AppState, poll: &Poll, position: Position) -> PollResponse {
    PollResponse {
        version: version::format(position, poll.audience),
        nonce: new_nonce(state, position.version),
        now_ms: state.clock.now_ms(),
        has_ledger: state.analytics.is_some(),
        ..PollResponse::default()
    }
}

/// It goes before the shared part, and protobuf merges the two.
fn encode(head: &PollResponse) -> Bytes {
    Bytes::from(head.encode_to_vec())
}

fn protobuf(head: Bytes, rest: Bytes) -> Response {
    let length = head.len() + rest.len();
    // Small answers leave in one piece; large ones are not copied, since every client may want one at the same time.
    let body = if length <= ONE_PIECE_BYTES_MAX {
        Body::from([head, rest].concat())
    } else {
        Body::from_stream(stream::iter([Ok::<_, Infallible>(head), Ok(rest)]))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
