//! The two ends of the connection, each a process with one thread.

use std::io;
use std::sync::LazyLock;

use bytes::Bytes;
use rpc::{CallInfo, Channel, Interceptor, Server, Status};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};

/// The structured message: ten fields, one nested, one a vector of ten.
#[path = "../../peers/harness/src/record.rs"]
mod record;

use crate::Result;
use record::Record;

const PAYLOAD: [u8; 32] = [7; 32];

#[rpc::service]
trait Bench {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes>;
    async fn next(&self, number: u64) -> rpc::Result<u64>;
    async fn copy(&self, record: &Record) -> rpc::Result<Record>;
}

struct Echo;

impl Bench for Echo {
    async fn echo(&self, payload: Bytes) -> rpc::Result<Bytes> {
        Ok(payload)
    }
    async fn next(&self, number: u64) -> rpc::Result<u64> {
        yield_now().await;
        Ok(number + 1)
    }
    async fn copy(&self, record: &Record) -> rpc::Result<Record> {
        Ok(record.clone())
    }
}

/// Which call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// 32 bytes, answered at once.
    Echo,
    /// A number, and a handler that waits once.
    Later,
    /// The structured message.
    Copy,
    /// As the first, with an interceptor at either end.
    Seen,
}

impl Call {
    const ALL: [Self; 4] = [Self::Echo, Self::Later, Self::Copy, Self::Seen];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Later => "later",
            Self::Copy => "copy",
            Self::Seen => "seen",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|call| call.name() == name);
        found.ok_or_else(|| format!("no call `{name}`").into())
    }
}

/// Lets a call through, as one that is ready at once.
struct Nod;

impl Interceptor for Nod {
    async fn before(&self, call: &mut CallInfo) -> rpc::Result<()> {
        match call.method() {
            "" => Err(Status::invalid_argument("a method has a name")),
            _ => Ok(()),
        }
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Serves such calls until standard input ends; says so on standard output once it does.
///
/// On one processor: with more, it would send what it has when some time has passed.
pub(crate) fn serve(target: &str, call: Call) -> Result<()> {
    keep_to_one_processor()?;
    runtime()?.block_on(async {
        let mut server = Server::builder().add_service(BenchServer::new(Echo));
        if call == Call::Seen {
            server = server.interceptor(Nod);
        }
        let _server = server.bind(target).await?;
        println!("listening");
        tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
}

/// Keeps this process to the processor that it is on.
fn keep_to_one_processor() -> io::Result<()> {
    // SAFETY: such a set is a row of bits. It lives as long as it is lent, and its size is its own.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set) != 0
    };
    match failed {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

/// So many callers, each of which makes so many calls.
pub(crate) fn call(target: &str, in_flight: u32, rounds: u32, call: Call) -> Result<()> {
    runtime()?.block_on(async {
        let mut channel = Channel::builder();
        if call == Call::Seen {
            channel = channel.interceptor(Nod);
        }
        let client = BenchClient::new(channel.connect(target).await?);
        let callers = (0..in_flight).map(|_| spawn_caller(client.clone(), rounds, call));
        for caller in callers.collect::<Vec<_>>() {
            caller.await??;
        }
        Ok(())
    })
}

/// A task for each kind: one future for all of them would be larger than that of a user. Each has types
/// of its own, so that the compiler treats it as if there were no other.
fn spawn_caller(client: BenchClient, rounds: u32, call: Call) -> JoinHandle<rpc::Result<()>> {
    static SAMPLE: LazyLock<Record> = LazyLock::new(Record::sample);
    match call {
        Call::Echo | Call::Seen => tokio::spawn(async move {
            for _ in 0..rounds {
                let reply = client.echo(Bytes::from_static(&PAYLOAD)).await?;
                assert_eq!(reply, PAYLOAD[..]);
            }
            Ok(())
        }),
        Call::Later => tokio::spawn(async move {
            for number in 0..u64::from(rounds) {
                assert_eq!(client.next(number).await?, number + 1);
            }
            Ok(())
        }),
        Call::Copy => tokio::spawn(async move {
            for _ in 0..rounds {
                assert_eq!(client.copy(&SAMPLE).await?.items.len(), 10);
            }
            Ok(())
        }),
    }
}
