//! Calls, their driver and the end of their connection, in every order that shuttle thinks of.
//!
//! What runs is what ships: [`Attempt`], [`Connection`] with its slots and its line of waiting
//! callers, the [`Driver`](crate::connection::Driver), and the server's state machine at the other
//! end. Each caller, the driver, the server and the clock are tasks that shuttle switches between
//! wherever one takes the lock of the connection or of a pipe. A wake-up that is lost leaves a task
//! asleep for ever, and shuttle reports a deadlock.
//!
//! What is not modelled: the choice and the making of connections (`remote.rs`), tokio's scheduler,
//! and time that passes by itself. Time stands still until the clock task moves it once, so that no
//! keep-alive or idle timer can hide a lost wake-up.
//!
//! `SCHEDULES=50000 cargo test --profile simulation -p rpc-runtime schedules` runs 100,000: so many of
//! either kind.

mod pipe;
mod server;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc_core::Codec;
use rpc_core::codec::CodecError;
use rpc_core::connection::{ClientConfig, RequestHead, ServerConfig, ServerConnection};
use rpc_core::{Code, Deadline, MethodId, Status};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use tokio::runtime::Runtime;

use self::pipe::{Pipe, Reader, Writer};
use self::server::{Alarm, Server, serve};
use super::attempt::Attempt;
use super::connection::Connection;
use super::slot::Answer;
use crate::clock;
use crate::transport::{Duplex, Peer};

/// Schedules of each kind, unless `SCHEDULES` says otherwise.
const SCHEDULES: usize = 2_000;
/// How many times a schedule of the second kind changes its mind about who goes first.
const PCT_DEPTH: usize = 4;

#[test]
fn random_schedules() {
    run(RandomScheduler::new(schedules()));
}

#[test]
fn schedules_with_priorities() {
    run(PctScheduler::new(PCT_DEPTH, schedules()));
}

fn schedules() -> usize {
    let asked = std::env::var("SCHEDULES").ok();
    asked.map_or(SCHEDULES, |count| {
        count.parse().expect("SCHEDULES is a number")
    })
}

fn run(scheduler: impl Scheduler + 'static) {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.max_steps = MaxSteps::FailAfter(100_000);
    let clock = Clock::new();
    // Shuttle's tasks are coroutines of this thread: all of them find this runtime.
    let runtime = clock.0.clone();
    let _entered = runtime.enter();
    Runner::new(scheduler, config).run(move || block_on(conversation(&clock)));
}

/// Tokio's clock, which stands still.
#[derive(Clone)]
struct Clock(Arc<Runtime>);

impl Clock {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        Self(Arc::new(runtime.expect("a runtime without sockets")))
    }

    /// Moves the time on, and fires the timers that are due.
    fn advance(&self, by: Duration) {
        self.0.block_on(tokio::time::advance(by));
    }
}

/// When calls with a deadline end.
const TIMEOUT: Duration = Duration::from_millis(10);

/// What happens while the calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    /// The deadline passes.
    Time,
    /// The server is gone, after it has read this many requests.
    Cut(usize),
    /// The server takes no more calls, after it has read this many requests.
    GoAway(usize),
    /// The client closes the connection.
    Close,
}

/// What a caller does.
#[derive(Clone, Copy, Debug)]
struct Caller {
    nonce: u64,
    oneway: bool,
    timed: bool,
    /// Gives up after this many polls.
    patience: Option<usize>,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    All,
    /// Only calls without deadline, until the time has passed.
    Untimed,
}

