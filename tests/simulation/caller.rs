//! A host that calls: as many calls as it can think of, each on terms of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use rpc::Channel;
use tokio::task::JoinSet;

use crate::SERVER;
use crate::call::Call;
use crate::faults::Stage;
use crate::host::Place;
use crate::ledger::Kind;

/// What all clients of one simulation share.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) clients: usize,
    /// Clients whose calls have ended.
    pub(crate) resting: Arc<AtomicUsize>,
    /// How many calls each makes at once at the end: as many as the server takes, up to a few.
    pub(crate) calls: u32,
    /// Longest pause between calls, in milliseconds.
    pub(crate) pause_max: u64,
}

/// One client, in one life of its host.
pub(crate) struct Caller {
    pub(crate) place: Place,
    pub(crate) crowd: Crowd,
    pub(crate) stage: Stage,
    pub(crate) rng: Rng,
}

impl Caller {
    /// The software of the host.
    pub(crate) async fn run(mut self) -> turmoil::Result {
        let mut calls = JoinSet::new();
        let mut channel = self.channel();
        while !self.stage.quiet.load(Ordering::Relaxed) {
            let pause = self.rng.u64(0..=self.crowd.pause_max);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            for _ in 0..self.rng.usize(1..=3) {
                // A channel that may be closed under its calls is used by those alone.
                if self.rng.u32(0..60) == 0 {
                    self.call_and_close(&mut calls);
                } else {
                    let call = self.call(false);
                    calls.spawn(call.make(channel.clone()));
                }
            }
            if self.rng.u32(0..100) == 0 {
                channel = self.channel();
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
        self.crowd.resting.fetch_add(1, Ordering::Relaxed);
        while self.crowd.resting.load(Ordering::Relaxed) < self.crowd.clients {
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
        let connector = Arc::new(self.place.connector(SERVER));
        self.place.channel().with_connector(connector)
    }

    fn call(&mut self, closes: bool) -> Call {
        Call::random(&mut self.rng, &self.place.name, closes, &self.place.ledger)
    }

    /// Several calls, and a close in the middle of them.
    fn call_and_close(&mut self, calls: &mut JoinSet<()>) {
        let channel = self.channel();
        for _ in 0..self.rng.usize(1..=6) {
            let call = self.call(true);
            calls.spawn(call.make(channel.clone()));
        }
        let after = Duration::from_millis(self.rng.u64(0..60));
        calls.spawn(async move {
            tokio::time::sleep(after).await;
            channel.close();
            channel.close();
        });
    }

    /// Every place is free again: as many calls as there are places run side by side.
    async fn show_that_all_is_well(&self, channel: &Channel) {
        let Place { name, ledger, .. } = &self.place;
        // Those before may have been the last on a connection that goes.
        for _ in 0..2 {
            let mut calls = JoinSet::new();
            for _ in 0..self.crowd.calls {
                let call = Call::easy(Kind::Once, true, name, ledger);
                calls.spawn(call.succeed(channel.clone()));
            }
            calls.join_all().await;
            if channel.is_available() {
                return;
            }
        }
        ledger.violation(format!("{name}: the channel has just served"));
    }
}
