//! Full answers in pages, so that no client has to take a hundred thousand keys at once.
//!
//! A page's token says which version the first page was of and where this one begins: any replica that has that version
//! can serve it. The client puts the pages in force together, under the first one's version, and asks from there.

use super::version;
use crate::snapshot::image::{Fragments, ResourceId};
use crate::snapshot::row::Position;
use crate::snapshot::{Audience, Image};
use rateguard_wire::v1::ResourceType;
use uuid::Uuid;

/// Longest token that a client may present, in bytes.
pub(super) const LEN_MAX: usize = 128;
const BYTES_MIN: usize = 16 * 1024;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A page of a full answer.
pub(super) struct Page {
    /// Of the first page.
    pub(super) position: Position,
    pub(super) fragments: Fragments,
    /// Of the page after this one; empty if this is the last.
    pub(super) next: String,
    /// Whether it is not the first.
    pub(super) continues: bool,
}

/// The page that a token asks for; the first one if it can no longer be told. `known` is the version that the client
/// runs, if it is one of ours: what left since then is said on the first page.
pub(super) fn page(image: &Image, audience: Audience, token: &str, bytes: u32, known: Option<i64>) -> Page {
    let bytes_max = usize::try_from(bytes)
        .unwrap_or(BYTES_MAX)
        .clamp(BYTES_MIN, BYTES_MAX);
    let now = image.position();
    let asked = parse(token, now, audience).filter(|(number, _)| image.reaches_back_to(*number));
    let (position, after) = match asked {
        Some((version, after)) => (Position { version, ..now }, Some(after)),
        None => (now, None),
    };
    let (mut fragments, next) = image.page(audience, after, bytes_max);
    if after.is_none()
        && let Some(known) = known.filter(|known| image.reaches_back_to(*known))
    {
        fragments.extend(&image.removals_since(audience, known));
    }
    Page {
        position,
        fragments,
        next: next.map_or_else(String::new, |after| format(position, audience, after)),
        continues: after.is_some(),
    }
}

fn format(position: Position, audience: Audience, (resource_type, id): ResourceId) -> String {
    let version = version::format(position, audience);
    format!("{version}/{}/{}", i32::from(resource_type), id.simple())
}

fn parse(token: &str, now: Position, audience: Audience) -> Option<(i64, ResourceId)> {
    let mut parts = token.split('/');
    let number = version::number(parts.next()?, now.epoch, audience)?;
    let resource_type = ResourceType::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    let id = Uuid::try_parse(parts.next()?).ok()?;
    (parts.next().is_none() && number <= now.version).then_some((number, (resource_type, id)))
}
