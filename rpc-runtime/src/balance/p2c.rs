//! The better of two random backends, by latency and calls in flight.

use super::choices::{Choices, Score};
use super::{Backend, List, Pick, Picker, Policy};

/// Power of two choices with peak EWMA; the default.
///
/// The cost of a backend is its latency times its calls in flight and one. So a slow one gets few
/// calls, and one that hangs gets none long before the first call to it times out. One that is new
/// gets a single call until it has answered. One with eight calls in flight or more is compared with the
/// two if it was picked last, so that calls made together go out together.
///
/// Source: Finagle (loadbalancer/PeakEwma.scala, p2c/P2CPick.scala).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PowerOfTwoChoices;

impl Policy for PowerOfTwoChoices {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        Box::new(Choices::new(backends, 2, Cost))
    }
}

#[derive(Debug)]
struct Cost;

/// What a backend costs that has a call in flight and has never answered: more than any other.
const UNKNOWN: f64 = 1e15;

impl Score for Cost {
    #[inline]
    fn score(&self, backend: &Backend, in_flight: f64, pick: &Pick<'_>) -> f64 {
        let cost = backend.cost(pick.now());
        if cost == 0.0 {
            return UNKNOWN * in_flight;
        }
        cost * (in_flight + 1.0)
    }
}
