//! Weights from what the servers report of their load.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use super::gate::nanos;
use super::resort::resort_to_any;
use super::{Admission, List, Pick, Picked, Picker, Policy, TRIES};

/// Weighted round robin by what the servers [report](super::Backend::report): who can do a call with
/// half the work gets twice the calls. One that has reported nothing for 3 minutes, or has begun to
/// report less than 10 s ago, counts as an average one.
///
/// Source: gRPC A58; the static stride scheduler of grpc-go (balancer/weightedroundrobin).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ReportedLoad;

impl Policy for ReportedLoad {
    fn picker(&self, backends: List, seed: u64) -> Box<dyn Picker> {
        Box::new(Stride {
            strides: backends.iter().map(|_| AtomicU32::new(FULL)).collect(),
            list: backends,
            sequence: AtomicU64::new(seed % (1 << 32)),
            weighed_at: AtomicU64::new(0),
        })
    }
}

/// The stride of the heaviest, which gets a call each time round.
const FULL: u32 = u16::MAX as u32;

/// Goes round and round, and passes over a backend as often as its stride falls short of the full
/// one.
#[derive(Debug)]
struct Stride {
    list: List,
    strides: Box<[AtomicU32]>,
    sequence: AtomicU64,
    weighed_at: AtomicU64,
}

impl Stride {
    /// How often weights are looked at.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// The next backend whose turn it is. The heaviest has one each time round: 0 < it <= n steps.
    fn next(&self) -> usize {
        let n = self.list.len() as u64;
        loop {
            let sequence = self.sequence.fetch_add(1, Relaxed);
            let (round, index) = (sequence / n, sequence % n);
            let stride = u64::from(self.strides[index as usize].load(Relaxed));
            // The offset spreads the turns that light ones miss.
            let offset = index * (u64::from(FULL) / 2);
            let phase = (stride.wrapping_mul(round)).wrapping_add(offset) % u64::from(FULL);
            if phase >= u64::from(FULL) - stride {
                return index as usize;
            }
        }
    }

    /// Of the calls that find the weights old, one sets them anew.
    fn weigh(&self, now: Duration) {
        let weighed_at = self.weighed_at.load(Relaxed);
        if nanos(now).saturating_sub(weighed_at) < nanos(Self::INTERVAL) {
            return;
        }
        let turn = (weighed_at, nanos(now));
        if self
            .weighed_at
            .compare_exchange(turn.0, turn.1, Relaxed, Relaxed)
            .is_err()
        {
            return;
        }
        let known = || {
            let weights = self.list.iter().map(|b| b.reported_weight(now));
            weights.filter(|weight| *weight > 0.0)
        };
        let (count, max) = (known().count(), known().fold(0.0, f64::max));
        let mean = known().map(|weight| weight / count as f64).sum();
        for (backend, stride) in self.list.iter().zip(&self.strides) {
            let weight = match backend.reported_weight(now) {
                // One weight alone says nothing.
                _ if count < 2 => max,
                0.0 => mean,
                weight => weight,
            };
            // Not a number if there are none: all are the same then.
            let share = (weight / max).min(1.0);
            stride.store(((share * f64::from(FULL)) as u32).max(1), Relaxed);
        }
    }
}

impl Picker for Stride {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        if self.list.is_empty() {
            return None;
        }
        self.weigh(pick.now());
        for _ in 0..TRIES {
            let index = self.next();
            if pick.admit(&self.list[index]) != Admission::Closed {
                return Some(Picked::at(index));
            }
        }
        resort_to_any(&self.list, pick, pick.dice())
    }
}
