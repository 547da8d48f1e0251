use super::*;
use crate::discovery::Attributes;

const SETTLING: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn instance(number: usize) -> Instance {
    Instance::new(format!("tcp://10.0.0.1:{number}"), Attributes::new())
}

fn heavy(number: usize) -> Instance {
    let attributes = Attributes::new().with_weight(2);
    Instance::new(format!("tcp://10.0.0.1:{number}"), attributes)
}

/// A table, and a clock that the test moves.
struct Fixture {
    table: Table,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        Self::with_entries_max(usize::MAX)
    }

    fn with_entries_max(entries_max: usize) -> Self {
        let now = crate::clock::now();
        let table = Table::new(now, 77, SETTLING, entries_max);
        Self { table, now }
    }

    fn enter(&mut self, name: &str, instance: Instance) -> Lease {
        let ttl = Some(seconds(10));
        let entered = self.table.register(self.now, "ann", name, instance, ttl);
        entered.unwrap()
    }

    fn addresses(&mut self, name: &str) -> Vec<String> {
        self.table.expire(self.now);
        let list = self.table.list(name, "");
        list.into_iter().map(|i| i.address).collect()
    }

    fn changes(&mut self, name: &str, since: Mark) -> Changes {
        self.table.expire(self.now);
        self.table.changes(self.now, name, since)
    }
}

/// S1-32, S2-8: with a short time, what is not renewed is gone; the list is sorted; renewing
/// extends.
#[test]
fn s1_32_s2_8_entries_stand_for_their_time_and_no_longer() {
    let mut t = Fixture::new();
    t.enter("greeter", instance(9));
    let first = t.enter("greeter", instance(1));
    t.now += seconds(9);
    t.table.renew(t.now, "ann", first).unwrap();
    assert_eq!(
        t.addresses("greeter"),
        ["tcp://10.0.0.1:1", "tcp://10.0.0.1:9"]
    );
    assert!(t.addresses("other").is_empty());
    t.now += seconds(1);
    assert_eq!(t.addresses("greeter"), ["tcp://10.0.0.1:1"]);
    t.now += seconds(9);
    assert!(t.addresses("greeter").is_empty());
    let gone = t.table.renew(t.now, "ann", first).unwrap_err();
    assert_eq!(gone.code(), rpc_core::Code::NotFound);
    assert_eq!(
        t.table.services.len() + t.table.leases.len() + t.table.ends.len(),
        0
    );
}

/// S1-32: a time of zero is for ever.
#[test]
fn s1_32_an_entry_without_a_time_stays() {
    let mut t = Fixture::new();
    let entered = t.table.register(t.now, "ann", "greeter", instance(1), None);
    let lease = entered.unwrap();
    t.now += seconds(1_000_000);
    t.table.renew(t.now, "ann", lease).unwrap();
    assert_eq!(t.addresses("greeter").len(), 1);
    assert_eq!(t.table.next_event(t.now), None);
    t.table.deregister(t.now, "ann", lease).unwrap();
    assert!(t.addresses("greeter").is_empty());
}

/// T18: an entry belongs to whoever made it.
#[test]
fn t18_nobody_touches_an_entry_of_somebody_else() {
    let mut t = Fixture::new();
    let lease = t.enter("greeter", instance(1));
    let now = t.now;
    let taken = t.table.register(now, "eve", "greeter", heavy(1), None);
    for refused in [
        taken.unwrap_err(),
        t.table.renew(now, "eve", lease).unwrap_err(),
        t.table.deregister(now, "eve", lease).unwrap_err(),
    ] {
        assert_eq!(refused.code(), rpc_core::Code::PermissionDenied);
    }
    assert_eq!(t.table.list("greeter", ""), [instance(1)]);
    // Its time is over: the address is free.
    t.now += seconds(10);
    let taken = t.table.register(t.now, "eve", "greeter", heavy(1), None);
    taken.unwrap();
}

/// A process that ends does not take the entry of its successor with it.
#[test]
fn an_older_lease_of_the_same_address_is_dead() {
    let mut t = Fixture::new();
    let old = t.enter("greeter", instance(1));
    let new = t.enter("greeter", instance(1));
    let now = t.now;
    let dead = t.table.deregister(now, "ann", old).unwrap_err();
    assert_eq!(dead.code(), rpc_core::Code::NotFound);
    t.table.renew(now, "ann", new).unwrap();
    // The end of the old entry does not end the new one.
    t.now += seconds(5);
    t.table.renew(t.now, "ann", new).unwrap();
    t.now += seconds(5);
    assert_eq!(t.addresses("greeter").len(), 1);
    assert_eq!(t.table.leases.len(), 1);
    assert_eq!(t.table.ends.len(), 1);
}

#[test]
fn t18_there_is_a_limit_to_entries() {
    let mut t = Fixture::with_entries_max(2);
    t.enter("a", instance(1));
    let lease = t.enter("b", instance(1));
    let full = t.table.register(t.now, "ann", "c", instance(1), None);
    assert_eq!(full.unwrap_err().code(), rpc_core::Code::ResourceExhausted);
    t.enter("b", heavy(1));
    assert!(t.table.renew(t.now, "ann", lease).is_err(), "replaced");
    t.now += seconds(10);
    t.enter("c", instance(1));
}

