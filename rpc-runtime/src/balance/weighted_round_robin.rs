//! One backend after the other, the heavy ones more often, and never in a row without need.

use super::round_robin::InOrder;
use super::{List, Picker, Policy};

/// Smooth weighted round robin: weights 5, 1, 1 give a a b a c a a.
///
/// The order is worked out once for each list, so that a pick is a step of a counter. Source: nginx
/// (ngx_http_upstream_round_robin.c).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WeightedRoundRobin;

/// How many turns an order may have, as long as each backend gets one: 16 KiB. Weights that need
/// more are rounded.
const TURNS_MAX: u64 = 4096;

impl Policy for WeightedRoundRobin {
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker> {
        let order = smooth(turns(&backends));
        Box::new(InOrder::new(backends, order, seed))
    }
}

/// How many turns each backend has in a period.
fn turns(list: &List) -> Vec<i64> {
    // All of them are 0, or none.
    let weights = list
        .iter()
        .map(|backend| u64::from(backend.weight().max(1)));
    let common = weights.clone().fold(0, greatest_common_divisor);
    let period: u64 = weights.clone().map(|weight| weight / common).sum();
    if period <= TURNS_MAX {
        return weights.map(|weight| (weight / common) as i64).collect();
    }
    let total: u64 = weights.clone().sum();
    let share = |weight| (weight as f64 / total as f64 * TURNS_MAX as f64).round() as i64;
    weights.map(|weight| share(weight).max(1)).collect()
}

/// The order of one period. Each turn, everybody gains its weight; who has most is next, and pays
/// the total.
fn smooth(weights: Vec<i64>) -> Box<[u32]> {
    let total: i64 = weights.iter().sum();
    if total == weights.len() as i64 {
        return (0..weights.len() as u32).collect();
    }
    let mut current = vec![0; weights.len()];
    let turn = |_| {
        let mut best = 0;
        for (index, weight) in weights.iter().enumerate() {
            current[index] += weight;
            if current[index] > current[best] {
                best = index;
            }
        }
        current[best] -= total;
        best as u32
    };
    (0..total).map(turn).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}
