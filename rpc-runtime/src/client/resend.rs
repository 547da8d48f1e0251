//! May a call that failed with its connection be sent again?
//!
//! At most once is the rule: a call is sent again only if it provably was not processed, or if
//! running it twice is the same as running it once.

use rpc_core::{Code, Status};

/// What the caller has said about a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResendPolicy {
    /// Running the method twice is the same as running it once.
    pub(crate) idempotent: bool,
    /// The caller waits for a server rather than fail.
    pub(crate) wait_for_ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resend {
    Yes,
    No,
}

/// How often a call is sent again if its caller does not wait for a server.
const RESENDS_MAX: u32 = 1;

/// How often a call may find that its connection is over already. Nothing was written then, so that
/// it costs nothing but time; the limit is for a server that goes as soon as it has come.
const STALE_MAX: u32 = 8;

/// What became of the attempts of one call so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    resent: u32,
    /// Those that found their connection closed.
    stale: u32,
}

impl Attempts {
    /// Decides about a call whose connection takes no further calls, and whose request was never
    /// `begun` on it.
    pub(super) fn decide(&mut self, status: &Status, policy: ResendPolicy, begun: bool) -> Resend {
        if !begun && status.code() == Code::Unavailable && self.stale < STALE_MAX {
            self.stale += 1;
            return Resend::Yes;
        }
        let decision = decide(status, policy, self.resent);
        self.resent = self.resent.saturating_add(1);
        decision
    }
}

/// Decides about a call whose connection takes no further calls.
fn decide(status: &Status, policy: ResendPolicy, resent: u32) -> Resend {
    let safe = status.is_not_processed() || policy.idempotent;
    let worth_it = resent < RESENDS_MAX || policy.wait_for_ready;
    if status.code() == Code::Unavailable && safe && worth_it {
        return Resend::Yes;
    }
    Resend::No
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_was_not_begun_is_free_for_a_while() {
        let status = Status::unavailable("").with_not_processed();
        let policy = ResendPolicy::default();
        let mut attempts = Attempts::default();
        for _ in 0..STALE_MAX {
            assert_eq!(attempts.decide(&status, policy, false), Resend::Yes);
        }
        assert_eq!(attempts.decide(&status, policy, true), Resend::Yes);
        assert_eq!(attempts.decide(&status, policy, true), Resend::No);
        assert_eq!(attempts.decide(&status, policy, false), Resend::No);
    }

    #[test]
    fn every_code_with_every_promise() {
        let waits = ResendPolicy {
            wait_for_ready: true,
            ..ResendPolicy::default()
        };
        let idempotent = ResendPolicy {
            idempotent: true,
            ..ResendPolicy::default()
        };
        for code in (1..=16).map(Code::from_number) {
            let processed = Status::new(code, "");
            let unprocessed = Status::new(code, "").with_not_processed();
            let unavailable = code == Code::Unavailable;
            for (status, policy, resent, expected) in [
                (&processed, ResendPolicy::default(), 0, false),
                (&processed, waits, 0, false),
                (&processed, idempotent, 0, unavailable),
                (&processed, idempotent, 1, false),
                (&unprocessed, ResendPolicy::default(), 0, unavailable),
                (&unprocessed, ResendPolicy::default(), 1, false),
                (&unprocessed, waits, 99, unavailable),
            ] {
                let expected = if expected { Resend::Yes } else { Resend::No };
                assert_eq!(
                    decide(status, policy, resent),
                    expected,
                    "{status:?} {policy:?}"
                );
            }
        }
    }
}
