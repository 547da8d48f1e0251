//! Anything may happen to a shelf in any order; what must hold, holds after each step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Wake;

use proptest::prelude::*;

use super::*;

/// What callers and connections do; numbers choose among those there are.
#[derive(Clone, Debug)]
enum Step {
    Arrive,
    Ask(usize),
    GiveUp(usize),
    End(usize),
    OpenFirst,
    OpenMore,
    Opened(usize),
    Failed(usize),
    Lost(usize),
    AllLost,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let any = 0..64_usize;
    prop_oneof![
        6 => Just(Arrive),
        6 => any.clone().prop_map(Ask),
        2 => any.clone().prop_map(GiveUp),
        5 => any.clone().prop_map(End),
        1 => Just(OpenFirst),
        3 => Just(OpenMore),
        4 => any.clone().prop_map(Opened),
        1 => any.clone().prop_map(Failed),
        1 => any.prop_map(Lost),
        1 => Just(AllLost),
    ]
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// The shelf, and what those who use it know.
struct World {
    shelf: Shelf<u32>,
    calls_max: u32,
    connections: u32,
    /// Those under way: whether they are to be kept.
    opening: Vec<bool>,
    open: BTreeMap<u32, MemberId>,
    /// Callers in line, from the first to the last.
    line: Vec<(Ticket, Arc<Bell>)>,
    running: Vec<Place<u32>>,
    /// Callers who lost the place they were given, before they picked it up.
    unlucky: Vec<Ticket>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive => match self.shelf.take() {
                Some(place) => self.running.push(place),
                None => {
                    let bell = Arc::new(Bell::default());
                    let waker = Waker::from(bell.clone());
                    let ticket = self.shelf.wait(None, &mut waker.clone()).unwrap_err();
                    self.line.push((ticket, bell));
                }
            },
            Step::Ask(which) if !self.line.is_empty() => self.ask(which % self.line.len()),
            Step::GiveUp(which) if !self.line.is_empty() => {
                let (ticket, _) = self.line.remove(which % self.line.len());
                ring(self.shelf.leave(ticket, None));
            }
            Step::End(which) if !self.running.is_empty() => {
                let place = self.running.swap_remove(which % self.running.len());
                ring(self.shelf.release(place.member, None));
            }
            Step::OpenFirst if self.open.is_empty() => {
                self.opening.extend(self.shelf.begin_first());
            }
            Step::OpenMore => self.opening.extend(self.shelf.begin_openings()),
            Step::Opened(which) if !self.opening.is_empty() => {
                let is_kept = self.opening.swap_remove(which % self.opening.len());
                let name = self.connections;
                self.connections += 1;
                let added = self.shelf.add(name, self.calls_max, is_kept, None);
                let (member, woken) = added.unwrap();
                self.open.insert(name, member);
                ring(woken);
            }
            Step::Failed(which) if !self.opening.is_empty() => {
                let index = which % self.opening.len();
                if self.shelf.forget_if_useless(self.opening[index]) {
                    self.opening.swap_remove(index);
                }
            }
            Step::Lost(which) if !self.open.is_empty() => {
                let name = *self.open.keys().nth(which % self.open.len()).unwrap();
                let member = self.open.remove(&name).unwrap();
                let given = self.shelf.given.iter();
                let lost = given.filter(|(_, place)| place.member == member);
                self.unlucky.extend(lost.map(|(ticket, _)| *ticket));
                let (removed, woken) = self.shelf.remove(member).unwrap();
                assert_eq!(removed.was_last, self.open.is_empty());
                ring(woken);
            }
            Step::AllLost => {
                self.unlucky.extend(self.shelf.given.keys());
                assert_eq!(self.shelf.clear().len(), self.open.len());
                self.open.clear();
            }
            _ => {}
        }
    }

    /// A caller in line asks: who was woken has a place, unless its connection broke since.
    fn ask(&mut self, index: usize) {
        let (ticket, bell) = &self.line[index];
        let was_woken = bell.0.swap(false, SeqCst);
        let Ok(place) = self
            .shelf
            .wait(Some(*ticket), &mut Waker::from(bell.clone()))
        else {
            return;
        };
        assert!(was_woken, "a place nobody was told of");
        assert!(self.open.contains_key(&place.connection), "it is closed");
        self.running.push(place);
        self.line.remove(index);
    }

    fn check(&self) {
        let shelf = &self.shelf;
        assert!(shelf.members.len() + shelf.opening <= shelf.limits.max);
        assert_eq!(shelf.opening, self.opening.len());
        let kept = shelf.members.iter().filter(|one| one.is_kept).count();
        assert!(kept + shelf.opening_kept <= shelf.limits.min);
        for member in &shelf.members {
            let running = self.running.iter().map(|place| place.member);
            let given = shelf.given.values().map(|place| place.member);
            let in_use = running.chain(given).filter(|id| *id == member.id).count();
            assert_eq!(member.in_use as usize, in_use);
            assert!(member.in_use <= member.calls_max);
            let has_room = member.in_use < member.calls_max;
            assert!(
                !has_room || shelf.line.is_empty(),
                "a caller waits beside room"
            );
        }
        // Nobody overtakes: who was given a place came before all who wait for their first.
        let line = shelf.line.iter().map(|caller| caller.ticket);
        let first = line.clone().find(|ticket| !self.unlucky.contains(ticket));
        assert!(line.is_sorted(), "who lost a place stands where it stood");
        let last = shelf.given.keys().max().copied();
        assert!(first.is_none() || last < first);
        assert_eq!(shelf.line.len() + shelf.given.len(), self.line.len());
    }
}

