//! S1-5: a service has only methods.
macro_rules! more {
    () => {};
}

#[rpc::service]
trait Wrong {
    type Item;
    const NUMBER: u8;
    more!();
    async fn fine(&self) -> rpc::Result<()>;
}

struct Nothing;

impl Wrong for Nothing {
    type Item = u8;
    const NUMBER: u8 = 1;
    async fn fine(&self) -> rpc::Result<()> {
        Ok(())
    }
}

fn main() {
    let _ = WrongServer::new(Nothing);
}