/// S2-9: a client is told what it has not seen, and nothing else.
#[test]
fn s2_9_changes_are_told_once_and_in_order() {
    let mut t = Fixture::new();
    t.now += SETTLING;
    let first = t.changes("greeter", Mark::default());
    assert!(first.reset && !first.more && first.entered.is_empty());
    let mut mark = first.mark;
    assert!(!t.table.has_news(t.now, "greeter", mark));

    let lease = t.enter("greeter", instance(1));
    t.enter("greeter", instance(2));
    t.enter("other", instance(3));
    assert!(t.table.has_news(t.now, "greeter", mark));
    let changes = t.changes("greeter", mark);
    assert_eq!(changes.entered, [instance(1), instance(2)]);
    assert!(!changes.reset && changes.left.is_empty());
    mark = changes.mark;

    // Renewing, and entering the same again, is no news.
    t.table.renew(t.now, "ann", lease).unwrap();
    t.enter("greeter", instance(2));
    assert!(!t.table.has_news(t.now, "greeter", mark));
    t.enter("greeter", heavy(2));
    t.now += seconds(5);
    t.enter("greeter", heavy(2));
    t.now += seconds(5);
    let changes = t.changes("greeter", mark);
    assert_eq!(changes.entered, [heavy(2)]);
    assert_eq!(changes.left, ["tcp://10.0.0.1:1"]);
    mark = changes.mark;
    // The last one leaves, and the name with it.
    t.now += seconds(5);
    t.table.expire(t.now);
    assert!(t.table.has_news(t.now, "greeter", mark));
    let changes = t.changes("greeter", mark);
    assert_eq!(changes.left, ["tcp://10.0.0.1:2"]);
    assert!(!t.table.has_news(t.now, "greeter", changes.mark));
}

#[test]
fn who_has_seen_another_life_or_too_little_begins_anew() {
    let mut t = Fixture::new();
    t.enter("greeter", instance(1));
    let mark = t.changes("greeter", Mark::default()).mark;
    let stranger = Mark { epoch: 1, ..mark };
    let ahead = Mark {
        revision: 1000,
        ..mark
    };
    for mark in [stranger, ahead] {
        let changes = t.changes("greeter", mark);
        assert!(changes.reset);
        assert_eq!(changes.entered, [instance(1)]);
    }
    for _ in 0..DEPARTURES_MAX + 1 {
        let lease = t.enter("busy", instance(2));
        t.table.deregister(t.now, "ann", lease).unwrap();
    }
    assert_eq!(t.table.departures.len(), DEPARTURES_MAX);
    assert!(t.changes("greeter", mark).reset);
}

/// What a client makes of the answers.
fn follow(t: &mut Fixture, known: &mut BTreeSet<String>, mark: &mut Mark) -> usize {
    let mut pages = 0;
    loop {
        let changes = t.changes("greeter", *mark);
        assert!(changes.entered.len() + changes.left.len() <= PAGE);
        pages += 1;
        if changes.reset {
            known.clear();
        }
        changes.left.iter().for_each(|left| {
            known.remove(left);
        });
        known.extend(changes.entered.into_iter().map(|i| i.address));
        *mark = changes.mark;
        if !changes.more {
            return pages;
        }
    }
}

#[test]
fn a_long_list_comes_in_pages_also_if_nothing_is_remembered() {
    let mut t = Fixture::new();
    for number in 0..10_000 {
        t.enter("greeter", instance(number));
    }
    for _ in 0..DEPARTURES_MAX + 1 {
        let lease = t.enter("busy", instance(2));
        t.table.deregister(t.now, "ann", lease).unwrap();
    }
    let (mut known, mut mark) = Default::default();
    assert_eq!(follow(&mut t, &mut known, &mut mark), 10);
    assert_eq!(known.len(), 10_000);
    assert_eq!(follow(&mut t, &mut known, &mut mark), 1);
    assert_eq!(known.len(), 10_000);
}

/// Whatever happens in between, who follows ends with the list.
#[test]
fn s2_9_whoever_follows_ends_with_the_list() {
    let mut random = fastrand::Rng::with_seed(29);
    for _ in 0..50 {
        let mut t = Fixture::new();
        let (mut known, mut mark) = (BTreeSet::new(), Mark::default());
        let mut leases = Vec::new();
        for _ in 0..300 {
            match random.u32(0..10) {
                0..=4 => {
                    let name = if random.bool() { "greeter" } else { "other" };
                    leases.push(t.enter(name, instance(random.usize(0..20))));
                }
                5 | 6 if !leases.is_empty() => {
                    let lease = leases[random.usize(..leases.len())];
                    let _ = t.table.deregister(t.now, "ann", lease);
                }
                7 => t.now += seconds(random.u64(0..4)),
                _ => {
                    let news = t.table.expire(t.now) | t.table.has_news(t.now, "greeter", mark);
                    let before = known.clone();
                    follow(&mut t, &mut known, &mut mark);
                    assert!(news || before == known);
                    assert_eq!(known, t.addresses("greeter").into_iter().collect());
                }
            }
        }
    }
}

#[test]
fn f5_a_registry_says_when_every_server_has_had_its_time() {
    let mut t = Fixture::new();
    assert_eq!(t.table.next_event(t.now), Some(t.now + SETTLING));
    let young = t.changes("greeter", Mark::default());
    assert!(!young.mark.settled);
    assert!(!t.table.has_news(t.now, "greeter", young.mark));
    t.now += SETTLING;
    assert!(t.table.has_news(t.now, "greeter", young.mark));
    assert!(t.changes("greeter", young.mark).mark.settled);
    assert_eq!(t.table.next_event(t.now), None);
}
