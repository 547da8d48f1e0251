//! S1-5: what a method may not be. Every mistake is reported, and nothing else.
use std::sync::Arc;

#[rpc::service]
trait Wrong {
    fn not_async(&self) -> rpc::Result<()>;
    async fn no_self(name: String) -> rpc::Result<()>;
    async fn nothing() -> rpc::Result<()>;
    async fn by_value(self) -> rpc::Result<()>;
    async fn by_mut(&mut self) -> rpc::Result<()>;
    async fn typed(self: Arc<Self>) -> rpc::Result<()>;
    async fn with_lifetime(&'static self) -> rpc::Result<()>;
    async fn of_type<T>(&self) -> rpc::Result<()>;
    async fn of_number<const N: usize>(&self) -> rpc::Result<()>;
    async fn of_lifetime<'a>(&self) -> rpc::Result<()>;
    async fn with_bound(&self) -> rpc::Result<()>
    where
        u8: Copy;
    async unsafe fn not_safe(&self) -> rpc::Result<()>;
    async extern "C" fn foreign(&self) -> rpc::Result<()>;
    async fn with_body(&self) -> rpc::Result<()> {
        Ok(())
    }
    async fn no_result(&self);
    async fn fine(&self) -> rpc::Result<()>;
}

async fn uses(client: &WrongClient, wrong: &impl Wrong) {
    let _ = client.fine().await;
    let _ = wrong.fine().await;
}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1").map(|client| async move { uses(&client, &client).await });
}
