//! A fleet in virtual time: servers that take as long as they are told, and one client that calls
//! them at random moments, at a steady rate, whether they answer or not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::balance::{
    Backend, Backends, Dice, Ended, InFlight, Pick, Policy, policy as policy_of,
};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Backends `s0`, `s1`, …
pub(crate) fn backends(count: usize) -> Vec<Backend> {
    (0..count).map(|n| Backend::new(format!("s{n}"))).collect()
}

/// What a server does with a call.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Answers after a random time with this mean: from 0.8 to 1.2 of it.
    Steady(Duration),
    /// Answers after a random time with this mean, exponentially distributed.
    Exponential(Duration),
    /// Fails after this time.
    Fails(Duration),
    /// Never answers.
    Hangs,
}

struct Running {
    ends: Duration,
    number: u64,
    how: Ended,
    call: InFlight,
}

/// Ordered by when they end, the earliest on top of a heap.
impl Ord for Running {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        Reverse((self.ends, self.number)).cmp(&Reverse((other.ends, other.number)))
    }
}
impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Eq for Running {}
impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

pub(crate) struct Fleet {
    pub(crate) now: Duration,
    pub(crate) backends: Backends,
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    policy: Arc<dyn Policy>,
    running: BinaryHeap<Running>,
    dice: Dice,
    calls: u64,
}

impl Fleet {
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

    /// All servers behave alike, until told otherwise.
    pub(crate) fn new(policy: &str, list: Vec<Backend>, behaviour: Behaviour) -> Self {
        let policy = policy_of(policy).unwrap();
        let behaviours = list
            .iter()
            .map(|b| (b.address().to_owned(), behaviour))
            .collect();
        Self {
            now: secs(1),
            backends: Backends::new(&*policy, list, 7),
            behaviours,
            policy,
            running: BinaryHeap::new(),
            dice: Dice::new(42),
            calls: 0,
        }
    }

    pub(crate) fn set(&mut self, address: &str, behaviour: Behaviour) {
        self.behaviours.insert(address.to_owned(), behaviour);
    }

    pub(crate) fn replace(&mut self, list: Vec<Backend>) {
        self.backends = self.backends.replaced(&*self.policy, list, 7);
    }

    pub(crate) fn backend(&self, address: &str) -> &Backend {
        let mut list = self.backends.list().iter();
        list.find(|backend| backend.address() == address).unwrap()
    }

    /// Calls for so long at this rate; gives how many went where.
    pub(crate) fn run(&mut self, time: Duration, calls_per_second: f64) -> Shares {
        let end = self.now + time;
        let mut picked: BTreeMap<String, u64> = self
            .backends
            .list()
            .iter()
            .map(|b| (b.address().to_owned(), 0))
            .collect();
        loop {
            let pause = -(1.0 - self.dice.unit()).ln() / calls_per_second;
            let next = self.now + Duration::from_secs_f64(pause);
            self.finish_until(next.min(end));
            self.now = next.min(end);
            if next >= end {
                return Shares(picked);
            }
            let address = self.call();
            *picked.get_mut(&address).unwrap() += 1;
        }
    }

    fn call(&mut self) -> String {
        let pick = Pick::new(self.now, self.dice.roll());
        let picked = self.backends.pick(&pick).expect("the fleet is not empty");
        let backend = &self.backends.list()[picked.index];
        let (took, how) = match self.behaviours[backend.address()] {
            Behaviour::Steady(mean) => {
                (mean.mul_f64(0.8 + 0.4 * self.dice.unit()), Ended::Answered)
            }
            Behaviour::Exponential(mean) => {
                let factor = -(1.0 - self.dice.unit()).ln();
                (mean.mul_f64(factor), Ended::Answered)
            }
            Behaviour::Fails(after) => (after, Ended::Failed),
            Behaviour::Hangs => (Self::TIMEOUT, Ended::Unanswered),
        };
        self.calls += 1;
        self.running.push(Running {
            ends: self.now + took,
            number: self.calls,
            how,
            call: backend.begin(self.now),
        });
        backend.address().to_owned()
    }

    fn finish_until(&mut self, time: Duration) {
        while self.running.peek().is_some_and(|next| next.ends <= time) {
            let next = self.running.pop().unwrap();
            next.call.finish(next.ends, next.how);
        }
    }
}

/// How many calls went to each server.
#[derive(Debug)]
pub(crate) struct Shares(BTreeMap<String, u64>);

impl Shares {
    pub(crate) fn of(&self, address: &str) -> f64 {
        self.0[address] as f64 / self.0.values().sum::<u64>() as f64
    }

    pub(crate) fn calls(&self, address: &str) -> u64 {
        self.0[address]
    }

    pub(crate) fn max_by_min(&self) -> f64 {
        let (max, min) = (
            self.0.values().max().unwrap(),
            self.0.values().min().unwrap(),
        );
        *max as f64 / *min as f64
    }
}

/// Picks so often at one moment, with nothing in flight; gives how often each index came.
pub(crate) fn tally(backends: &Backends, picks: u64) -> Vec<u64> {
    let mut counts = vec![0; backends.list().len()];
    for random in 0..picks {
        let picked = backends.pick(&Pick::new(secs(1), random)).unwrap();
        counts[picked.index] += 1;
    }
    counts
}
