//! S1-5: a trait with parameters.
#[rpc::service]
trait Wrong<'a, T: Send + Sync + 'static, const N: usize>
where
    T: Clone,
{
    async fn fine(&self) -> rpc::Result<()>;
}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1");
}
