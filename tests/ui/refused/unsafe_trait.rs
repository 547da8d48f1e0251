//! S1-5: an unsafe trait.
#[rpc::service]
unsafe trait Wrong {
    async fn fine(&self) -> rpc::Result<()>;
}

struct Nothing;

unsafe impl Wrong for Nothing {
    async fn fine(&self) -> rpc::Result<()> {
        Ok(())
    }
}

fn main() {
    let _ = WrongServer::new(Nothing);
}
