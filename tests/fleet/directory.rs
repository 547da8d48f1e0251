//! F5: a fleet whose registry is away, forgets, freezes, talks nonsense or comes and goes: no call
//! notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rpc::discovery::{Attributes, Resolvers};
use rpc::registry::{EmbeddedRegistry, Mark, RegistryResolver, RemoteRegistry};
use rpc::transport::{Listener, MemoryListener};
use rpc::{Channel, Server, Status};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;
use crate::common::unique;

/// A registry at an address that is also used by others.
struct Place {
    target: String,
    server: Option<Server>,
}

impl Place {
    async fn bind(&mut self, builder: rpc::ServerBuilder) {
        self.leave().await;
        self.server = Some(builder.bind(&self.target).await.unwrap());
    }

    /// A registry that knows nobody.
    async fn start(&mut self) {
        let registry = EmbeddedRegistry::builder().allow_local();
        let registry = registry.without_authentication().build();
        self.bind(Server::builder().add_service(registry.service()))
            .await;
    }

    /// As when its process is killed. Ready when the address is free.
    async fn leave(&mut self) {
        drop(self.server.take());
        tokio::task::yield_now().await;
    }

    fn client(&self) -> GreeterClient {
        let resolver = RegistryResolver::at(&self.target);
        let resolvers = Resolvers::default().with("fleet", resolver).unwrap();
        let builder = Channel::builder().resolvers(resolvers);
        GreeterClient::new(builder.connect_lazy("fleet://greeter").unwrap())
    }

    /// Starts a server that enters itself.
    async fn enter(&self, crew: &mut Crew, number: usize) {
        let registry = RemoteRegistry::new(&self.target).unwrap();
        let builder = crew.builder(number);
        let builder = builder.register(registry, "greeter", Attributes::new());
        crew.start_as(number, builder).await;
    }
}

/// Calls without end.
struct Load {
    callers: JoinSet<Vec<Status>>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Load {
    fn start(client: &GreeterClient) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let (client, stop, calls) = (client.clone(), stop.clone(), calls.clone());
            callers.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    let nonce = calls.fetch_add(1, SeqCst);
                    failed.extend(client.hello(nonce).await.err());
                    tokio::time::sleep(millis(50)).await;
                }
                failed
            });
        }
        Self {
            callers,
            stop,
            calls,
        }
    }
}

/// F5: a minute of each, and zero calls fail; a server that came meanwhile is called within five
/// seconds after the registry is back, and one that left is not.
#[tokio::test(start_paused = true)]
async fn f5_no_call_notices_what_becomes_of_the_registry() {
    let mut place = Place {
        target: format!("mem://{}", unique("registry")),
        server: None,
    };
    place.start().await;
    let mut crew = Crew::listed(8);
    for number in 0..3 {
        place.enter(&mut crew, number).await;
    }
    let client = place.client();
    client.channel().each().await.unwrap();
    let load = Load::start(&client);
    tokio::time::sleep(seconds(5)).await;
    for (next, outage) in ["away", "frozen", "nonsense", "empty", "flaps"]
        .into_iter()
        .enumerate()
    {
        let mut frozen = None;
        match outage {
            "away" => place.leave().await,
            "frozen" => {
                place.leave().await;
                let name = &place.target["mem://".len()..];
                let mut listener = MemoryListener::bind(name).unwrap();
                frozen = Some(tokio::spawn(async move {
                    let mut held = Vec::new();
                    while let Ok(stream) = listener.accept().await {
                        held.push(stream);
                    }
                }));
            }
            "nonsense" => {
                let nonsense = |_: (String, Mark)| async { Ok::<_, Status>(vec![255_u8; 64]) };
                let builder = Server::builder();
                place
                    .bind(builder.add_function("rpc.Registrar.watch", nonsense))
                    .await;
            }
            "empty" => {
                // It knows nobody for as long as nobody enters himself.
                place.start().await;
            }
            _ => {
                for _ in 0..15 {
                    place.start().await;
                    tokio::time::sleep(seconds(2)).await;
                    place.leave().await;
                    tokio::time::sleep(seconds(2)).await;
                }
            }
        }
        tokio::time::sleep(seconds(50)).await;
        // One comes meanwhile, and one goes.
        let (came, went) = (3 + next, next);
        place.enter(&mut crew, came).await;
        crew.retire(went).await;
        tokio::time::sleep(seconds(10)).await;
        if let Some(frozen) = frozen {
            frozen.abort();
            let _ = frozen.await;
        }
        place.start().await;
        let back = Instant::now();
        while crew.calls(came) == 0 {
            assert!(
                back.elapsed() <= seconds(5),
                "{outage}: {:?}",
                back.elapsed()
            );
            tokio::time::sleep(millis(10)).await;
        }
        println!("F5: {outage}: resync after {:?}", back.elapsed());
        // Until every server has had the time to come back, those who were known stay.
        tokio::time::sleep(seconds(70)).await;
        let known = client.channel().stats().endpoints;
        assert_eq!(known.len(), 3, "{outage}: {known:?}");
        assert!(known.iter().all(|one| one.address != crew.address(went)));
    }
    load.stop.store(true, SeqCst);
    let failed = load.callers.join_all().await.concat();
    let calls = load.calls.load(SeqCst);
    println!("F5: {} of {calls} calls failed", failed.len());
    assert!(failed.is_empty(), "{}", failed[0]);
    assert!(calls > 50_000, "{calls}");
    assert_eq!(crew.ledger.most(), 1);
}
