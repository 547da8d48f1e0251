//! A host that calls: as many calls as it can think of, each on terms of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::{CallOptions, Channel, Code, KeepAlive, Status};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::SERVER;
use crate::ledger::{Kind, Ledger, Outcome, Terms};
use crate::network::{Plugs, SimConnector, Wiring};
use crate::parts::{Checked, parts};
use crate::server::{Work, WorkClient};

/// What all clients of one simulation share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) wiring: Wiring,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) clients: usize,
    /// How many calls to make at once at the end: as many as the server takes, up to a few.
    pub(crate) crowd: u32,
    /// Pause between calls, in milliseconds.
    pub(crate) pace: u64,
}

/// The way between the schedule and the clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// No new faults: finish, and show that all is well.
    pub(crate) quiet: Arc<AtomicBool>,
    /// Clients whose calls have ended.
    pub(crate) resting: Arc<AtomicUsize>,
    /// Clients that have shown it.
    pub(crate) finished: Arc<AtomicUsize>,
}

/// One client, in one life of its host.
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) plugs: Plugs,
    pub(crate) stage: Stage,
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
}

impl Caller {
    /// The software of the host.
    pub(crate) async fn run(mut self) -> turmoil::Result {
        let mut calls = JoinSet::new();
        let mut channel = self.channel();
        while !self.stage.quiet.load(Ordering::Relaxed) {
            let pause = self.rng.u64(0..=self.settings.pace);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            for _ in 0..self.rng.usize(1..=3) {
                // A channel that may be closed under its calls is used by those alone.
                if self.rng.u32(0..60) == 0 {
                    self.call_and_close(&mut calls);
                } else {
                    let call = self.plan(false);
                    calls.spawn(call.make(channel.clone()));
                }
            }
            if self.rng.u32(0..100) == 0 {
                channel = self.channel();
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
        self.stage.resting.fetch_add(1, Ordering::Relaxed);
        while self.stage.resting.load(Ordering::Relaxed) < self.settings.clients {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Nobody waits for the handlers of oneway calls and of clients that have crashed.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.show_that_all_is_well(&channel).await;
        drop(channel);
        self.stage.finished.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn channel(&self) -> Channel {
        Channel::builder()
            .connect_timeout(Duration::from_millis(200))
            .handshake_timeout(Duration::from_millis(200))
            .keep_alive(Some(self.settings.keep_alive))
            .with_connector(Arc::new(SimConnector {
                host: SERVER.to_owned(),
                wiring: self.settings.wiring,
                plugs: self.plugs.clone(),
            }))
    }

    /// Several calls, and a close in the middle of them.
    fn call_and_close(&mut self, calls: &mut JoinSet<()>) {
        let channel = self.channel();
        for _ in 0..self.rng.usize(1..=6) {
            let call = self.plan(true);
            calls.spawn(call.make(channel.clone()));
        }
        let after = Duration::from_millis(self.rng.u64(0..60));
        calls.spawn(async move {
            tokio::time::sleep(after).await;
            channel.close();
            channel.close();
        });
    }

    fn plan(&mut self, closes: bool) -> Call {
        let rng = &mut self.rng;
        let kind = match rng.u32(0..13) {
            0..5 => Kind::Once,
            5..7 => Kind::Again,
            7 => Kind::Fail,
            8 | 9 => Kind::Oneway,
            10 => Kind::Download,
            11 => Kind::Upload,
            _ => Kind::Echo,
        };
        // Mostly few parts, sometimes more than the window has room for.
        let parts = match rng.u32(0..10) {
            0 => rng.usize(100..400),
            _ => rng.usize(0..20),
        };
        let timeout = (rng.u32(0..10) < 6).then(|| Duration::from_millis(rng.u64(1..400)));
        let cancel = (rng.u32(0..5) == 0).then(|| Duration::from_millis(rng.u64(0..60)));
        let padding = match rng.u32(0..20) {
            0 => rng.usize(1_000..40_000),
            _ => rng.usize(0..100),
        };
        let millis = match rng.u32(0..3) {
            0 => 0,
            1 => rng.u64(1..20),
            _ => rng.u64(1..150),
        };
        let terms = Terms {
            kind,
            timeout,
            wait_for_ready: rng.bool(),
            closes,
        };
        Call {
            nonce: self.ledger.begin(&self.name, terms),
            ledger: self.ledger.clone(),
            terms,
            cancel,
            padding,
            millis,
            parts,
        }
    }

    /// Every place is free again: as many calls as there are places run side by side.
    async fn show_that_all_is_well(&self, channel: &Channel) {
        let mut calls = JoinSet::new();
        for _ in 0..self.settings.crowd {
            let terms = Terms {
                kind: Kind::Once,
                timeout: Some(Duration::from_secs(25)),
                wait_for_ready: true,
                closes: false,
            };
            let call = Call {
                nonce: self.ledger.begin(&self.name, terms),
                ledger: self.ledger.clone(),
                terms,
                cancel: None,
                padding: 0,
                millis: 5,
                parts: 0,
            };
            let (nonce, channel) = (call.nonce, channel.clone());
            calls.spawn(async move { (nonce, call.send(&channel).await) });
        }
        while let Some(joined) = calls.join_next().await {
            let (nonce, outcome) = joined.expect("nothing stops these calls");
            if !matches!(outcome, Outcome::Reply(_)) {
                let what = format!("all is quiet, and {nonce} fails: {outcome:?}");
                self.ledger.violation(what);
            }
            self.ledger.end(nonce, Duration::ZERO, outcome);
        }
        if !channel.is_available() {
            let what = format!("{}: the channel has just served", self.name);
            self.ledger.violation(what);
        }
    }
}

/// One call that is about to be made.
struct Call {
    nonce: u64,
    ledger: Ledger,
    terms: Terms,
    cancel: Option<Duration>,
    padding: usize,
    millis: u64,
    /// Items of a stream.
    parts: usize,
}

/// Takes down the end of a call, also if it ends with its host.
struct Ending {
    ledger: Ledger,
    nonce: u64,
    begun: Instant,
    ended: bool,
}

impl Ending {
    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.ledger.end(self.nonce, self.begun.elapsed(), outcome);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.ended {
            self.ledger.end(self.nonce, Duration::ZERO, Outcome::Died);
        }
    }
}

impl Call {
    async fn make(self, channel: Channel) {
        let mut ending = Ending {
            ledger: self.ledger.clone(),
            nonce: self.nonce,
            begun: Instant::now(),
            ended: false,
        };
        let send = self.send(&channel);
        let outcome = match self.cancel {
            Some(cancel) => tokio::time::timeout(cancel, send)
                .await
                .unwrap_or(Outcome::GivenUp),
            None => send.await,
        };
        ending.end(outcome);
    }

    async fn send(&self, channel: &Channel) -> Outcome {
        let mut options = CallOptions::new().with_wait_for_ready(self.terms.wait_for_ready);
        if let Some(timeout) = self.terms.timeout {
            options = options.with_timeout(timeout);
        }
        let client = WorkClient::new(channel.with_options(options));
        let (nonce, millis) = (self.nonce, self.millis);
        let padding = vec![nonce as u8; self.padding];
        let replied = match self.terms.kind {
            Kind::Once => client.once(nonce, millis, padding).await.map(Some),
            Kind::Again => client.again(nonce, millis, padding).await.map(Some),
            Kind::Fail => client.fail(nonce, millis).await.map(|()| None),
            Kind::Oneway => client.note(nonce, millis).await.map(|()| None),
            Kind::Download | Kind::Upload | Kind::Echo => return self.stream(&client).await,
        };
        match replied {
            Ok(None) => Outcome::Reply(None),
            Ok(Some((nonce, length))) if length == self.padding => Outcome::Reply(Some(nonce)),
            Ok(Some((nonce, length))) => {
                let text = format!("{nonce}: {length} bytes instead of {}", self.padding);
                Outcome::Failed(Status::new(Code::DataLoss, text))
            }
            Err(status) => Outcome::Failed(status),
        }
    }

    /// A call with streams: what is consumed is a beginning of what was sent, and all of it if no
    /// error says otherwise.
    async fn stream(&self, client: &WorkClient) -> Outcome {
        let (nonce, count) = (self.nonce, self.parts);
        let upload = || parts(nonce, count, self.millis, ());
        let replied = match self.terms.kind {
            Kind::Upload => match client.upload(nonce, count, upload()).await {
                Ok((nonce, taken)) if taken == count => return Outcome::Reply(Some(nonce)),
                Ok((_, taken)) => {
                    let text = format!("{nonce}: {taken} parts instead of {count}");
                    return Outcome::Failed(Status::new(Code::DataLoss, text));
                }
                Err(status) => Err(status),
            },
            Kind::Echo => client.echo(nonce, count, upload()).await,
            _ => client.download(nonce, self.millis, count).await,
        };
        let consumed = async {
            let mut checked = Checked::new(nonce, count, self.ledger.clone());
            checked.all(replied?).await
        };
        match consumed.await {
            Ok(()) => Outcome::Streamed,
            Err(status) => Outcome::Failed(status),
        }
    }
}
