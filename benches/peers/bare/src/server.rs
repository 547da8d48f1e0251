//! The server: answers where it reads; what has to wait is a task.

use std::net::SocketAddr;
use std::sync::Arc;

use peers_harness::{Result, Work};
use tokio::net::TcpListener;

use crate::driver::{Driver, Side};
use crate::frame::{ECHO, END, Header, ITEMS, WORK};
use crate::link::{Link, State};

pub(crate) async fn serve(listening: impl FnOnce(SocketAddr) + Send) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let link = Arc::new(Link::new(writer, Answering));
        tokio::spawn(Driver::new(link, reader));
    }
}

struct Answering;

impl Side for Answering {
    #[inline]
    fn handle(
        state: &mut State<Self>,
        link: &Arc<Link<Self>>,
        header: Header,
        body: &[u8],
    ) -> bool {
        match header.kind {
            ECHO => state.append(header, body),
            ITEMS => append_items(state, header, body),
            kind => {
                let work = Work::from_numbers(kind.saturating_sub(WORK), header.argument);
                let (link, body) = (link.clone(), body.to_vec());
                tokio::spawn(async move {
                    work.run().await;
                    let mut state = link.lock();
                    state.append(header, &body);
                    link.send(state, false);
                });
            }
        }
        false
    }

    fn end(&mut self) {}
}

fn append_items(state: &mut State<Answering>, header: Header, body: &[u8]) {
    for _ in 0..header.argument {
        state.append(header, body);
    }
    let end = Header {
        body_bytes: 0,
        kind: END,
        ..header
    };
    state.append(end, &[]);
}
