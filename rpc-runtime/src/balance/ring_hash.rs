//! The backend that a key belongs to.

use super::dice::mix;
use super::resort::resort;
use super::{Admission, Backend, List, Pick, Picked, Picker, Policy, hash_key};

/// Calls with the same [key](Pick::with_key) go to the same backend, from every client.
///
/// Each backend has many points on a ring of 64-bit numbers, and a key belongs to the point that
/// follows it. So a backend that leaves hands only its own keys on, and gets the same ones back. The
/// points depend on the address, or on the tag `hash_key` if the backend has one: something that
/// stays when the address changes. A key whose backend is closed goes to the next on the ring. A call
/// without a key goes anywhere.
///
/// Source: Karger et al., "Consistent hashing and random trees", 1997; gRPC A42. Theirs has at most
/// 4,096 points in all, which leaves the most loaded of 100 backends with half as much again as the
/// mean; here it is less than a quarter.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RingHash;

/// Points of a backend of mean weight.
const POINTS_EACH: f64 = 256.0;
/// Points of all backends together: 2 MiB. With more than 512 backends, each has fewer.
const POINTS_MAX: f64 = 131_072.0;
/// How many points a call goes along for a backend that admits it.
const STEPS_MAX: usize = 64;

impl Policy for RingHash {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        Box::new(Ring::new(backends))
    }
}

#[derive(Debug)]
struct Ring {
    list: List,
    /// Sorted by hash.
    points: Box<[Point]>,
    /// Where the points begin whose first bits are the index: hashes are even, so that a key is at
    /// its point after a step or two, where a binary search would take 17.
    starts: Box<[u32]>,
    /// 64 less the number of first bits.
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    hash: u64,
    index: u32,
}

impl Ring {
    fn new(list: List) -> Self {
        let mut points = points(&list);
        let ranks = ranks(&list);
        points.sort_unstable_by_key(|point| (point.hash, ranks[point.index as usize]));
        let bits = points.len().max(2).ilog2();
        let shift = 64 - bits;
        let start = |first: u64| points.partition_point(|point| point.hash >> shift < first) as u32;
        let starts = (0..1 << bits).map(start).collect();
        Self {
            list,
            points: points.into(),
            starts,
            shift,
        }
    }

    /// The place of the first point that does not come before the key.
    fn place(&self, key: u64) -> usize {
        let mut place = self.starts[(key >> self.shift) as usize] as usize;
        while self.points.get(place).is_some_and(|point| point.hash < key) {
            place += 1;
        }
        if place < self.points.len() { place } else { 0 }
    }
}

impl Picker for Ring {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        if self.list.is_empty() {
            return None;
        }
        let key = pick.key().unwrap_or_else(|| pick.dice().roll());
        let place = self.place(key);
        let (before, after) = self.points.split_at(place);
        let mut refused = u32::MAX;
        for point in after.iter().chain(before).take(STEPS_MAX) {
            if point.index == refused {
                continue;
            }
            if pick.admit(&self.list[point.index as usize]) != Admission::Closed {
                return Some(Picked::at(point.index as usize));
            }
            refused = point.index;
        }
        // From the backend of the key, so that clients agree on this too.
        resort(&self.list, pick, self.points[place].index as usize)
    }
}

fn points(list: &List) -> Vec<Point> {
    // All weights are 0, or none.
    let weights = list
        .iter()
        .map(|backend| f64::from(backend.weight().max(1)));
    let mean = weights.clone().sum::<f64>() / list.len().max(1) as f64;
    let each = POINTS_EACH.min(POINTS_MAX / list.len().max(1) as f64);
    let of = |(index, weight): (usize, f64)| {
        let base = hash_key(identity(&list[index]).as_bytes());
        let count = (weight / mean * each).round().max(1.0) as u64;
        (0..count).map(move |number| Point {
            hash: mix(base.wrapping_add(mix(number))),
            index: index as u32,
        })
    };
    weights.enumerate().flat_map(of).collect()
}

/// The place of each backend in an order that does not depend on the list: two processes may have
/// different ones, and must agree even if two points are the same.
fn ranks(list: &List) -> Vec<u32> {
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_unstable_by_key(|index| identity(&list[*index]));
    let mut ranks = vec![0; list.len()];
    for (rank, index) in order.into_iter().enumerate() {
        ranks[index] = rank as u32;
    }
    ranks
}

/// What the points of a backend depend on.
fn identity(backend: &Backend) -> &str {
    backend.tag("hash_key").unwrap_or(backend.address())
}
