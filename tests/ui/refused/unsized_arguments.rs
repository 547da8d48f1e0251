//! S1-5: what has no size stands behind a reference.
#[rpc::service]
trait Wrong {
    async fn text(&self, x: str) -> rpc::Result<()>;
    async fn slice(&self, x: [u8]) -> rpc::Result<()>;
}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1");
}
