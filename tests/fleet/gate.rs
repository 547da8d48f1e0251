//! The way to servers in memory, which is closed at first.

use std::io;
use std::sync::Arc;

use rpc::ChannelBuilder;
use rpc::transport::{Connector, Duplex, MemoryConnector};
use tokio::sync::Semaphore;

/// Holds up whoever connects, until the test opens it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS);
    }

    /// In front of all servers of a channel.
    pub(crate) fn before(&self, builder: ChannelBuilder) -> ChannelBuilder {
        let gate = self.clone();
        builder.connectors(move |target: &str| {
            let server = MemoryConnector::new(target.strip_prefix("mem://")?);
            let gate = gate.clone();
            Some(Arc::new(Behind { gate, server }) as Arc<dyn Connector>)
        })
    }
}

/// A server behind the gate.
#[derive(Debug)]
struct Behind {
    gate: Gate,
    server: MemoryConnector,
}

#[rpc::async_trait]
impl Connector for Behind {
    async fn connect(&self) -> io::Result<Duplex> {
        let _may_pass = self.gate.0.acquire().await;
        self.server.connect().await
    }
    fn target(&self) -> String {
        self.server.target()
    }
}
