//! S1-5: types that serde does not know, each told once.
struct Opaque;

#[rpc::service]
trait Wrong {
    async fn argument(&self, first: u8, second: Opaque) -> rpc::Result<()>;
    async fn reference(&self, it: &Opaque) -> rpc::Result<()>;
    async fn reply(&self) -> rpc::Result<Opaque>;
    async fn nested(&self, list: Vec<Opaque>) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn oneway(&self, it: Opaque) -> rpc::Result<()>;
}

async fn uses(client: &WrongClient) {
    let _ = client.argument(1, Opaque).await;
    let _ = client.reply().await;
}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1").map(|client| async move { uses(&client).await });
}
