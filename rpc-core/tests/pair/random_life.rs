//! Ten thousand random lives of a connection: deadlines, pauses, drains and ends at any moment.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rpc_core::connection::{ConnectionError, RequestHead, StartError};
use rpc_core::{Code, Deadline, MethodId};

use super::clock::{MS, SECOND};
use super::harness::*;

/// What the test knows of a call.
#[derive(Clone, Copy, Debug)]
struct Known {
    method: MethodId,
    deadline: Option<Instant>,
    given_up: bool,
    ended: bool,
}

struct Life {
    pair: Pair,
    serial: u64,
    calls: HashMap<u64, Known>,
    /// How much of what the client saw was checked.
    checked: usize,
    go_away: bool,
    closed: bool,
}

impl Life {
    fn new(sizes: [Vec<usize>; 2]) -> Self {
        let [to_server, to_client] = sizes;
        Self {
            pair: Pair::with_cuts(Cut::Sizes(to_server), Cut::Sizes(to_client)),
            serial: 0,
            calls: HashMap::new(),
            checked: 0,
            go_away: false,
            closed: false,
        }
    }

    fn step(&mut self, action: u8, choice: u8) {
        let outcome = match action % 24 {
            0..=2 => self.call(ECHO, choice),
            3..=6 => self.call(WAIT, choice),
            7 => self.call(FAIL, choice),
            8 => self.call(UNKNOWN, choice),
            9 | 10 => self.give_up(choice),
            11 | 12 => self.answer(choice),
            13..=15 => self.pair.carry_to_server(),
            16..=18 => self.pair.carry_to_client(),
            19..=21 => self.pass(choice),
            22 if choice < 60 => {
                self.pair.server.drain(self.pair.now, "moving");
                self.go_away = true;
                Ok(())
            }
            23 if choice < 20 => return self.close(),
            _ => self.oneway(),
        };
        self.check();
        match outcome {
            Ok(()) => {}
            Err(ConnectionError::Silent | ConnectionError::HandshakeTimeout(_)) => self.close(),
            Err(other) => panic!("neither side did anything wrong: {other}"),
        }
    }

