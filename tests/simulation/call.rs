//! A call of a simulation: on terms of its own, and taken down however it ends.

use std::time::Duration;

use fastrand::Rng;
use rpc::{CallOptions, Channel, Code, Status};
use tokio::time::Instant;

use crate::ledger::{Kind, Ledger, Outcome, Terms};
use crate::parts::{Checked, parts};
use crate::work::{Work, WorkClient};

/// One call that is about to be made.
pub(crate) struct Call {
    nonce: u64,
    ledger: Ledger,
    terms: Terms,
    /// When the caller drops its future.
    cancel: Option<Duration>,
    padding: usize,
    millis: u64,
    /// Items of a stream.
    parts: usize,
}

impl Call {
    /// Any call; the channel of one that `closes` may be closed while it is open.
    pub(crate) fn random(rng: &mut Rng, who: &str, closes: bool, ledger: &Ledger) -> Self {
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
        Self {
            nonce: ledger.begin(who, terms),
            ledger: ledger.clone(),
            terms,
            cancel,
            padding,
            millis,
            parts,
        }
    }

    /// A call that nothing is in the way of.
    pub(crate) fn easy(kind: Kind, wait_for_ready: bool, who: &str, ledger: &Ledger) -> Self {
        let terms = Terms {
            kind,
            timeout: Some(Duration::from_secs(25)),
            wait_for_ready,
            closes: false,
        };
        Self {
            nonce: ledger.begin(who, terms),
            ledger: ledger.clone(),
            terms,
            cancel: None,
            padding: 0,
            millis: 5,
            parts: 5,
        }
    }

    /// Makes it; its outcome is taken down, also if it ends with its host.
    pub(crate) async fn make(self, channel: Channel) {
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

    /// Makes it while all is quiet, where nothing but success is allowed.
    pub(crate) async fn succeed(self, channel: Channel) {
        let outcome = self.send(&channel).await;
        if !matches!(outcome, Outcome::Reply(_) | Outcome::Streamed) {
            let what = format!("all is quiet, and {} fails: {outcome:?}", self.nonce);
            self.ledger.violation(what);
        }
        self.ledger.end(self.nonce, Duration::ZERO, outcome);
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
