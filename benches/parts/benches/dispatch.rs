//! From a request to its handler and back, without a connection: router, admission, context,
//! decoding, the handler's future, encoding; and the typed client in front.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use parts::criterion;
use parts::record::Record;
use rpc::{Channel, Server};
use tokio::runtime::{Builder, Runtime};

#[rpc::service]
trait Arith {
    async fn add(&self, a: i64, b: i64) -> rpc::Result<i64>;
    async fn add_later(&self, a: i64, b: i64) -> rpc::Result<i64>;
    async fn copy(&self, record: &Record) -> rpc::Result<Record>;
}

struct Adder;

impl Arith for Adder {
    async fn add(&self, a: i64, b: i64) -> rpc::Result<i64> {
        Ok(a + b)
    }
    async fn add_later(&self, a: i64, b: i64) -> rpc::Result<i64> {
        tokio::task::yield_now().await;
        Ok(a + b)
    }
    async fn copy(&self, record: &Record) -> rpc::Result<Record> {
        Ok(record.clone())
    }
}

/// Which many services are there besides the one that is called.
fn client() -> ArithClient {
    let mut server = Server::builder().add_service(ArithServer::new(Adder));
    for index in 0..20 {
        server = server.add_service_as(&format!("other.{index}"), ArithServer::new(Adder));
    }
    let services = server.in_process().expect("the names differ");
    ArithClient::new(Channel::from_invoke(services))
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// What a future gives that has nothing to wait for.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn dispatch(criterion: &mut Criterion) {
    let (runtime, client, record) = (runtime(), client(), Record::sample());
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("dispatch");
    group.bench_function("ready at once", |bencher| {
        bencher.iter(|| assert_eq!(ready(client.add(black_box(41), 1)), Ok(42)));
    });
    group.bench_function("waits once", |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(client.add_later(black_box(41), 1)), Ok(42)));
    });
    group.bench_function("structured message", |bencher| {
        bencher.iter(|| ready(client.copy(black_box(&record))).map(|copy| copy.items.len()));
    });
    group.finish();
}

criterion_group!(name = group; config = criterion(); targets = dispatch);
criterion_main!(group);
