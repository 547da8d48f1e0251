//! Servers in memory that a test starts, stops and disturbs, and the list that names them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::discovery::{Attributes, Endpoint, Resolvers, StaticList};
use rpc::transport::Listener;
use rpc::{Channel, ChannelBuilder, Code, Server, ServerBuilder, Status, Streaming};

use crate::common::unique;

#[rpc::service]
pub(crate) trait Greeter {
    /// Who answers.
    async fn hello(&self, nonce: u64) -> rpc::Result<usize>;
    /// The same, and it may be asked twice.
    #[rpc(idempotent)]
    async fn lookup(&self, nonce: u64) -> rpc::Result<usize>;
    /// Answers after so many milliseconds.
    async fn pause(&self, millis: u64) -> rpc::Result<usize>;
    /// As often as it is told who answers, after so many milliseconds each; then its mood.
    async fn repeat(&self, times: u32, millis: u64) -> rpc::Result<Streaming<usize>>;
}

/// What a server does with its calls, and how many it had.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    pub(crate) calls: AtomicU64,
    /// Handlers that were dropped before they ended.
    pub(crate) cancelled: AtomicU64,
    /// Milliseconds before each answer.
    pub(crate) delay: AtomicU64,
    /// Handlers at work.
    pub(crate) running: AtomicUsize,
    /// The number of the code that each call fails with; 0 for none.
    pub(crate) fails: AtomicU64,
}

impl Mood {
    fn verdict(&self) -> rpc::Result<()> {
        match self.fails.load(SeqCst) {
            0 => Ok(()),
            code => Err(Status::new(Code::from_number(code as u8), "a bad mood")),
        }
    }
}

/// All calls that were executed, by their nonce.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<u64, u32>>);

impl Ledger {
    fn note(&self, nonce: u64) {
        *self.0.lock().unwrap().entry(nonce).or_default() += 1;
    }

    /// How often the call that was executed most often was.
    pub(crate) fn most(&self) -> u32 {
        self.0.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    pub(crate) fn executed(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

struct Sailor {
    number: usize,
    mood: Arc<Mood>,
    ledger: Arc<Ledger>,
}

/// Counts a handler that is dropped before it ends.
struct Work<'a>(&'a Mood, bool);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        if !self.1 {
            self.0.cancelled.fetch_add(1, SeqCst);
        }
    }
}

impl Sailor {
    async fn work(&self, millis: u64) -> rpc::Result<usize> {
        self.mood.calls.fetch_add(1, SeqCst);
        self.mood.running.fetch_add(1, SeqCst);
        let mut work = Work(&self.mood, false);
        let millis = millis + self.mood.delay.load(SeqCst);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        work.1 = true;
        self.mood.verdict().map(|()| self.number)
    }
}

impl Greeter for Sailor {
    async fn hello(&self, nonce: u64) -> rpc::Result<usize> {
        self.ledger.note(nonce);
        self.work(0).await
    }
    async fn lookup(&self, nonce: u64) -> rpc::Result<usize> {
        self.ledger.note(nonce);
        self.work(0).await
    }
    async fn pause(&self, millis: u64) -> rpc::Result<usize> {
        self.work(millis).await
    }
    async fn repeat(&self, times: u32, millis: u64) -> rpc::Result<Streaming<usize>> {
        self.mood.calls.fetch_add(1, SeqCst);
        let (number, mood) = (self.number, self.mood.clone());
        let each = move |left: Option<u32>| {
            let mood = mood.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                match left? {
                    0 => Some((Err(mood.verdict().err()?), None)),
                    left => Some((Ok(number), Some(left - 1))),
                }
            }
        };
        let items = futures_util::stream::unfold(Some(times), each);
        Ok(Streaming::try_new(items))
    }
}

/// A server that answers with its number, after so many milliseconds.
pub(crate) fn sailor(number: usize, delay: u64) -> ServerBuilder {
    let mood = Mood::default();
    mood.delay.store(delay, SeqCst);
    Server::builder().add_service(GreeterServer::new(Sailor {
        number,
        mood: Arc::new(mood),
        ledger: Arc::default(),
    }))
}

