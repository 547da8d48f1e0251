//! What one attempt finds, and what another one says meanwhile.

use async_trait::async_trait;
use rpc_core::Codec;
use rpc_core::connection::ClientConfig;
use tokio::runtime;

use super::super::{ConnectionPool, Listener};
use super::*;
use crate::client::connection::ClientSide;
use crate::client::connections::Connections;
use crate::client::dialer::{Dialer, Terms};
use crate::connection::Driver;
use crate::transport::{Connector, Connectors, Duplex, Peer};

/// Connects to nobody.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Connector for Nowhere {
    async fn connect(&self) -> std::io::Result<Duplex> {
        std::future::pending().await
    }
    fn target(&self) -> String {
        "test://nowhere".into()
    }
}

/// Is told that there is no connection at the very moment at which there is one.
#[derive(Clone, Default)]
struct Interrupted(Arc<Meanwhile>);

#[derive(Default)]
struct Meanwhile {
    made: std::sync::Mutex<Option<(Connection, Opening)>>,
    said: std::sync::Mutex<Vec<&'static str>>,
}

impl Listener for Interrupted {
    fn unreachable(&self) {
        self.0.said.lock().unwrap().push("unreachable");
        let made = self.0.made.lock().unwrap().take();
        if let Some((connection, opening)) = made {
            let pool = opening.pool.upgrade().unwrap();
            pool.note_connected(connection, opening);
        }
    }
    fn connected(&self) {
        self.0.said.lock().unwrap().push("connected");
    }
}

fn connection() -> (Connection, Driver<ClientSide>) {
    let (reader, writer) = tokio::io::split(tokio::io::duplex(1024).0);
    let duplex = Duplex::new(reader, writer, Peer::from_uri("test://server"));
    let (connection, _, driver) =
        Connection::new(duplex, ClientConfig::new(1), Codec::default(), None);
    (connection, driver)
}

fn pool(listener: &Interrupted) -> Arc<Pool> {
    let terms = Terms {
        config: ClientConfig::new(1),
        codec: Codec::default(),
        connect_timeout: Duration::ZERO,
        reconnect_backoff: None,
        connectors: Connectors::default(),
        connections: Connections::default(),
    };
    let dialer = Dialer::new(Arc::new(Nowhere), Arc::new(terms));
    let settings = ConnectionPool::new().with_max_connections(2);
    Pool::new(dialer, settings, Box::new(listener.clone()))
}

/// One attempt fails while another one connects: that the first has failed must not stay, as nobody
/// connects any more, not even when that connection is lost.
#[test]
fn a_failure_does_not_outlast_a_connection_that_was_made_meanwhile() {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    // The locks are shuttle's in tests, and want a run of it around them.
    shuttle::check_random(
        || {
            let listener = Interrupted::default();
            let pool = pool(&listener);
            pool.stage.send_replace(Stage::Dialing);
            let Store::Many(shelf) = &pool.store else {
                unreachable!("there may be two");
            };
            let _failed = Opening::new(&pool, lock(shelf).open_one());
            let made = Opening::new(&pool, lock(shelf).open_one());
            let (connection, driver) = connection();
            *listener.0.made.lock().unwrap() = Some((connection, made));
            let error = Error::new(Kind::Connect, "refused");
            pool.note_failure(error, clock::now());
            assert!(pool.has_any());
            assert!(matches!(*pool.stage.borrow(), Stage::Idle));
            assert_eq!(listener.0.said.lock().unwrap().last(), Some(&"connected"));
            drop(driver);
            assert!(!pool.has_any(), "it is lost");
            pool.dial();
            assert!(matches!(*pool.stage.borrow(), Stage::Dialing));
        },
        1,
    );
}
