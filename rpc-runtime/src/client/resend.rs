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

/// Decides about a call whose connection takes no further calls.
pub(super) fn decide(status: &Status, policy: ResendPolicy, resent: u32) -> Resend {
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