    fn call(&mut self, method: MethodId, choice: u8) -> Result<(), ConnectionError> {
        self.serial += 1;
        let time = [None, Some(0), Some(7), Some(100), Some(20_000)][usize::from(choice) % 5];
        let now = self.pair.now;
        let deadline = time.map(|ms| Deadline::after(now, MS * ms));
        let head = RequestHead::new(method).with_deadline(deadline, now);
        // Some clients tell the time that is left and do not watch it.
        let head = match choice {
            ..200 => head,
            _ => RequestHead::new(method).with_timeout(head.timeout),
        };
        let serial = self.serial;
        let started = self.pair.client.start_call(head, serial, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            Ok(())
        });
        match started {
            Ok(call) => {
                self.pair.calls.insert(serial, call);
                let known = Known {
                    method,
                    deadline: deadline.map(Deadline::instant),
                    given_up: false,
                    ended: false,
                };
                self.calls.insert(serial, known);
            }
            Err(StartError::Closed) => assert!(self.go_away || self.closed),
            Err(other) => panic!("{other:?}"),
        }
        Ok(())
    }

    fn oneway(&mut self) -> Result<(), ConnectionError> {
        if self.pair.client.accepts_calls() {
            self.pair.oneway(ECHO, &0_u64.to_le_bytes());
        }
        Ok(())
    }

    fn give_up(&mut self, choice: u8) -> Result<(), ConnectionError> {
        let open = self.calls.iter_mut().filter(|(_, known)| !known.ended);
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(serial, _)| **serial);
        let count = open.len().max(1);
        if let Some((serial, known)) = open.into_iter().nth(usize::from(choice) % count) {
            known.given_up = true;
            known.ended = true;
            let data = self.pair.client.release(self.pair.calls[serial]);
            assert_eq!(data, Some(*serial));
        }
        Ok(())
    }

    fn answer(&mut self, choice: u8) -> Result<(), ConnectionError> {
        if !self.pair.waiting.is_empty() {
            let which = usize::from(choice) % self.pair.waiting.len();
            let (call, body) = self.pair.waiting.swap_remove(which);
            if self.pair.server.unpark(call).is_some() {
                reply(&mut self.pair.server, call, &metadata(&[]), &body);
            }
        }
        Ok(())
    }

    /// Time passes, in one piece for both, or as each asks for it.
    fn pass(&mut self, choice: u8) -> Result<(), ConnectionError> {
        let time = [MS, 7 * MS, 150 * MS, SECOND, 11 * SECOND][usize::from(choice) % 5];
        if choice < 128 {
            return self.pair.run_for(time);
        }
        let [client, server] = self.pair.pass(time);
        client.and(server)
    }

    /// The server closes, or just the stream ends; what was written may arrive or not.
    fn close(&mut self) {
        self.closed = true;
        if self.serial.is_multiple_of(2) {
            self.go_away = true;
            self.pair.server.close("bye");
            let arrived = self.pair.carry_to_client();
            assert!(arrived.is_ok() || matches!(arrived, Err(ConnectionError::Silent)));
        }
        self.pair.close_client();
        self.pair.server.close("the stream ended");
        take(self.pair.server.outgoing());
        self.check();
    }

    /// Whatever the client saw since the last time is allowed, and news.
    fn check(&mut self) {
        let go_away = self.pair.client_saw[self.checked..].iter();
        let last = go_away.filter_map(|saw| match saw {
            ClientSaw::GoAway { last, .. } => Some(*last),
            _ => None,
        });
        if let Some(last) = last.min() {
            assert!(self.go_away);
            self.pair.heed_go_away(last);
        }
        let now = self.pair.now;
        for saw in &self.pair.client_saw[self.checked..] {
            let (kept, body) = match saw {
                ClientSaw::Opened | ClientSaw::GoAway { .. } => continue,
                ClientSaw::Replied { kept, body, .. } => (kept, Some(&body[..])),
                ClientSaw::Failed { kept, status, .. } => {
                    (kept, status.error_body().map(|body| &body[..]))
                }
                ClientSaw::Expired(kept)
                | ClientSaw::NotProcessed(kept)
                | ClientSaw::Lost(kept) => (kept, None),
                other => panic!("there are no streams: {other:?}"),
            };
            let known = self.calls.get_mut(kept).expect("it was started");
            assert!(!known.ended, "{kept} ended twice: {saw:?}");
            known.ended = true;
            assert!(body.is_none_or(|body| body == kept.to_le_bytes()));
            let due = known.deadline.is_some_and(|deadline| deadline <= now);
            match saw {
                ClientSaw::Replied { .. } => assert!([ECHO, WAIT].contains(&known.method)),
                ClientSaw::Expired(_) => assert!(due, "early"),
                ClientSaw::NotProcessed(_) => assert!(self.go_away || self.closed),
                ClientSaw::Lost(_) => assert!(self.closed),
                other => match other.code() {
                    Some(Code::FailedPrecondition) => assert_eq!(known.method, FAIL),
                    Some(Code::Unimplemented) => assert_eq!(known.method, UNKNOWN),
                    Some(Code::Unavailable) => assert!(self.go_away),
                    // The field of the wire is a little rounded down, never up.
                    Some(Code::DeadlineExceeded) => {
                        assert!(known.deadline.is_some_and(|d| d <= now + 20 * MS), "early")
                    }
                    _ => panic!("{other:?}"),
                },
            }
        }
        self.checked = self.pair.client_saw.len();
    }

    fn finish(mut self) {
        if !self.closed {
            self.pair.drive();
            self.check();
            self.pair.answer_parked();
            self.pair.drive();
            self.check();
            assert!(self.pair.is_quiet());
            assert!(!self.go_away || self.pair.server.is_drained());
            assert_eq!(self.go_away, self.pair.client.is_drained());
        }
        assert_eq!(self.pair.server.running(), 0);
        assert_eq!(self.pair.client.open_calls(), 0);
        assert_eq!(self.pair.client.in_flight(), 0);
        self.check_ledger();
        // Whatever was still going to happen happens to nobody.
        let ends = self.pair.ends().len();
        let _ = self.pair.run_for(Duration::from_secs(1000));
        assert_eq!(self.pair.ends().len(), ends);
        if !self.closed && !self.go_away {
            super::ids::tolerates_exactly_100(&mut self.pair);
        }
    }

    /// Each call ended, ran at most once, and not at all if it was not processed.
    fn check_ledger(&self) {
        let mut ran = HashSet::new();
        for saw in &self.pair.server_saw {
            if let ServerSaw::Request { body, oneway, .. } = saw
                && !oneway
            {
                let serial = u64::from_le_bytes(*body.first_chunk().unwrap());
                assert!(ran.insert(serial), "{serial} ran twice");
            }
        }
        for (serial, known) in &self.calls {
            assert!(known.ended, "{serial} did not end: {known:?}");
        }
        for (kept, saw) in self.pair.ends() {
            let not_processed = match saw {
                ClientSaw::NotProcessed(_) => true,
                ClientSaw::Failed { not_processed, .. } => {
                    *not_processed && saw.code() != Some(Code::Unimplemented)
                }
                ClientSaw::Replied { .. } => {
                    assert!(ran.contains(&kept));
                    false
                }
                _ => false,
            };
            assert!(!(not_processed && ran.contains(&kept)), "{kept}: {saw:?}");
            assert!(!self.calls[&kept].given_up, "{kept} was given up");
        }
    }
}

fn sizes() -> impl Strategy<Value = [Vec<usize>; 2]> {
    let sizes = || prop::collection::vec(1..300_usize, 1..4);
    [sizes(), sizes()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]
    #[test]
    fn f14_f18_every_call_ends_once_whatever_happens_to_its_connection(
        steps in prop::collection::vec(any::<(u8, u8)>(), 0..60),
        sizes in sizes(),
    ) {
        // [call.once] [call.deadline] [call.unsent] [call.cancel-pace] [conn.go-away]
        // [conn.keep-alive]
        let mut life = Life::new(sizes);
        for (action, choice) in steps {
            if life.closed {
                break;
            }
            life.step(action, choice);
        }
        life.finish();
    }
}
