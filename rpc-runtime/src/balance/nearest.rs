//! The backend that is nearest on the globe.

use super::resort::resort;
use super::{Admission, Backend, Dice, List, Pick, Picked, Picker, Policy};

/// The nearest of the backends that are open, by their tags `latitude` and `longitude` in degrees.
/// Those without come last; of several at the same place, any.
///
/// Source: rpcx (client/selector.go, `Closest`).
#[derive(Clone, Copy, Debug)]
pub struct Nearest {
    here: Position,
}

impl Nearest {
    /// Near to here, in degrees.
    #[must_use]
    pub const fn to(latitude: f64, longitude: f64) -> Self {
        Self {
            here: Position {
                latitude,
                longitude,
            },
        }
    }
}

impl Policy for Nearest {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        let distance = |backend: &Backend| Position::of(backend).map(|p| self.here.metres_to(p));
        let mut order: Vec<(u64, usize)> = backends
            .iter()
            .enumerate()
            .map(|(index, backend)| (distance(backend).unwrap_or(u64::MAX), index))
            .collect();
        order.sort_unstable();
        let groups = order.chunk_by(|(a, _), (b, _)| a == b);
        let indexes = |group: &[(u64, usize)]| group.iter().map(|(_, index)| *index).collect();
        Box::new(ByDistance {
            groups: groups.map(indexes).collect(),
            list: backends,
        })
    }
}

/// In degrees.
#[derive(Clone, Copy, Debug)]
struct Position {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// The mean radius of the earth, in metres.
    const EARTH: f64 = 6_371_000.0;

    fn of(backend: &Backend) -> Option<Self> {
        let degrees = |key| backend.tag(key)?.trim().parse::<f64>().ok();
        let position = Self {
            latitude: degrees("latitude")?,
            longitude: degrees("longitude")?,
        };
        (position.latitude.is_finite() && position.longitude.is_finite()).then_some(position)
    }

    /// The way along the surface (haversine formula).
    fn metres_to(self, other: Self) -> u64 {
        let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let chord = half(self.latitude, other.latitude)
            + from.cos() * to.cos() * half(self.longitude, other.longitude);
        (2.0 * Self::EARTH * chord.clamp(0.0, 1.0).sqrt().asin()) as u64
    }
}

#[derive(Debug)]
struct ByDistance {
    list: List,
    /// Nearest first; each group is at one place.
    groups: Box<[Box<[usize]>]>,
}

impl ByDistance {
    /// Any of a group that admits the call.
    fn any(&self, group: &[usize], pick: &Pick<'_>, dice: &mut Dice) -> Option<usize> {
        let (before, after) = group.split_at(dice.below(group.len()));
        let mut group = after.iter().chain(before).copied();
        group.find(|index| pick.admit(&self.list[*index]) != Admission::Closed)
    }
}

impl Picker for ByDistance {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let mut dice = pick.dice();
        let mut groups = self.groups.iter();
        if let Some(index) = groups.find_map(|group| self.any(group, pick, &mut dice)) {
            return Some(Picked::at(index));
        }
        resort(&self.list, pick, *self.groups.first()?.first()?)
    }
}
