//! Draws an index by weight, in constant time.

use super::{Dice, List};

/// How to draw from a list: evenly, or by weight with Vose's alias method (Vose, "A linear algorithm
/// for generating random numbers with a given distribution", IEEE TSE 1991).
#[derive(Debug)]
pub(super) enum Draw {
    Even(usize),
    ByWeight(Box<[Column]>),
}

/// A column of the alias table: its own index below the threshold, the other one above it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Of 2^32.
    threshold: u32,
    other: u32,
}

impl Draw {
    pub(super) fn new(list: &List) -> Self {
        let weights: Vec<f64> = list.iter().map(|b| f64::from(b.weight())).collect();
        let total: f64 = weights.iter().sum();
        if total == 0.0 || weights.iter().all(|weight| *weight == weights[0]) {
            return Self::Even(list.len());
        }
        Self::ByWeight(columns(weights, total))
    }

    #[inline]
    pub(super) fn index(&self, dice: &mut Dice) -> usize {
        match self {
            Self::Even(n) => dice.below(*n),
            Self::ByWeight(columns) => {
                let index = dice.below(columns.len());
                let column = columns[index];
                if (dice.roll() as u32) < column.threshold {
                    return index;
                }
                column.other as usize
            }
        }
    }
}

/// Fills what the light ones leave of their columns with the heavy ones.
fn columns(weights: Vec<f64>, total: f64) -> Box<[Column]> {
    let n = weights.len();
    let mut shares: Vec<f64> = weights.iter().map(|w| w * n as f64 / total).collect();
    let (mut light, mut heavy): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| shares[*i] < 1.0);
    // Whoever is left over by rounding has a column of its own.
    let mut columns: Vec<Column> = (0..n)
        .map(|index| Column {
            threshold: u32::MAX,
            other: index as u32,
        })
        .collect();
    while let (Some(small), Some(large)) = (light.pop(), heavy.pop()) {
        columns[small] = Column {
            threshold: (shares[small] * 4_294_967_296.0) as u32,
            other: large as u32,
        };
        shares[large] -= 1.0 - shares[small];
        if shares[large] < 1.0 {
            light.push(large);
        } else {
            heavy.push(large);
        }
    }
    columns.into()
}
