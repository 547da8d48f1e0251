//! S1-5: supertraits that the generated client cannot implement.
#[rpc::service]
trait Wrong: Send + std::fmt::Debug + std::fmt::Display + Iterator<Item = u8> {
    async fn fine(&self) -> rpc::Result<()>;
}

fn main() {
    let _ = WrongClient::connect_lazy("tcp://127.0.0.1:1");
}