fn ring(woken: impl IntoIterator<Item = Waker>) {
    woken.into_iter().for_each(Waker::wake);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// S0-12, S0-13, S0-16: the limits hold, the order holds, and no place is lost.
    #[test]
    fn s0_16_no_place_is_lost_whatever_happens(
        steps in prop::collection::vec(step(), 1..200),
        max in 1..5_usize,
        min in 0..5_usize,
        calls_max in 1..4_u32,
    ) {
        let limits = Limits { min: min.min(max), max, idle_timeout: None, calls_each: 1 };
        let mut world = World {
            shelf: Shelf::new(limits),
            calls_max,
            connections: 0,
            opening: Vec::new(),
            open: BTreeMap::new(),
            line: Vec::new(),
            running: Vec::new(),
            unlucky: Vec::new(),
        };
        for step in steps {
            world.take(step);
            world.check();
        }
        // All calls end, and all who wait are served.
        world.take(Step::OpenFirst);
        while !world.opening.is_empty() {
            world.take(Step::Opened(0));
        }
        while !world.line.is_empty() {
            while !world.running.is_empty() {
                world.take(Step::End(0));
            }
            let before = world.line.len();
            (0..before).rev().for_each(|index| world.ask(index));
            prop_assert!(world.line.len() < before, "nobody was served");
            world.check();
        }
        while !world.running.is_empty() {
            world.take(Step::End(0));
        }
        let open = world.open.len();
        prop_assert_eq!(world.shelf.counts(), Counts { open, in_use: 0, waiting: 0 });
        prop_assert_eq!(world.shelf.close().len(), open);
        prop_assert_eq!(world.shelf.counts(), Counts::default());
    }
}

/// S0-12, S0-14: one that was without calls for too long is not handed out, also if the timer that
/// was to close it is late.
#[test]
fn s0_14_one_that_has_expired_is_not_handed_out() {
    let (start, timeout) = (crate::clock::now(), Duration::from_secs(10));
    let mut shelf = Shelf::new(Limits {
        min: 1,
        max: 3,
        idle_timeout: Some(timeout),
        calls_each: 1,
    });
    for name in ["kept", "first", "second"] {
        let is_kept = shelf.open_one();
        shelf.add(name, 1, is_kept, Some(start)).unwrap();
    }
    let places: Vec<_> = (0..3).map(|_| shelf.take().unwrap()).collect();
    assert!(shelf.take().is_none());
    // Whatever is in use does not expire.
    assert!(shelf.expire(start + 2 * timeout).is_empty());
    for (place, after) in places.iter().zip([0, 0, 5]) {
        let ended = start + 2 * timeout + Duration::from_secs(after);
        shelf.release(place.member, Some(ended));
    }
    assert_eq!(shelf.expire(start + 3 * timeout), ["first"]);
    assert_eq!(shelf.take().unwrap().connection, "kept");
    assert_eq!(shelf.take().unwrap().connection, "second");
    assert!(shelf.take().is_none());
}