/// Servers by number, and the list that names them.
pub(crate) struct Crew {
    addresses: Vec<String>,
    servers: Vec<Option<Server>>,
    moods: Vec<Arc<Mood>>,
    pub(crate) ledger: Arc<Ledger>,
    list: StaticList,
}

impl Crew {
    /// So many servers, all of them listed.
    pub(crate) async fn of(size: usize) -> Self {
        let mut crew = Self::listed(size);
        for number in 0..size {
            crew.start(number).await;
        }
        crew
    }

    /// So many addresses at which nobody listens yet.
    pub(crate) fn listed(size: usize) -> Self {
        let addresses = (0..size).map(|number| format!("mem://{number}-{}", unique("sailor")));
        let crew = Self {
            addresses: addresses.collect(),
            servers: (0..size).map(|_| None).collect(),
            moods: (0..size).map(|_| Arc::default()).collect(),
            ledger: Arc::default(),
            list: StaticList::default(),
        };
        Self {
            list: StaticList::new(crew.endpoints(0..size)),
            ..crew
        }
    }

    fn endpoints(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Endpoint> {
        let endpoint = |number: usize| {
            let tag = Attributes::new().with_tag("hash_key", format!("sailor {number}"));
            Endpoint::new(&self.addresses[number])
                .unwrap()
                .with_attributes(tag)
        };
        numbers.into_iter().map(endpoint).collect()
    }

    /// Lists these and no others.
    pub(crate) fn list(&self, numbers: impl IntoIterator<Item = usize>) {
        self.list.set(self.endpoints(numbers));
    }

    pub(crate) async fn start(&mut self, number: usize) {
        self.start_as(number, self.builder(number)).await;
    }

    /// Starts one that does something besides.
    pub(crate) async fn start_as(&mut self, number: usize, builder: ServerBuilder) {
        let server = builder.bind(&self.addresses[number]).await.unwrap();
        self.servers[number] = Some(server);
    }

    /// Starts one that listens elsewhere than at its address.
    pub(crate) fn start_at(&mut self, number: usize, listener: impl Listener) {
        let server = self.builder(number).serve(listener).unwrap();
        self.servers[number] = Some(server);
    }

    /// A server that is to be started.
    pub(crate) fn builder(&self, number: usize) -> ServerBuilder {
        let sailor = Sailor {
            number,
            mood: self.moods[number].clone(),
            ledger: self.ledger.clone(),
        };
        Server::builder().add_service(GreeterServer::new(sailor))
    }

    /// Stops one at once, whatever it is doing.
    pub(crate) fn kill(&mut self, number: usize) {
        self.servers[number] = None;
    }

    /// Stops one gently.
    pub(crate) async fn retire(&mut self, number: usize) {
        let server = self.servers[number].take().unwrap();
        server.shutdown().await;
    }

    pub(crate) fn address(&self, number: usize) -> &str {
        &self.addresses[number]
    }

    pub(crate) fn mood(&self, number: usize) -> &Mood {
        &self.moods[number]
    }

    pub(crate) fn calls(&self, number: usize) -> u64 {
        self.moods[number].calls.load(SeqCst)
    }

    /// How many connections a server has.
    pub(crate) fn connections(&self, number: usize) -> usize {
        self.servers[number].as_ref().unwrap().connection_count()
    }

    pub(crate) fn all_calls(&self) -> u64 {
        (0..self.moods.len()).map(|number| self.calls(number)).sum()
    }

    /// What makes `crew://greeter` whoever is listed.
    pub(crate) fn resolvers(&self) -> Resolvers {
        let resolvers = Resolvers::default();
        resolvers.with("crew", self.list.clone()).unwrap()
    }

    /// A channel to whoever is listed.
    pub(crate) fn channel(&self, builder: ChannelBuilder) -> Channel {
        builder
            .resolvers(self.resolvers())
            .connect_lazy("crew://greeter")
            .unwrap()
    }

    pub(crate) fn client(&self) -> GreeterClient {
        GreeterClient::new(self.channel(Channel::builder()))
    }

    pub(crate) fn client_of(&self, builder: ChannelBuilder) -> GreeterClient {
        GreeterClient::new(self.channel(builder))
    }
}
