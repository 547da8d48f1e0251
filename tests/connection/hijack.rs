//! S2-7: a connection that begins as one of HTTP and is taken over, as behind a proxy: transports of
//! the user's own on both sides, with nothing but `CONNECT` to them.

use std::io;
use std::sync::Arc;

use rpc::transport::{Connector, Duplex, Listener};
use rpc::{Channel, Code, Peer, async_trait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Work, WorkClient, Worker, builder};

/// Reads the head of a request or an answer, and no byte of what is behind it.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > 1000 {
            return Err(io::Error::other("no head of HTTP"));
        }
    }
    String::from_utf8(head).map_err(io::Error::other)
}

fn duplex(stream: TcpStream) -> io::Result<Duplex> {
    let peer = Peer::from_address(stream.peer_addr()?);
    let (reader, writer) = stream.into_split();
    Ok(Duplex::new(reader, writer, peer))
}

/// Takes over what asks for it, and sends everybody else away.
struct Hijack(TcpListener);

#[async_trait]
impl Listener for Hijack {
    async fn accept(&mut self) -> io::Result<Duplex> {
        loop {
            let (mut stream, _) = self.0.accept().await?;
            let Ok(request) = head(&mut stream).await else {
                continue;
            };
            if !request.starts_with("CONNECT /rpc HTTP/1.1\r\n") {
                let refused = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(refused).await?;
                continue;
            }
            let accepted = b"HTTP/1.1 200 Connected\r\n\r\n";
            stream.write_all(accepted).await?;
            return duplex(stream);
        }
    }

    fn target(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }
}

#[derive(Debug)]
struct Proxied {
    host: String,
    path: &'static str,
}

#[async_trait]
impl Connector for Proxied {
    async fn connect(&self) -> io::Result<Duplex> {
        let mut stream = TcpStream::connect(&self.host).await?;
        let request = format!(
            "CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.path, self.host
        );
        stream.write_all(request.as_bytes()).await?;
        let answer = head(&mut stream).await?;
        match answer.starts_with("HTTP/1.1 200 ") {
            true => duplex(stream),
            false => Err(io::Error::other(
                answer.lines().next().unwrap_or("").to_owned(),
            )),
        }
    }

    fn target(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

#[tokio::test]
async fn s2_7_a_connection_of_http_is_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = builder(&Worker::default()).serve(Hijack(listener)).unwrap();
    let client = |path| {
        let host = host.clone();
        WorkClient::new(Channel::builder().with_connector(Arc::new(Proxied { host, path })))
    };
    let calls = client("/rpc");
    for number in 0..100 {
        let echoed = calls.echo(number, vec![7; 100]).await.unwrap();
        assert_eq!(echoed, (number, vec![7; 100]));
    }
    assert_eq!(server.connection_count(), 1);
    let status = client("/other").echo(1, Vec::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.to_string().contains("405 Method Not Allowed"),
        "{status}"
    );
}
