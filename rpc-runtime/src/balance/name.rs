//! Policies by name, for configuration files and targets.

use std::sync::Arc;

use thiserror::Error;

use super::{
    Fixed, LeastRequest, Locality, Nearest, Policy, PowerOfTwoChoices, Random, ReportedLoad,
    RingHash, RoundRobin, WeightedRoundRobin,
};

/// The names that [`policy`] knows, with what may follow them.
pub const NAMES: [&str; 10] = [
    "p2c",
    "round_robin",
    "random",
    "weighted_round_robin",
    "least_request[:CHOICES]",
    "ring_hash",
    "reported_load",
    "nearest:LATITUDE,LONGITUDE",
    "locality:ZONE[/POLICY]",
    "fixed[:ADDRESS]",
];

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnknownPolicy {
    /// There is no policy of this name.
    #[error("there is no balancing policy {0:?}; there are {names}", names = NAMES.join(", "))]
    Name(String),
    /// The policy exists, but not with this behind its name.
    #[error("{text:?} is no balancing policy: it should read {expected}")]
    Argument {
        /// The whole text.
        text: String,
        /// How it should look.
        expected: &'static str,
    },
}

/// The policy of this name: `"p2c"`, `"round_robin"`, `"locality:eu-1/least_request"`, …
///
/// # Errors
/// No policy has that name, or what follows the colon is not what it takes; the text lists what
/// there is.
pub fn policy(text: &str) -> Result<Arc<dyn Policy>, UnknownPolicy> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    let Some(expected) = NAMES
        .into_iter()
        .find(|n| n.split(['[', ':']).next() == Some(name))
    else {
        return Err(UnknownPolicy::Name(text.to_owned()));
    };
    let misread = || UnknownPolicy::Argument {
        text: text.to_owned(),
        expected,
    };
    Ok(match (name, argument) {
        ("p2c", None) => Arc::new(PowerOfTwoChoices),
        ("round_robin", None) => Arc::new(RoundRobin),
        ("random", None) => Arc::new(Random),
        ("weighted_round_robin", None) => Arc::new(WeightedRoundRobin),
        ("ring_hash", None) => Arc::new(RingHash),
        ("reported_load", None) => Arc::new(ReportedLoad),
        ("least_request", None) => Arc::new(LeastRequest::default()),
        ("least_request", Some(choices)) => {
            let choices = choices
                .parse()
                .ok()
                .filter(|n| (2..=LeastRequest::CHOICES_MAX).contains(n));
            Arc::new(LeastRequest::with_choices(choices.ok_or_else(misread)?))
        }
        ("nearest", Some(here)) => Arc::new(nearest(here).ok_or_else(misread)?),
        ("locality", Some(zone)) => {
            let (zone, inner) = zone.split_once('/').unwrap_or((zone, "p2c"));
            if zone.is_empty() {
                return Err(misread());
            }
            Arc::new(Locality::new(zone, policy(inner)?))
        }
        ("fixed", None) => Arc::new(Fixed::first()),
        ("fixed", Some(address)) if !address.is_empty() => Arc::new(Fixed::to(address)),
        _ => return Err(misread()),
    })
}

fn nearest(here: &str) -> Option<Nearest> {
    let (latitude, longitude) = here.split_once(',')?;
    let degrees = |text: &str, max: f64| {
        let degrees: f64 = text.trim().parse().ok()?;
        (degrees.abs() <= max).then_some(degrees)
    };
    Some(Nearest::to(
        degrees(latitude, 90.0)?,
        degrees(longitude, 180.0)?,
    ))
}
