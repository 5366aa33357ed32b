//! From the path that an application sends to the gateway to the one that goes upstream.

/// Splits `:path` at its query, which keeps its `?`.
pub fn split_query(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|byte| *byte == b'?') {
        Some(at) => path.split_at(at),
        None => (path, &[]),
    }
}

/// The API's slug and what follows it (empty or starting with `/`), of `/proxy/{slug}…`.
pub fn split_proxy(path: &[u8]) -> Option<(&str, &[u8])> {
    let rest = path.strip_prefix(b"/proxy/")?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (slug, rest) = rest.split_at_checked(end)?;
    Some((std::str::from_utf8(slug).ok()?, rest))
}

/// `base` + `rest` + `query` with exactly one slash at each join.
pub fn join(base: &str, rest: &[u8], query: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(base.len() + rest.len() + query.len() + 1);
    path.extend_from_slice(base.as_bytes());
    if rest.is_empty() {
        if path.is_empty() {
            path.push(b'/');
        }
    } else {
        if rest.first() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(rest);
    }
    path.extend_from_slice(query);
    path
}
