//! A directory that a test plays: it keeps a record, and fails as it is told.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rpc::Status;
use rpc::registry::{Entry, Registration, Registry};
use tokio::time::Instant;

/// A directory with room for one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    entry: Option<Entry>,
    /// Which registration the entry is of.
    number: usize,
    outage: Option<Outage>,
    delay: Duration,
    record: Vec<(Did, Instant)>,
}

/// What was asked of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Register,
    Renew,
    Deregister,
    Fail,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    Refuses,
    Hangs,
    Panics,
    /// In the call, before there is a future.
    PanicsAtOnce,
    /// It answers, and has lost the entry.
    Forgets,
    /// The same, and what is left of the entry panics when it is dropped.
    ForgetsBadly,
}

impl Directory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn entry(&self) -> Option<Entry> {
        self.state().entry.clone()
    }

    pub(crate) fn times(&self, what: Did) -> Vec<Instant> {
        let state = self.state();
        let record = state.record.iter().filter(|(did, _)| *did == what);
        record.map(|(_, at)| *at).collect()
    }

    /// From now on nothing works, and the entry is lost.
    pub(crate) fn fail(&self, outage: Outage) {
        let mut state = self.state();
        state.outage = Some(outage);
        state.entry = None;
    }

    pub(crate) fn work(&self) {
        let mut state = self.state();
        state.outage = None;
        state.entry = None;
    }

    pub(crate) fn forget(&self) {
        self.state().entry = None;
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    fn begin(&self) {
        let mut state = self.state();
        if state.outage == Some(Outage::PanicsAtOnce) {
            state.record.push((Did::Fail, Instant::now()));
            drop(state);
            panic!("a bug in the directory");
        }
    }

    async fn asked(&self, did: Did) -> Result<(), Status> {
        let (outage, delay) = {
            let mut state = self.state();
            let outage = state.outage;
            let did = if outage.is_some() { Did::Fail } else { did };
            state.record.push((did, Instant::now()));
            (outage, state.delay)
        };
        tokio::time::sleep(delay).await;
        match outage {
            None => Ok(()),
            Some(Outage::Refuses) => Err(Status::unavailable("the directory is down")),
            Some(Outage::Hangs) => std::future::pending().await,
            Some(Outage::Panics | Outage::PanicsAtOnce) => panic!("a bug in the directory"),
            Some(Outage::Forgets | Outage::ForgetsBadly) => {
                Err(Status::not_found("there is no such entry"))
            }
        }
    }
}

type Asked<'f, T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send + 'f>>;

/// As `async_trait` would write it, but for what is done before the future is there.
impl Registry for Directory {
    fn register<'d, 'e, 'f>(&'d self, entry: &'e Entry) -> Asked<'f, Box<dyn Registration>>
    where
        'd: 'f,
        'e: 'f,
        Self: 'f,
    {
        self.begin();
        Box::pin(async move {
            self.asked(Did::Register).await?;
            let mut state = self.state();
            state.number += 1;
            state.entry = Some(entry.clone());
            let registered: Box<dyn Registration> = Box::new(Registered {
                directory: self.clone(),
                number: state.number,
            });
            Ok(registered)
        })
    }
}

struct Registered {
    directory: Directory,
    number: usize,
}

impl Registered {
    fn is_there(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.directory.state();
        let is_there = state.entry.is_some() && state.number == self.number;
        let gone = || Status::not_found("there is no such entry");
        is_there.then_some(state).ok_or_else(gone)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let outage = self.directory.state().outage;
        assert_ne!(outage, Some(Outage::ForgetsBadly), "a bug in the directory");
    }
}

impl Registration for Registered {
    fn renew<'r, 'f>(&'r mut self) -> Asked<'f, ()>
    where
        'r: 'f,
        Self: 'f,
    {
        self.directory.begin();
        Box::pin(async {
            self.directory.asked(Did::Renew).await?;
            self.is_there().map(drop)
        })
    }

    fn deregister<'r, 'f>(&'r mut self) -> Asked<'f, ()>
    where
        'r: 'f,
        Self: 'f,
    {
        self.directory.begin();
        Box::pin(async {
            self.directory.asked(Did::Deregister).await?;
            self.is_there()?.entry = None;
            Ok(())
        })
    }
}
