//! Reads `"500ms"` and `"1.5s"` while the user's crate compiles.

use std::time::Duration;

const UNITS: &[(&str, u128)] = &[
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
];
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Deadlines are capped at a day by the runtime; a larger number is a mistake.
const NANOS_MAX: u128 = 24 * 3_600 * NANOS_PER_SECOND;

/// More digits than this before or after the point overflow nothing and mean nothing.
const DIGITS_MAX: usize = 15;

const FORM: &str = "a timeout is a number and a unit, for example \"500ms\" or \"1.5s\"; \
                    the units are `us`, `ms`, `s`, `m`, `h`";

/// A number, whole or decimal, directly followed by a unit.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or(FORM)?;
    let (number, unit) = text.split_at(unit_at);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(FORM)?;
    let nanos = scale(number, *unit)?;
    if nanos == 0 {
        return Err("a timeout of zero would fail every call");
    }
    if nanos > NANOS_MAX {
        return Err("a timeout is at most 24 hours");
    }
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| FORM)
}

/// `number` × `unit` in nanoseconds.
fn scale(number: &str, unit: u128) -> Result<u128, &'static str> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let value = digits(whole)? * unit;
    let part = digits(fraction)? * unit;
    let power = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| FORM)?);
    if !part.is_multiple_of(power) {
        return Err("a timeout is a whole number of nanoseconds");
    }
    Ok(value + part / power)
}

fn digits(text: &str) -> Result<u128, &'static str> {
    if text.len() > DIGITS_MAX {
        return Err("a timeout is at most 24 hours, in at most 15 digits");
    }
    text.parse().map_err(|_| FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (text, nanos) in [
            ("500ms", 500_000_000),
            ("1us", 1_000),
            ("2s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.25ms", 250_000),
            ("10m", 600_000_000_000),
            ("24h", 86_400_000_000_000),
            ("0.5us", 500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", "ms", "5", "5 ms", "-5ms", "1e3ms", ".5s", "5.s", "1.2.3s", "5sec", "5MS", "five",
            "5ns", "٣s", "5msms", "+5ms", "1_000ms",
        ] {
            assert_eq!(parse(text), Err(FORM), "{text:?}");
        }
    }

    #[test]
    fn zero_and_more_than_a_day_are_refused() {
        for text in ["0ms", "0.0s", "0h"] {
            assert!(parse(text).unwrap_err().contains("zero"), "{text:?}");
        }
        for text in ["25h", "86400.001s", "99999999999999999999999999h"] {
            assert!(parse(text).unwrap_err().contains("24 hours"), "{text:?}");
        }
        assert!(parse("0.0001us").unwrap_err().contains("nanoseconds"));
    }
}
