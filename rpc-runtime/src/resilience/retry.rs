//! May a call that failed be tried again, when, and where?
//!
//! At most once is the rule: only what provably was not processed, or is idempotent, is tried again.
//! Codes, push-back and caps are gRPC's (A6).

use std::time::Duration;

use rpc_core::{Code, Metadata, Status};

use super::{BackoffPolicy, RetryBudget};

/// When to try a call again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    attempts_max: u32,
    /// A bit for each code.
    codes: u32,
    backoff: BackoffPolicy,
    fails_over: bool,
}

impl Default for RetryPolicy {
    /// Three attempts, each elsewhere, after `Unavailable`; pauses of up to 10 ms, 16 ms, and so on
    /// to a second.
    fn default() -> Self {
        let backoff = BackoffPolicy::default()
            .with_base(Duration::from_millis(10))
            .with_cap(Duration::from_secs(1));
        Self {
            attempts_max: 3,
            codes: bit(Code::Unavailable),
            backoff,
            fails_over: true,
        }
    }
}

impl RetryPolicy {
    /// More attempts than this are this many.
    pub const ATTEMPTS_MAX: u32 = 5;

    /// One attempt; what fails has failed.
    #[must_use]
    pub fn fail_fast() -> Self {
        Self::default().with_attempts_max(1)
    }

    /// Three attempts at the same backend.
    #[must_use]
    pub fn fail_try() -> Self {
        Self {
            fails_over: false,
            ..Self::default()
        }
    }

    /// Three attempts, each at a backend that the call was not at yet: the default.
    #[must_use]
    pub fn fail_over() -> Self {
        Self::default()
    }

    /// How many attempts a call has, the first included: 1 is no retry.
    #[must_use]
    pub const fn with_attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = match attempts {
            0 => 1,
            1..Self::ATTEMPTS_MAX => attempts,
            _ => Self::ATTEMPTS_MAX,
        };
        self
    }

    /// After which codes a call is tried again. `ResourceExhausted` with a
    /// [push-back](Pushback::After) always is.
    #[must_use]
    pub fn with_codes(mut self, codes: &[Code]) -> Self {
        self.codes = codes.iter().fold(0, |bits, code| bits | bit(*code));
        self
    }

    /// How long to pause before each attempt.
    #[must_use]
    pub const fn with_backoff(mut self, backoff: BackoffPolicy) -> Self {
        self.backoff = backoff;
        self
    }

    /// True if an attempt goes where the call was not yet, false if it stays where it was.
    #[must_use]
    pub const fn fails_over(&self) -> bool {
        self.fails_over
    }

    fn helps(&self, code: Code, pushback: Option<Pushback>) -> bool {
        let is_paced = matches!(pushback, Some(Pushback::After(_)));
        self.codes & bit(code) != 0 || (code == Code::ResourceExhausted && is_paced)
    }

    /// The pause before the next attempt of a call that failed. `random` is from 0.0 to 1.0.
    ///
    /// Takes an attempt out of the budget. One is free: the second attempt of a call that provably
    /// was not processed the first time, since that cost no server anything.
    ///
    /// # Errors
    /// Why there is none.
    pub fn decide(
        &self,
        attempted: &Attempted<'_>,
        budget: &RetryBudget,
        now: Duration,
        random: f64,
    ) -> Result<Duration, GiveUp> {
        let status = attempted.status;
        let pushback = Pushback::of(status);
        if !self.helps(status.code(), pushback) {
            return Err(GiveUp::Code);
        }
        if !status.is_not_processed() && !attempted.idempotent {
            return Err(GiveUp::MaybeProcessed);
        }
        if attempted.attempts >= self.attempts_max {
            return Err(GiveUp::Attempts);
        }
        let pause = match pushback {
            Some(Pushback::Stop) => return Err(GiveUp::Pushback),
            Some(Pushback::After(pause)) => pause,
            None => self
                .backoff
                .pause(attempted.attempts.saturating_sub(1), random),
        };
        if attempted
            .remaining
            .is_some_and(|remaining| remaining <= pause)
        {
            return Err(GiveUp::Deadline);
        }
        let is_free = attempted.attempts <= 1 && status.is_not_processed();
        if !is_free && !budget.withdraw(now) {
            return Err(GiveUp::Budget);
        }
        Ok(pause)
    }
}

const fn bit(code: Code) -> u32 {
    1 << code.number()
}

/// A call that failed, so far.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    status: &'a Status,
    attempts: u32,
    idempotent: bool,
    remaining: Option<Duration>,
}

impl<'a> Attempted<'a> {
    /// A call whose last attempt failed so, after so many of them.
    #[must_use]
    pub const fn new(status: &'a Status, attempts: u32) -> Self {
        Self {
            status,
            attempts,
            idempotent: false,
            remaining: None,
        }
    }

    /// Sets whether running the method twice is the same as running it once.
    #[must_use]
    pub const fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Sets how long the call has until its deadline.
    #[must_use]
    pub const fn with_remaining(mut self, remaining: Option<Duration>) -> Self {
        self.remaining = remaining;
        self
    }
}

/// Why a call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// Trying again does not help against this code.
    Code,
    /// It may have been processed, and is not idempotent.
    MaybeProcessed,
    /// It had all its attempts.
    Attempts,
    /// The server asked not to.
    Pushback,
    /// The deadline comes before the next attempt.
    Deadline,
    /// All calls together have made too many attempts; see [`RetryBudget`].
    Budget,
}

/// What a server says about trying again, in the metadata of a failure.
///
/// A client that has given up on a call sets [`Stop`](Self::Stop) on the status it reports. When a
/// handler returns that to its own caller, the caller does not try again what was tried enough one
/// hop further down: retries do not multiply along a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushback {
    /// Not before so long.
    After(Duration),
    /// Not at all.
    Stop,
}

impl Pushback {
    /// The key of the metadata: milliseconds; what is negative or no number is [`Stop`](Self::Stop).
    pub const KEY: &str = "retry-pushback-ms";

    /// What the server said, if anything.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let value = status.metadata().get(Self::KEY)?;
        let millis = value.parse().map(Duration::from_millis);
        Some(millis.map_or(Self::Stop, Self::After))
    }

    /// The same status, saying this. Unchanged if its metadata is full.
    #[must_use]
    pub fn put(self, status: Status) -> Status {
        let millis = match self {
            Self::After(pause) => pause.as_millis().to_string(),
            Self::Stop => "-1".to_owned(),
        };
        let mut metadata: Metadata = status.metadata().clone();
        match metadata.insert(Self::KEY, &millis) {
            Ok(()) => status.with_metadata(metadata),
            Err(_) => status,
        }
    }
}
