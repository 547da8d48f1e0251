//! S1-5: unknown, repeated and malformed options.
#[rpc::service(nam = "Math", name = "A", name = "B", crate = "rpc")]
#[rpc(name = "C")]
trait Wrong {
    #[rpc(one_way, idempotent, timeout = "1s", timeout = "2s")]
    async fn keys(&self) -> rpc::Result<()>;
    #[rpc(oneway = true, timeout = 500, name = hello)]
    async fn values(&self) -> rpc::Result<()>;
    #[rpc]
    async fn empty(&self) -> rpc::Result<()>;
    #[rpc = "oneway"]
    async fn assigned(&self) -> rpc::Result<()>;
    #[rpc(name("x"))]
    async fn called(&self) -> rpc::Result<()>;
    #[service(name = "x")]
    async fn of_the_trait(&self) -> rpc::Result<()>;
    #[cfg_attr(all(), rpc(oneway))]
    async fn hidden(&self) -> rpc::Result<()>;
    #[cfg_attr(all(), doc = "Fine.", cfg(any()))]
    async fn absent(&self) -> rpc::Result<()>;
}

#[rpc::service(name = 5)]
trait Number {}

#[rpc::service("Math")]
trait Text {}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1");
}
