//! Runs seeds: some of them twice, for a seed that is not the same twice proves nothing.

use std::cell::Cell;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::ledger::Tally;

/// Tests that share the seeds, so that several cores work.
const PARTS: u64 = 4;
/// Of so many seeds, one is run twice.
const TWICE_EVERY: u64 = 5;

/// The seeds of one test file.
pub(crate) struct Seeds {
    /// Of the variables that choose seeds: `PREFIX_SEEDS` says how many to run, `PREFIX_SEED` runs
    /// one alone, with its trace.
    pub(crate) prefix: &'static str,
    /// In a run, over all parts together.
    pub(crate) count: u64,
    pub(crate) run: fn(u64) -> Run,
}

/// What a seed did.
pub(crate) struct Run {
    pub(crate) tally: Tally,
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<String>,
}

impl Seeds {
    /// Runs the seeds of one part.
    pub(crate) fn run_part(&self, part: u64) {
        let run = |seed| counting_panics(|| (self.run)(seed));
        if let Some(seed) = self.variable("SEED") {
            if part == 0 {
                let run = run(seed);
                println!("{}", tail(&run.trace, usize::MAX));
                assert!(run.violations.is_empty(), "{:#?}", run.violations);
            }
            return;
        }
        let seeds = self.variable("SEEDS").unwrap_or(self.count);
        let mut tally = Tally::default();
        let mut count = 0;
        for seed in (part..seeds).step_by(PARTS as usize) {
            let checked = catch_unwind(AssertUnwindSafe(|| check(seed, &run)));
            let prefix = self.prefix;
            tally.add(checked.unwrap_or_else(|_| {
                panic!("seed {seed} failed; {prefix}_SEED={seed} runs it alone")
            }));
            count += 1;
        }
        println!("{count} seeds: {tally:?}");
        if count >= 25 {
            assert!(tally.is_eventful(), "{tally:?}");
        }
    }

    fn variable(&self, name: &str) -> Option<u64> {
        let name = format!("{}_{name}", self.prefix);
        let value = std::env::var(&name).ok()?;
        Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
    }
}

fn check(seed: u64, run: &impl Fn(u64) -> Run) -> Tally {
    let one = run(seed);
    if !one.violations.is_empty() {
        let tail = tail(&one.trace, 40);
        panic!("seed {seed}: {:#?}\nlast events:\n{tail}", one.violations);
    }
    if (seed / PARTS).is_multiple_of(TWICE_EVERY) {
        assert_same(seed, &one.trace, &run(seed).trace);
    }
    one.tally
}

fn assert_same(seed: u64, one: &[String], other: &[String]) {
    if fingerprint(one) == fingerprint(other) {
        return;
    }
    let mut pairs = one.iter().zip(other);
    let first = pairs.find(|(one, other)| one != other);
    panic!(
        "seed {seed} is not the same twice ({} and {} events); it first differs in {first:#?}",
        one.len(),
        other.len(),
    );
}

/// One number for a whole trace.
fn fingerprint(trace: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    trace.hash(&mut hasher);
    hasher.finish()
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// A panic in a task of the simulation ends that task and nothing else; here it counts.
fn counting_panics(run: impl FnOnce() -> Run) -> Run {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            print(panic);
        }));
    });
    PANICS.set(0);
    let mut run = run();
    if PANICS.get() > 0 {
        run.violations.push(format!("{} panics", PANICS.get()));
    }
    run
}

/// The end of a trace, for a person.
fn tail(trace: &[String], lines: usize) -> String {
    let mut text = String::new();
    for line in &trace[trace.len().saturating_sub(lines)..] {
        let _ = writeln!(text, "{line}");
    }
    text
}
