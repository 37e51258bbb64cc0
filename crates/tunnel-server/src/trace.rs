//! Where a visitor's exchange stands in a trace (W3C Trace Context, level 1).
//!
//! It is decided when the exchange begins, since the upstream must be told then. What isn't traced crosses as it came:
//! the server leaves `traceparent` alone and decides nothing for those behind it. What is traced becomes a part of
//! the visitor's trace, and the upstream a part of ours.

use std::fmt;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use tunnel_protocol::RequestId;

use crate::{config::Config, ids};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of `traceparent` in the version that we speak, and the least of all later ones.
const LENGTH: usize = 55;

/// The bit of the flags that says that whoever sent it records the trace.
const SAMPLED: u8 = 1;

/// What a [`Config::traces`] of all is.
pub(crate) const ALL: u32 = 1_000_000;

/// An exchange's place in a trace. There is one only of what is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The trace: the visitor's, or a new one, which has the request's own id. Not 0.
    pub id: u128,
    /// The exchange in the trace. Not 0.
    pub span: u64,
    /// What it is a part of, if the visitor said so.
    pub parent: Option<u64>,
}

/// What a visitor's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    trace: u128,
    span: u64,
    /// Whether the trace is recorded, if that is the visitor's to say.
    is_sampled: Option<bool>,
}

impl Trace {
    /// A place in a trace: for tests of whatever takes records.
    pub fn new(id: u128, span: u64, parent: Option<u64>) -> Self {
        Self { id, span, parent }
    }

    /// Decides whether an exchange is traced. A stranger's word on that counts for nothing: the share of what is traced
    /// bounds what tracing costs.
    pub(crate) fn begin(
        config: &Config,
        id: RequestId,
        parent: impl FnOnce() -> Option<Parent>,
    ) -> Option<Self> {
        let share = config.traces?;
        let parent = parent();
        // The id is random, and nobody else knows it yet.
        let is_chosen = || ((id.0 & u128::from(u32::MAX)) * u128::from(ALL)) >> 32 < u128::from(share);
        parent.and_then(|parent| parent.is_sampled).unwrap_or_else(is_chosen).then(|| Self {
            id: parent.map_or(id.0, |parent| parent.trace),
            span: ids::span_id(),
            parent: parent.map(|parent| parent.span),
        })
    }

    /// Makes what the upstream does a part of this.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        if self.parent.is_none() {
            // It belongs to a `traceparent` that there wasn't, or that couldn't be read.
            headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(self.to_string())) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// As a `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{SAMPLED:02x}", self.id, self.span)
    }
}

impl Parent {
    /// Reads it, unless it can't be read in one way. Whether the trace is recorded is the word of those only who are
    /// `trusted`.
    pub(crate) fn read(headers: &HeaderMap, trusted: bool) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).into_iter();
        let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = fields(known)?;
        let is_known = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let span = u64::try_from(span).ok().filter(|span| *span != 0);
        let is_sampled = flags & u128::from(SAMPLED) != 0;
        (is_known && trace != 0).then_some(())?;
        Some(Self { trace, span: span?, is_sampled: trusted.then_some(is_sampled) })
    }
}

/// The four numbers, whose lengths are fixed. Only small letters count.
fn fields(value: &[u8]) -> Option<[u128; 4]> {
    let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    let text = str::from_utf8(value).ok().filter(|text| text.as_bytes().iter().all(is_plain))?;
    let mut fields = text.split('-');
    let mut number = |length| {
        let field = fields.next().filter(|field: &&str| field.len() == length)?;
        u128::from_str_radix(field, 16).ok()
    };
    Some([number(2)?, number(32)?, number(16)?, number(2)?])
}

#[cfg(test)]
mod tests {
    use tunnel_router::Hostname;

    use super::*;

    const SAID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        headers.insert(TRACESTATE, "vendor=1".parse().unwrap());
        headers
    }

    fn config(share: Option<u32>) -> Config {
        Config { traces: share, ..Config::new(Hostname::parse("test").unwrap()) }
    }

    #[test]
    fn a_parent_is_read_in_one_way_or_not_at_all() {
        let parent = Parent { trace: TRACE, span: SPAN, is_sampled: None };
        assert_eq!(Parent::read(&headers(&[SAID]), false), Some(parent));
        let later = format!("01{}-more", &SAID[2..]);
        assert_eq!(Parent::read(&headers(&[&later]), false), Some(parent));
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let said = format!("{}{flags}", &SAID[..53]);
            let parent = Parent { is_sampled: Some(is_sampled), ..parent };
            assert_eq!(Parent::read(&headers(&[&said]), true), Some(parent), "{said}");
        }
        for bad in [
            "",
            "00",
            &SAID[..54],
            &format!("{SAID}-more"),
            &format!("01{}more", &SAID[2..]),
            &format!("ff{}", &SAID[2..]),
            &SAID.to_uppercase(),
            &SAID.replace("4bf9", "+bf9"),
            &SAID.replace('-', "_"),
            &SAID.replace("a6a3", "-6a3"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(Parent::read(&headers(&[bad]), true), None, "{bad}");
        }
        assert_eq!(Parent::read(&headers(&[SAID, SAID]), true), None, "two of them");
    }

    #[test]
    fn strangers_dont_decide_what_is_traced() {
        let id = |low: u32| RequestId(7 << 64 | u128::from(low));
        let parent = |is_sampled| Parent { trace: TRACE, span: SPAN, is_sampled };
        let is_traced =
            |share, id, parent: Option<Parent>| Trace::begin(&config(share), id, || parent).is_some();
        for (share, low, expected) in [
            (None, 0, false),
            (Some(0), 0, false),
            (Some(ALL), u32::MAX, true),
            (Some(ALL / 4), u32::MAX / 4 - 1000, true),
            (Some(ALL / 4), u32::MAX / 4 + 1000, false),
        ] {
            assert_eq!(is_traced(share, id(low), None), expected, "{share:?} {low}");
            assert_eq!(is_traced(share, id(low), Some(parent(None))), expected, "{share:?} {low}");
        }
        assert!(is_traced(Some(0), id(0), Some(parent(Some(true)))), "a trusted proxy does");
        assert!(!is_traced(Some(ALL), id(0), Some(parent(Some(false)))), "a trusted proxy does");
        assert!(!is_traced(None, id(0), Some(parent(Some(true)))), "there are no traces");
    }

    #[test]
    fn the_upstream_is_told_what_it_is_a_part_of() {
        let all = config(Some(ALL));
        let began = |parent| Trace::begin(&all, RequestId(5), || parent).unwrap();
        let mut told = headers(&[SAID]);
        let trace = began(Parent::read(&told, false));
        assert_eq!((trace.id, trace.parent), (TRACE, Some(SPAN)));
        trace.put(&mut told);
        assert_eq!(told[TRACEPARENT], format!("{}{:016x}-01", &SAID[..36], trace.span));
        assert_eq!(told[TRACESTATE], "vendor=1");

        let mut told = headers(&["nonsense", SAID]);
        let trace = began(Parent::read(&told, false));
        assert_eq!((trace.id, trace.parent), (5, None), "its id is the request's");
        trace.put(&mut told);
        let values: Vec<_> = told.get_all(TRACEPARENT).iter().collect();
        assert_eq!(values, [&trace.to_string()]);
        assert!(!told.contains_key(TRACESTATE));
    }
}
