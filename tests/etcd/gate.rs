//! Stands between a client and a member, and keeps requests to watch waiting until it is told.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A place to connect to instead of a member.
pub(crate) struct Gate {
    pub(crate) host: String,
    waiting: mpsc::Receiver<Waiting>,
}

/// A request to watch that has not reached the member yet. Dropped, it never does.
pub(crate) struct Waiting {
    client: TcpStream,
    member: String,
    request: Vec<u8>,
}

impl Gate {
    pub(crate) async fn open(member: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (sender, waiting) = mpsc::channel(64);
        let member = member.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, member.clone(), sender.clone()));
            }
        });
        Self { host, waiting }
    }

    /// The next request to watch.
    pub(crate) async fn next(&mut self) -> Waiting {
        self.waiting.recv().await.unwrap()
    }
}

impl Waiting {
    /// Lets it go on.
    pub(crate) fn pass(mut self) {
        tokio::spawn(async move {
            let mut member = TcpStream::connect(&self.member).await?;
            member.write_all(&self.request).await?;
            copy_bidirectional(&mut self.client, &mut member).await
        });
    }
}

async fn pass(mut client: TcpStream, member: String, waiting: mpsc::Sender<Waiting>) {
    let mut request = vec![0; 4096];
    let Ok(count) = client.read(&mut request).await else {
        return;
    };
    request.truncate(count);
    let is_watch = request.starts_with(b"POST /v3/watch ");
    let stopped = Waiting {
        client,
        member,
        request,
    };
    if is_watch {
        let _ = waiting.send(stopped).await;
    } else {
        stopped.pass();
    }
}
