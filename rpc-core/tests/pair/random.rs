//! Ten thousand random conversations against a model of what each call has to come to.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rpc_core::Code;
use rpc_core::connection::CallId;

use super::harness::*;
use super::ids::tolerates_exactly_100;

/// What a call has to end with, if it is not given up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Reply,
    Error(Code),
}

/// A pair under test, and what the test knows of its calls.
struct Model {
    pair: Pair,
    serial: u64,
    expected: HashMap<u64, Outcome>,
    /// Calls not given up, also those that have ended.
    open: Vec<(CallId, u64)>,
    given_up: HashSet<u64>,
    oneways: usize,
}

/// A number that is in no other payload, and as much filler as the step says.
fn payload(serial: u64, step: u8) -> Vec<u8> {
    let filler = [0, 3, 40, 300][usize::from(step) % 4];
    [&serial.to_le_bytes()[..], &vec![step; filler]].concat()
}

fn serial_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(*body.first_chunk().unwrap())
}

impl Model {
    fn new(to_server: Vec<usize>, to_client: Vec<usize>) -> Self {
        Self {
            pair: Pair::with_cuts(Cut::Sizes(to_server), Cut::Sizes(to_client)),
            serial: 0,
            expected: HashMap::new(),
            open: Vec::new(),
            given_up: HashSet::new(),
            oneways: 0,
        }
    }

    fn step(&mut self, action: u8, choice: u8) {
        match action % 12 {
            0 | 1 => self.call(ECHO, Outcome::Reply, choice),
            2 | 3 => self.call(WAIT, Outcome::Reply, choice),
            4 => self.call(FAIL, Outcome::Error(Code::FailedPrecondition), choice),
            5 => self.call(UNKNOWN, Outcome::Error(Code::Unimplemented), choice),
            6 => {
                self.serial += 1;
                self.oneways += 1;
                self.pair.oneway(ECHO, &payload(self.serial, choice));
            }
            7 => self.give_up(choice),
            8 => self.answer(choice),
            9 | 10 => self.pair.carry_to_server().unwrap(),
            _ => self.pair.carry_to_client().unwrap(),
        }
    }

    fn call(&mut self, method: rpc_core::MethodId, outcome: Outcome, choice: u8) {
        self.serial += 1;
        let id = self
            .pair
            .call(method, self.serial, &payload(self.serial, choice));
        self.expected.insert(self.serial, outcome);
        self.open.push((id, self.serial));
    }

    /// Gives up a call; if its answer is here already, there is nothing to give up.
    fn give_up(&mut self, choice: u8) {
        if self.open.is_empty() {
            return;
        }
        let (id, serial) = self.open.swap_remove(usize::from(choice) % self.open.len());
        if self.pair.client.release(id) == Some(serial) {
            self.given_up.insert(serial);
        }
    }

    /// Answers one of the calls that wait, unless it was cancelled.
    fn answer(&mut self, choice: u8) {
        if self.pair.waiting.is_empty() {
            return;
        }
        let which = usize::from(choice) % self.pair.waiting.len();
        let (call, body) = self.pair.waiting.swap_remove(which);
        if self.pair.server.unpark(call).is_none() {
            return;
        }
        if choice < 170 {
            return reply(&mut self.pair.server, call, &metadata(&[]), &body);
        }
        self.expected
            .insert(serial_of(&body), Outcome::Error(Code::Aborted));
        let status = rpc_core::Status::aborted("").with_error_body(body.into());
        self.pair.server.fail(call, &status);
    }

    fn finish(mut self) {
        self.pair.drive();
        self.pair.answer_parked();
        self.pair.drive();
        assert!(self.pair.is_quiet());
        assert_eq!(self.pair.server.running(), 0);
        self.check_server();
        self.check_client();
        tolerates_exactly_100(&mut self.pair);
    }

    /// Every request arrived once, in order, as what it was sent as.
    fn check_server(&self) {
        let (mut last, mut serial, mut oneways) = (0, 0, 0);
        for saw in &self.pair.server_saw {
            let ServerSaw::Request {
                id, body, oneway, ..
            } = saw
            else {
                continue;
            };
            assert!(*id > last, "ids rise");
            last = *id;
            serial += 1;
            assert_eq!(serial_of(body), serial);
            oneways += usize::from(*oneway);
        }
        assert_eq!((serial, oneways), (self.serial, self.oneways));
    }

    /// Every call ended once as it had to, or was given up and then never heard of.
    fn check_client(&self) {
        let mut ended = HashMap::new();
        for (at, saw) in self.pair.client_saw.iter().enumerate() {
            let (kept, outcome, body) = match saw {
                ClientSaw::Replied { kept, body, .. } => (*kept, Outcome::Reply, Some(&body[..])),
                ClientSaw::Failed { kept, status, .. } => {
                    let typed = status.error_body().map(|body| &body[..]);
                    (*kept, Outcome::Error(status.code()), typed)
                }
                _ => continue,
            };
            assert_eq!(ended.insert(kept, at), None, "call {kept} ended twice");
            assert_eq!(outcome, self.expected[&kept]);
            assert!(
                body.is_none_or(|body| serial_of(body) == kept),
                "a payload of another call"
            );
            assert!(!self.given_up.contains(&kept), "call {kept} was given up");
        }
        assert_eq!(ended.len() + self.given_up.len(), self.expected.len());
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..20_usize, 1..2000_usize], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn s1_25_every_call_ends_once_with_its_own_outcome(
        steps in prop::collection::vec(any::<(u8, u8)>(), 0..50),
        to_server in sizes(),
        to_client in sizes(),
    ) {
        // [call.once] [call.id] [call.cancel] [call.unknown-reply] [frame.chunks]
        let mut model = Model::new(to_server, to_client);
        for (action, choice) in steps {
            model.step(action, choice);
        }
        model.finish();
    }
}
