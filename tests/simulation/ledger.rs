//! What really happened, kept outside of the simulated hosts: it outlives their crashes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rpc::{Code, Status};

/// Clocks tick in milliseconds, and a deadline on the wire is rounded.
const SLACK: Duration = Duration::from_millis(3);

/// Who calls what, on what terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A method that may run once.
    Once,
    /// A method that is marked idempotent.
    Again,
    /// A method that fails with a status of its own.
    Fail,
    Oneway,
    /// The reply is a stream.
    Download,
    /// A stream is an argument.
    Upload,
    /// Both.
    Echo,
}

impl Kind {
    /// What was sent of a stream cannot be sent again.
    const fn uploads(self) -> bool {
        matches!(self, Self::Upload | Self::Echo)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_for_ready: bool,
    /// The caller closed the channel while the call was open.
    pub(crate) closes: bool,
}

/// How a call ended, as its caller saw it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The nonce in the reply; none for a oneway call.
    Reply(Option<u64>),
    /// A stream that ended well, after all of it.
    Streamed,
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
    /// Its stream failed, behind some items.
    torn: bool,
    outcome: Option<Outcome>,
}

/// What is allowed in one simulation, and not in another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How often a call that is marked idempotent may run.
    pub(crate) executions_max: fn(Terms) -> u32,
    /// Servers have so few places that a call may be refused.
    pub(crate) server_may_be_full: bool,
}

/// Everything that one simulation did.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    rules: Rules,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    trace: Vec<String>,
    violations: Vec<String>,
}

/// Counts over many seeds: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    calls: u64,
    replies: u64,
    /// Of which streams.
    streamed: u64,
    /// Streams that failed after some of their items.
    torn: u64,
    unavailable: u64,
    not_processed: u64,
    deadline_exceeded: u64,
    no_room: u64,
    given_up: u64,
    died: u64,
    executed_again: u64,
}

impl Ledger {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            inner: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics in here")
    }

    /// Takes down an event of a host with the simulated time.
    pub(crate) fn note(&self, what: &str) {
        if let Some(at) = turmoil::sim_elapsed() {
            self.note_at(at, what);
        }
    }

    pub(crate) fn note_at(&self, at: Duration, what: &str) {
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
                torn: false,
                outcome: None,
            });
            inner.calls.len() as u64 - 1
        };
        self.note(&format!("{who} calls {nonce}: {terms:?}"));
        nonce
    }

    /// A handler begins to run.
    pub(crate) fn execute(&self, nonce: u64, host: &str) {
        self.note(&format!("{host} runs {nonce}"));
        let known = {
            let mut inner = self.lock();
            let call = inner.calls.get_mut(nonce as usize);
            call.map(|call| call.executions += 1).is_some()
        };
        if !known {
            self.violation(format!("a nonce that nobody sent: {nonce}"));
        }
    }

    /// A stream failed behind some of its items.
    pub(crate) fn tear(&self, nonce: u64) {
        self.lock().calls[nonce as usize].torn = true;
    }

    /// A handler was stopped or finished this long after the deadline it knew of.
    pub(crate) fn overdue(&self, nonce: u64, late: Duration) {
        if late > SLACK {
            self.violation(format!("the handler of {nonce} ran on for {late:?}"));
        }
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
        if let Some(mistake) = self.rules.mistake(nonce, terms, took, &outcome) {
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
            tally.torn += u64::from(call.torn);
            tally.executed_again += u64::from(runs > 1);
            if call.terms.kind != Kind::Again && runs > 1 {
                violation("ran more than once, unmarked");
            }
            if runs > (self.rules.executions_max)(call.terms) {
                violation("was sent again too often");
            }
            match &call.outcome {
                None => violation("never ended"),
                Some(outcome @ (Outcome::Reply(_) | Outcome::Streamed)) => {
                    tally.replies += 1;
                    tally.streamed += u64::from(matches!(outcome, Outcome::Streamed));
                    if runs == 0 && call.terms.kind != Kind::Oneway {
                        violation("has a reply, but no handler ran");
                    }
                }
                Some(Outcome::Failed(status)) => {
                    tally.count(status);
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

impl Rules {
    /// What is wrong with an outcome, as far as the caller alone can tell.
    fn mistake(
        self,
        nonce: u64,
        terms: Terms,
        took: Duration,
        outcome: &Outcome,
    ) -> Option<String> {
        if let Some(timeout) = terms.timeout
            && took > timeout + SLACK
        {
            return Some("ended after its deadline".into());
        }
        match outcome {
            Outcome::Reply(Some(reply)) if *reply != nonce => {
                Some(format!("the reply of another call: {reply}"))
            }
            Outcome::Reply(None) if terms.kind != Kind::Oneway => Some("an empty reply".into()),
            Outcome::Reply(_) if terms.kind == Kind::Fail => Some("a reply of a failure".into()),
            Outcome::Reply(_) | Outcome::Streamed | Outcome::GivenUp | Outcome::Died => None,
            Outcome::Failed(status) => self.wrong_status(nonce, terms, took, status),
        }
    }

    fn wrong_status(
        self,
        nonce: u64,
        terms: Terms,
        took: Duration,
        status: &Status,
    ) -> Option<String> {
        let allowed = match status.code() {
            Code::Unavailable => true,
            Code::DeadlineExceeded => terms.timeout.is_some_and(|timeout| took + SLACK >= timeout),
            // The server had no place, hence nothing ran; of a call that was sent again, the last time.
            Code::ResourceExhausted => {
                let ran_not = status.is_not_processed() || terms.kind == Kind::Again;
                ran_not && self.server_may_be_full
            }
            Code::Aborted => terms.kind == Kind::Fail && status.message() == nonce.to_string(),
            _ => false,
        };
        if !allowed {
            return Some(format!("an outcome that is not allowed: {status}"));
        }
        let waits = terms.wait_for_ready && !terms.closes && !terms.kind.uploads();
        if waits && status.code() == Code::Unavailable && status.is_not_processed() {
            return Some(format!("waits for a server, and still: {status}"));
        }
        None
    }
}

impl Tally {
    fn count(&mut self, status: &Status) {
        match status.code() {
            Code::Unavailable => self.unavailable += 1,
            Code::DeadlineExceeded => self.deadline_exceeded += 1,
            Code::ResourceExhausted => self.no_room += 1,
            _ => self.replies += 1,
        }
        self.not_processed += u64::from(status.is_not_processed());
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.replies += other.replies;
        self.streamed += other.streamed;
        self.torn += other.torn;
        self.unavailable += other.unavailable;
        self.not_processed += other.not_processed;
        self.deadline_exceeded += other.deadline_exceeded;
        self.no_room += other.no_room;
        self.given_up += other.given_up;
        self.died += other.died;
        self.executed_again += other.executed_again;
    }

    /// Whether everything has happened that is to be survived.
    pub(crate) fn is_eventful(&self) -> bool {
        let rare = [
            self.unavailable,
            self.not_processed,
            self.deadline_exceeded,
            self.given_up,
            self.died,
            self.executed_again,
            self.streamed,
            self.torn,
        ];
        self.replies > self.calls / 10 && rare.iter().all(|count| *count > 0)
    }
}
