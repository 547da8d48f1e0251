//! A client and a server of the core, back to back: no sockets, no tasks, time stands still.

use std::sync::Arc;
use std::time::Instant;

use rpc_core::connection::{
    ClientConfig, ClientConnection, ClientEvent, RequestHead, ServerConfig, ServerConnection,
    ServerEvent,
};
use rpc_core::wire::Outgoing;
use rpc_core::{CodecError, CodecId, Metadata, MethodId};

const METHOD: MethodId = MethodId::from_number(7);

pub struct Pair {
    client: ClientConnection<()>,
    server: ServerConnection<()>,
    now: Instant,
}

impl Pair {
    /// A client that has written its hello, and a server that waits for it.
    #[must_use]
    pub fn new(config: &Arc<ServerConfig>, now: Instant) -> Self {
        let codec = CodecId::BINCODE.number();
        Self {
            client: ClientConnection::new(ClientConfig::new(codec), now),
            server: ServerConnection::new(config.clone(), now),
            now,
        }
    }

    /// What servers are configured with: both codecs, one service.
    #[must_use]
    pub fn config() -> Arc<ServerConfig> {
        let codecs = [CodecId::BINCODE, CodecId::JSON]
            .map(|codec| (codec.number(), format!("codec {}", codec.number())));
        let services = vec!["bench".to_owned()];
        Arc::new(ServerConfig::new(codecs.to_vec(), services))
    }

    /// One whose hello and ack have crossed.
    #[must_use]
    pub fn open() -> Self {
        let mut pair = Self::new(&Self::config(), Instant::now());
        pair.shake_hands();
        pair
    }

    pub fn shake_hands(&mut self) {
        self.serve();
        self.finish();
        assert!(self.client.peer().is_some(), "the server accepts");
    }

    /// The client sends requests.
    pub fn start(&mut self, calls: usize, body: &[u8]) {
        for _ in 0..calls {
            let head = RequestHead::new(METHOD);
            let started = self.client.start_call(head, (), |out| append(body, out));
            started.expect("the client takes calls");
        }
    }

    /// The server reads what the client wrote, and answers each request with its body.
    pub fn serve(&mut self) {
        let written = self.client.outgoing().take();
        let mut input = written.chunk();
        self.server.handle_receipt(self.now, input.len());
        while let Some(event) = self.server.handle_input(&mut input).expect("it is legal") {
            if let ServerEvent::Request(request) = event {
                let body = |out: &mut Vec<u8>| append(&request.body, out);
                self.server.reply(request.id, &Metadata::new(), body);
            }
        }
        give_back(self.client.outgoing(), written);
    }

    /// The client reads what the server wrote, and takes each answer. Tells how many.
    pub fn finish(&mut self) -> usize {
        let written = self.server.outgoing().take();
        let mut input = written.chunk();
        self.client.handle_receipt(self.now);
        let mut answers = 0;
        while let Some(event) = self.client.handle_input(&mut input).expect("it is legal") {
            if let ClientEvent::Replied(call, _) = event {
                self.client.release(call).expect("it was open");
                answers += 1;
            }
        }
        give_back(self.server.outgoing(), written);
        answers
    }
}

fn append(body: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.extend_from_slice(body);
    Ok(())
}

/// All of it was written.
fn give_back(outgoing: &mut Outgoing, mut written: Outgoing) {
    written.advance(written.chunk().len());
    outgoing.prepend(written);
}
