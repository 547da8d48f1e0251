//! Adaptive throttling (Google SRE) in front of servers that fail, or can do only so much.

use std::time::Duration;

use rpc_runtime::balance::Dice;
use rpc_runtime::resilience::CircuitBreaker;

use super::{ms, secs};

const CALLS_PER_SECOND: u32 = 1000;
const WINDOW: Duration = Duration::from_secs(3);

/// A client with a breaker, and what it did.
struct Client {
    breaker: CircuitBreaker,
    dice: Dice,
    now: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    calls: u32,
    sent: u32,
    succeeded: u32,
}

impl Client {
    fn new() -> Self {
        Self {
            breaker: CircuitBreaker::default(),
            dice: Dice::new(5),
            now: secs(1000),
        }
    }

    /// Calls for so long; the server answers each call 5 ms later, if `works` says so of the call's
    /// number within its second and a random number.
    fn run(&mut self, time: Duration, works: impl Fn(u32, f64) -> bool) -> Seen {
        let step = secs(1) / CALLS_PER_SECOND;
        let mut seen = Seen::default();
        let mut sent_this_second = 0;
        let end = self.now + time;
        while self.now < end {
            self.now += step;
            if self.now.subsec_nanos() < step.subsec_nanos() {
                sent_this_second = 0;
            }
            seen.calls += 1;
            if !self.breaker.allow(self.now, self.dice.unit()) {
                continue;
            }
            seen.sent += 1;
            sent_this_second += 1;
            if works(sent_this_second, self.dice.unit()) {
                seen.succeeded += 1;
                self.breaker.note_accepted(self.now + ms(5));
            }
        }
        seen
    }

    /// How long until less than one in a hundred calls is rejected.
    fn recovery(&mut self) -> Duration {
        let start = self.now;
        while self.breaker.rejected_share(self.now) >= 0.01 {
            self.run(ms(10), |_, _| true);
        }
        self.now - start
    }
}

#[test]
fn in_a_total_outage_a_tenth_gets_through_and_recovery_takes_less_than_two_windows() {
    let mut client = Client::new();
    assert_eq!(client.run(secs(30), |_, _| true).sent, 30_000);
    client.run(WINDOW, |_, _| false);
    let outage = client.run(secs(30), |_, _| false);
    let share = f64::from(outage.sent) / f64::from(outage.calls);
    let recovery = client.recovery();
    println!("{:.1} % get through, recovery {recovery:?}", share * 100.0);
    assert!(share < 0.11, "{share}");
    assert!(recovery < 2 * WINDOW, "{recovery:?}");
    // No flapping: the past leaves the window, and nothing is rejected for good.
    client.run(WINDOW, |_, _| true);
    let healed = client.run(secs(60), |_, _| true);
    assert_eq!(healed.sent, healed.calls);
}

#[test]
fn servers_that_can_do_a_fifth_are_sent_two_fifths_and_kept_busy() {
    let mut client = Client::new();
    client.run(secs(10), |number, _| number <= 200);
    let seen = client.run(secs(30), |number, _| number <= 200);
    println!("{seen:?}");
    let sent = f64::from(seen.sent) / f64::from(seen.calls);
    assert!((0.35..0.45).contains(&sent), "{sent}");
    assert!(seen.succeeded >= 5900, "{seen:?}");
}

#[test]
fn a_third_that_fails_is_not_worth_a_rejection() {
    let mut client = Client::new();
    let seen = client.run(secs(30), |_, random| random > 0.33);
    assert_eq!(seen.sent, seen.calls);
}

#[test]
fn few_calls_are_never_rejected() {
    let breaker = CircuitBreaker::default();
    for call in 0..100 {
        // Six in each window, all failing.
        assert!(breaker.allow(secs(1000) + ms(500 * call), 0.0));
    }
}
