//! The trace that a request is part of (W3C Trace Context level 1, <https://www.w3.org/TR/trace-context-1/>): copied
//! from the client's headers into the call that asks for its admission, so that the limit service's span is in the
//! application's trace. Nothing here starts or ends a span.

use crate::headers::HeaderBlock;

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const PARENT_BYTES: usize = 55;
/// What vendors must be able to pass on; more is dropped whole.
const STATE_BYTES_MAX: usize = 512;

/// A valid `traceparent`, and its `tracestate` if that is sound too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: String,
    state: Option<String>,
}

impl TraceContext {
    /// `None`: the request has none, several, or a malformed one. A reader must not guess which part is right.
    pub fn of(headers: &HeaderBlock) -> Option<Self> {
        let mut parent = None;
        let mut state: Option<Vec<u8>> = None;
        for (name, value) in headers {
            if name == b"traceparent" {
                if parent.replace(value).is_some() {
                    return None;
                }
            } else if name == b"tracestate" {
                // Several make one list.
                match &mut state {
                    None => state = Some(value.to_vec()),
                    Some(list) => {
                        list.push(b',');
                        list.extend_from_slice(value);
                    }
                }
            }
        }
        Some(Self {
            parent: parent_text(parent?)?,
            state: state.and_then(state_text),
        })
    }

    /// Value of `traceparent`.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// Value of `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Version 00 only: what later ones add is not ours to pass on.
fn parent_text(value: &[u8]) -> Option<String> {
    if value.len() != PARENT_BYTES {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let mut field = |length: usize| {
        fields
            .next()
            .filter(|field| field.len() == length && field.bytes().all(is_lower_hex))
    };
    let version = field(2)?;
    let (trace_id, parent_id) = (field(32)?, field(16)?);
    field(2)?;
    let is_set = |id: &str| id.bytes().any(|byte| byte != b'0');
    (version == "00" && is_set(trace_id) && is_set(parent_id)).then(|| text.to_owned())
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn state_text(value: Vec<u8>) -> Option<String> {
    let is_sound = !value.is_empty()
        && value.len() <= STATE_BYTES_MAX
        && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    String::from_utf8(value).ok().filter(|_| is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&str, &str)]) -> Option<TraceContext> {
        let headers: Vec<(&[u8], &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        TraceContext::of(&HeaderBlock::build(&headers))
    }

    #[test]
    fn a_sound_context_is_copied_as_it_is() {
        let found = of(&[("accept", "*/*"), ("traceparent", PARENT), ("tracestate", "a=1")]).unwrap();
        assert_eq!((found.parent(), found.state()), (PARENT, Some("a=1")));
        let found = of(&[
            ("tracestate", "a=1"),
            ("traceparent", PARENT),
            ("tracestate", "b=2"),
        ])
        .unwrap();
        assert_eq!(found.state(), Some("a=1,b=2"));
        assert_eq!(of(&[("traceparent", PARENT)]).unwrap().state(), None);
    }

    #[test]
    fn a_malformed_parent_drops_both() {
        let upper = PARENT.to_uppercase();
        let longer = format!("{PARENT}-00");
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\r\n0f067aa0ba902b7x-01",
            &upper,
            &longer,
        ] {
            assert_eq!(
                of(&[("traceparent", bad), ("tracestate", "a=1")]),
                None,
                "{bad:?}"
            );
        }
        assert_eq!(of(&[("traceparent", PARENT), ("traceparent", PARENT)]), None);
        assert_eq!(of(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn a_state_that_is_too_long_or_no_text_is_left_out() {
        let long = "a".repeat(STATE_BYTES_MAX + 1);
        for bad in [long.as_str(), "a=\u{e9}", "a=\t", ""] {
            let found = of(&[("traceparent", PARENT), ("tracestate", bad)]).unwrap();
            assert_eq!(found.state(), None, "{bad:?}");
        }
    }
}
