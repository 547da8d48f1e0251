//! W3C trace context: which trace a call belongs to, and which span made it.
//!
//! <https://www.w3.org/TR/trace-context/>, version 00.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// The metadata key of the trace and the span.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The metadata key of vendor data.
pub(crate) const TRACESTATE: &str = "tracestate";

/// A `traceparent`: trace id, span id and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// A trace and a span in it; `None` if either id is zero, which the standard forbids.
    #[must_use]
    pub const fn new(trace_id: u128, span_id: u64, flags: u8) -> Option<Self> {
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace: trace_id,
            span: span_id,
            flags,
        })
    }

    /// The trace, the same on every hop.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace
    }

    /// The span that makes the call.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span
    }

    /// Bit 0: the caller records this trace.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// The same trace with another span.
    pub(super) const fn child(self, span: u64) -> Self {
        Self { span, ..self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// The text is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidTraceParent;

impl fmt::Display for InvalidTraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a W3C traceparent: expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>",
        )
    }
}

impl Error for InvalidTraceParent {}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let lower_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let part = parts
                .next()
                .filter(|part| part.len() == length && lower_hex(part));
            part.ok_or(InvalidTraceParent)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // A later version may add parts; "ff" is forbidden.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(InvalidTraceParent);
        }
        // No part is longer than its number.
        let number = |part: &str| {
            let digits = part.chars().filter_map(|digit| digit.to_digit(16));
            digits.fold(0, |number, digit| number << 4 | u128::from(digit))
        };
        let (span, flags) = (number(span) as u64, number(flags) as u8);
        Self::new(number(trace), span, flags).ok_or(InvalidTraceParent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_parses_and_prints() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!(parent.to_string(), text);
        assert_eq!(parent.child(1).trace_id(), parent.trace_id());
    }

    #[test]
    fn other_texts_are_refused() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = good.to_uppercase();
        let longer = format!("{good}-00");
        for text in ["", "00", &good[1..], zero_trace, zero_span, &upper, &longer] {
            assert!(text.parse::<TraceParent>().is_err(), "{text}");
        }
    }
}
