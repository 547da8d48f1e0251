//! Of a few random backends, the one with the fewest calls in flight.

use super::choices::{Choices, Score};
use super::{Backend, List, Pick, Picker, Policy};

/// Of a few random backends, the one with the fewest calls in flight, relative to its weight.
///
/// Source: gRPC A48, Envoy's least request.
#[derive(Clone, Copy, Debug)]
pub struct LeastRequest {
    choices: usize,
}

impl LeastRequest {
    /// How many backends a pick may compare.
    pub const CHOICES_MAX: usize = 10;

    /// Compares this many: at least 2, at most [`CHOICES_MAX`](Self::CHOICES_MAX).
    #[must_use]
    pub const fn with_choices(choices: usize) -> Self {
        let choices = match choices {
            0..2 => 2,
            2..Self::CHOICES_MAX => choices,
            _ => Self::CHOICES_MAX,
        };
        Self { choices }
    }
}

/// Compares two.
impl Default for LeastRequest {
    fn default() -> Self {
        Self::with_choices(2)
    }
}

impl Policy for LeastRequest {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        Box::new(Choices::new(backends, self.choices, Requests))
    }
}

#[derive(Debug)]
struct Requests;

impl Score for Requests {
    #[inline]
    fn score(&self, _: &Backend, in_flight: f64, _: &Pick<'_>) -> f64 {
        in_flight + 1.0
    }
}