/// One execution: a few calls on one connection.
async fn conversation(clock: &Clock) {
    let mut rng = thread_rng();
    let disturbance = match rng.gen_range(0..6) {
        0 | 1 => Disturbance::Nothing,
        2 => Disturbance::Time,
        3 => Disturbance::Cut(rng.gen_range(0..4)),
        4 => Disturbance::GoAway(rng.gen_range(0..4)),
        _ => Disturbance::Close,
    };
    let calls_max = rng.gen_range(1..3);
    let answers = match disturbance {
        Disturbance::Time => Answers::Untimed,
        _ => Answers::All,
    };
    let capacity = if rng.r#gen() { 40 } else { 4096 };
    let (up, down) = (Pipe::new(capacity), Pipe::new(capacity));
    let alarm = Alarm::default();
    let core = ServerConnection::new(Arc::new(config(calls_max)), clock::now());
    let server = Server::new(core, (up.clone(), down.clone()), alarm.clone());
    let server = spawn(serve(server, disturbance, answers));
    let peer = Peer::from_uri("shuttle://server");
    let duplex = Duplex::new(Reader(down), Writer(up), peer);
    let (connection, _, driver) =
        Connection::new(duplex, ClientConfig::new(1), Codec::default(), None);
    let driver = spawn(driver);
    let connection = Arc::new(connection);
    if rng.r#gen() {
        // Now the limit of the server is known, and callers beyond it wait in line.
        let first = Caller {
            nonce: 99,
            oneway: false,
            timed: false,
            patience: None,
        };
        let _ = call(&connection, first).await;
    }
    let callers: Vec<_> = (0..rng.gen_range(2..5))
        .map(|nonce| Caller {
            nonce,
            oneway: rng.gen_range(0..4) == 0,
            timed: disturbance == Disturbance::Time && rng.gen_range(0..4) > 0,
            patience: (rng.gen_range(0..3) == 0).then(|| rng.gen_range(1..4)),
        })
        .collect();
    let calls: Vec<JoinHandle<Option<Answer>>> = callers
        .iter()
        .map(|caller| {
            let (connection, caller) = (connection.clone(), *caller);
            spawn(async move { call(&connection, caller).await })
        })
        .collect();
    match disturbance {
        Disturbance::Time => {
            for _ in 0..rng.gen_range(0..6) {
                yield_now().await;
            }
            clock.advance(2 * TIMEOUT);
            alarm.ring();
        }
        Disturbance::Close => connection.close(&Status::unavailable("closed")),
        _ => {}
    }
    // Every call ends, or shuttle reports a deadlock.
    let mut ended = Vec::new();
    for (caller, call) in callers.into_iter().zip(calls) {
        ended.push((caller, call.await.expect("a caller does not panic")));
    }
    if matches!(disturbance, Disturbance::Nothing | Disturbance::Time) {
        leave_no_place_taken(&connection).await;
    }
    nobody_is_left(&connection);
    if disturbance != Disturbance::Close {
        // Closing again would wake a driver that has overslept.
        connection.close(&Status::unavailable("the end"));
    }
    driver.await.expect("the driver does not panic");
    let ran = server.await.expect("the server does not panic");
    for (caller, answer) in ended {
        check(caller, answer.as_ref(), disturbance, &ran);
    }
}

fn config(calls_max: u32) -> ServerConfig {
    let mut config = ServerConfig::new(vec![(1, "bincode".into())], Vec::new());
    config.calls_max = calls_max;
    config
}

/// Makes a call; `None` if the caller gives up.
async fn call(connection: &Arc<Connection>, caller: Caller) -> Option<Answer> {
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&caller.nonce.to_le_bytes());
        Ok::<(), CodecError>(())
    };
    let mut head = RequestHead::new(MethodId::from_number(1));
    if caller.timed {
        let now = clock::now();
        head = head.with_deadline(Some(Deadline::after(now, TIMEOUT)), now);
    }
    let mut attempt = Attempt::new(connection, head, &encode);
    if caller.oneway {
        attempt = attempt.oneway();
    }
    let mut attempt = pin!(attempt);
    let Some(patience) = caller.patience else {
        return Some(attempt.await);
    };
    for _ in 0..patience {
        let polled = poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await;
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        yield_now().await;
    }
    None
}

/// What an answer has to be, given what the server ran.
fn check(caller: Caller, answer: Option<&Answer>, disturbance: Disturbance, ran: &[u64]) {
    let times = ran.iter().filter(|nonce| **nonce == caller.nonce).count();
    assert!(times <= 1, "{caller:?} ran {times} times");
    match answer {
        None => {}
        Some(Ok(reply)) if caller.oneway => assert!(reply.body.is_empty()),
        Some(Ok(reply)) => {
            assert_eq!(*reply.body, caller.nonce.to_le_bytes(), "{caller:?}");
            assert_eq!(times, 1, "{caller:?}");
        }
        Some(Err(failure)) => {
            let status = &failure.status;
            if status.is_not_processed() {
                assert_eq!(times, 0, "{caller:?} {disturbance:?}: {status}");
            }
            let allowed = match status.code() {
                Code::ResourceExhausted => status.is_not_processed(),
                Code::DeadlineExceeded => caller.timed,
                Code::Unavailable => {
                    !matches!(disturbance, Disturbance::Nothing | Disturbance::Time)
                }
                _ => false,
            };
            assert!(allowed, "{caller:?} {disturbance:?}: {status:?}");
        }
    }
}

/// Calls still succeed, one after the other.
async fn leave_no_place_taken(connection: &Arc<Connection>) {
    for nonce in 100..103 {
        let caller = Caller {
            nonce,
            oneway: false,
            timed: false,
            patience: None,
        };
        let answer = call(connection, caller).await.expect("it is patient");
        match answer {
            Ok(reply) => assert_eq!(*reply.body, nonce.to_le_bytes()),
            // Oneway calls take places at the server that the client does not know of.
            Err(failure) => {
                let status = failure.status;
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            }
        }
    }
    // The answers to the calls that were given up came before these.
    let in_flight = connection.shared.lock().protocol.core.in_flight();
    assert_eq!(in_flight, 0, "places");
}

/// All slots and letterboxes are free, and so is the line.
fn nobody_is_left(connection: &Connection) {
    let mut state = connection.shared.lock();
    let client = &mut state.protocol;
    assert_eq!(client.core.open_calls(), 0, "open calls");
    assert_eq!(client.lender.lent(), 0, "letterboxes");
    assert!(client.waiters.is_empty(), "a caller in line");
}
