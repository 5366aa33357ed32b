//! Pages of lists: `limit`, an opaque `cursor`, and each list's own filters.

use super::error::ApiError;
use crate::db::page::{Page, Position};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rateguard_api::list::List;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;
use uuid::Uuid;

const LIMIT_MAX: u32 = 200;
const LIMIT_DEFAULT: u32 = 50;

/// The parameters of every list, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `Paged` reads")]
pub(super) struct Paging {
    /// Entries on the page.
    #[param(minimum = 1, maximum = 200, default = 50, required = false)]
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Of lists without filters.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFilter {}

/// Which page of a list, and which of its entries.
pub(super) struct Paged<F> {
    pub page: Page,
    pub filter: F,
}

impl<F: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Paged<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut page = Page {
            limit: LIMIT_DEFAULT,
            after: None,
        };
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "limit" => page.limit = limit(&value)?,
                "cursor" => page.after = Some(read(&value)?),
                _ => {
                    rest.append_pair(&name, &value);
                }
            }
        }
        let rest = rest.finish();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(rest.as_bytes()));
        let filter = serde_path_to_error::deserialize(pairs)
            .map_err(|error| ApiError::invalid(error.path().to_string(), error.inner().to_string()))?;
        Ok(Self { page, filter })
    }
}

fn limit(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| ApiError::invalid("limit", "must be 1 to 200"))
}

/// Microseconds since 1970 and the id.
fn show(position: Position) -> String {
    let mut bytes = position.at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(position.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(text: &str) -> Result<Position, ApiError> {
    parse(text).ok_or_else(|| ApiError::invalid("cursor", "must be the `nextCursor` of a page before"))
}

fn parse(text: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    // Postgres keeps less than chrono does.
    (0..=9999).contains(&chrono::Datelike::year(&at)).then_some(())?;
    Some(Position {
        at,
        id: Uuid::from_slice(id).ok()?,
    })
}

/// The answer: what was read less the one row that tells whether there are more.
pub(super) fn list<R, T>(
    rows: &[R],
    page: &Page,
    position: impl Fn(&R) -> (DateTime<Utc>, Uuid),
    shown: impl Fn(&R) -> T,
) -> List<T> {
    let limit = page.limit as usize;
    let on_page = rows.get(..limit).unwrap_or(rows);
    let next_cursor = on_page
        .last()
        .filter(|_| rows.len() > limit)
        .map(&position)
        .map(|(at, id)| show(Position { at, id }));
    List {
        data: on_page.iter().map(shown).collect(),
        next_cursor,
    }
}

/// The id of a filter.
pub(super) fn id(field: &str, text: Option<&str>) -> Result<Option<Uuid>, ApiError> {
    text.map(|text| Uuid::try_parse(text).map_err(|_| ApiError::invalid(field, "must be an id")))
        .transpose()
}

/// The instant of a filter.
pub(super) fn instant(field: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let parse = |text: &str| {
        DateTime::parse_from_rfc3339(text)
            .map(|at| at.with_timezone(&Utc))
            .ok()
            .filter(|at| (0..=9999).contains(&chrono::Datelike::year(at)))
            .ok_or_else(|| ApiError::invalid(field, "must be an RFC 3339 time, e.g. 2030-01-31T00:00:00Z"))
    };
    text.map(parse).transpose()
}

/// Text of a filter: Postgres cannot hold NUL.
pub(super) fn text(field: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.contains('\0') || text.len() > 200 => {
            Err(ApiError::invalid(field, "must be at most 200 bytes of text"))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_others_are_refused() {
        let position = Position {
            at: DateTime::from_timestamp_micros(1_781_524_800_123_456).unwrap(),
            id: Uuid::from_u128(7),
        };
        assert_eq!(parse(&show(position)), Some(position));
        for bad in ["", "x", "AAAA", "====", &format!("{}A", show(position)), "\0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(
            parse(&URL_SAFE_NO_PAD.encode([0xff; 24])).map(|p| p.id),
            Some(Uuid::max())
        );
        let mut far = i64::MAX.to_be_bytes().to_vec();
        far.extend([0; 16]);
        assert_eq!(parse(&URL_SAFE_NO_PAD.encode(far)), None);
    }
}
