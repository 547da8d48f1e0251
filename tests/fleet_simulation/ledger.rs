//! What really happened, kept outside of the simulated hosts: it outlives their crashes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rpc::{Code, Status};

use crate::seeds;

/// Clocks tick in milliseconds, and a deadline on the wire is rounded.
const SLACK: Duration = Duration::from_millis(3);
/// Most executions of a call that may be executed again: three attempts, and a hedge.
const EXECUTIONS_MAX: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A method that may run once.
    Once,
    /// A method that is marked idempotent.
    Again,
    /// The reply is a stream.
    Stream,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_for_ready: bool,
}

/// How a call ended, as its caller saw it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With this nonce.
    Reply(u64),
    Failed(Status),
    /// The caller dropped the future.
    GivenUp,
    /// The host of the caller crashed.
    Died,
}

#[derive(Debug)]
struct Call {
    terms: Terms,
    executions: u32,
    outcome: Option<Outcome>,
}

/// Everything that one simulation did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    trace: Vec<String>,
    violations: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    calls: u64,
    replies: u64,
    unavailable: u64,
    not_processed: u64,
    deadline_exceeded: u64,
    given_up: u64,
    died: u64,
    executed_again: u64,
}

impl seeds::Tally for Tally {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.replies += other.replies;
        self.unavailable += other.unavailable;
        self.not_processed += other.not_processed;
        self.deadline_exceeded += other.deadline_exceeded;
        self.given_up += other.given_up;
        self.died += other.died;
        self.executed_again += other.executed_again;
    }

    fn assert_eventful(&self) {
        assert!(self.replies > self.calls / 4, "{self:?}");
        let rare = [
            self.unavailable,
            self.not_processed,
            self.deadline_exceeded,
            self.given_up,
            self.died,
            self.executed_again,
        ];
        assert!(rare.iter().all(|count| *count > 0), "{self:?}");
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics in here")
    }

    /// Takes down an event with the simulated time.
    pub(crate) fn note(&self, what: &str) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let line = format!("{:>9.3} {what}", at.as_secs_f64() * 1e3);
        self.lock().trace.push(line);
    }

    pub(crate) fn violation(&self, what: String) {
        self.note(&what);
        self.lock().violations.push(what);
    }

    /// A call begins; gives its nonce.
    pub(crate) fn begin(&self, who: &str, terms: Terms) -> u64 {
        let nonce = {
            let mut inner = self.lock();
            inner.calls.push(Call {
                terms,
                executions: 0,
                outcome: None,
            });
            inner.calls.len() as u64 - 1
        };
        self.note(&format!("{who} calls {nonce}: {terms:?}"));
        nonce
    }

    /// A handler begins to run.
    pub(crate) fn execute(&self, nonce: u64, where_: &str) {
        self.note(&format!("{where_} runs {nonce}"));
        self.lock().calls[nonce as usize].executions += 1;
    }

    /// A call ends.
    pub(crate) fn end(&self, nonce: u64, took: Duration, outcome: Outcome) {
        if !matches!(outcome, Outcome::Died) {
            // In which order the tasks of a crashed host are dropped is left open.
            self.note(&format!("ends {nonce} after {took:?}: {outcome:?}"));
        }
        let (terms, twice) = {
            let mut inner = self.lock();
            let call = &mut inner.calls[nonce as usize];
            (call.terms, call.outcome.is_some())
        };
        if twice {
            self.violation(format!("{nonce} ended twice"));
        }
        if let Some(mistake) = mistake(nonce, terms, took, &outcome) {
            self.violation(format!("{nonce} {terms:?} after {took:?}: {mistake}"));
        }
        self.lock().calls[nonce as usize].outcome = Some(outcome);
    }

    /// What can only be said when all is over.
    pub(crate) fn audit(&self) -> Tally {
        let mut tally = Tally::default();
        let mut wrong = Vec::new();
        for (nonce, call) in self.lock().calls.iter().enumerate() {
            let mut violation = |what: &str| wrong.push(format!("{nonce}: {what}: {call:?}"));
            let runs = call.executions;
            tally.calls += 1;
            tally.executed_again += u64::from(runs > 1);
            if call.terms.kind != Kind::Again && runs > 1 {
                violation("ran more than once, unmarked");
            }
            if runs > EXECUTIONS_MAX {
                violation("ran more often than there are attempts");
            }
            match &call.outcome {
                None => violation("never ended"),
                Some(Outcome::Reply(_)) => {
                    tally.replies += 1;
                    if runs == 0 {
                        violation("has a reply, but no handler ran");
                    }
                }
                Some(Outcome::Failed(status)) => {
                    tally.unavailable += u64::from(status.code() == Code::Unavailable);
                    tally.deadline_exceeded += u64::from(status.code() == Code::DeadlineExceeded);
                    tally.not_processed += u64::from(status.is_not_processed());
                    if status.is_not_processed() && runs > 0 {
                        violation("is said to be not processed, but ran");
                    }
                }
                Some(Outcome::GivenUp) => tally.given_up += 1,
                Some(Outcome::Died) => tally.died += 1,
            }
        }
        wrong.into_iter().for_each(|what| self.violation(what));
        tally
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }
}

/// What is wrong with an outcome, as far as the caller alone can tell.
fn mistake(nonce: u64, terms: Terms, took: Duration, outcome: &Outcome) -> Option<String> {
    if terms.timeout.is_some_and(|timeout| took > timeout + SLACK) {
        return Some("ended after its deadline".into());
    }
    let status = match outcome {
        Outcome::Reply(reply) if *reply != nonce => {
            return Some(format!("the reply of another call: {reply}"));
        }
        Outcome::Reply(_) | Outcome::GivenUp | Outcome::Died => return None,
        Outcome::Failed(status) => status,
    };
    let is_allowed = match status.code() {
        Code::Unavailable => true,
        Code::DeadlineExceeded => terms.timeout.is_some_and(|timeout| took + SLACK >= timeout),
        _ => false,
    };
    if !is_allowed {
        return Some(format!("an outcome that is not allowed: {status}"));
    }
    if terms.wait_for_ready && status.code() == Code::Unavailable && status.is_not_processed() {
        return Some(format!("waits for a server, and still: {status}"));
    }
    None
}
