//! S1-5: what an argument may not be.
use std::borrow::Cow;
use std::str::Chars;

#[rpc::service]
trait Wrong {
    async fn tuple(&self, (a, b): (i32, i32)) -> rpc::Result<()>;
    async fn unnamed(&self, _: u8) -> rpc::Result<()>;
    async fn mutable(&self, mut x: u8) -> rpc::Result<()>;
    async fn by_mut(&self, x: &mut u8) -> rpc::Result<()>;
    async fn lifetime(&self, x: &'static str) -> rpc::Result<()>;
    async fn borrowing(&self, x: Chars<'_>) -> rpc::Result<()>;
    async fn named(&self, x: Cow<'a, str>) -> rpc::Result<()>;
    async fn inside(&self, x: Vec<Cow<'_, str>>) -> rpc::Result<()>;
    async fn nested(&self, x: Vec<&str>) -> rpc::Result<()>;
    async fn twice(&self, x: &&str) -> rpc::Result<()>;
    async fn hidden(&self, #[cfg(all())] x: u8) -> rpc::Result<()>;
}

struct Nothing;

impl Wrong for Nothing {
    async fn tuple(&self, (a, b): (i32, i32)) -> rpc::Result<()> {
        let _ = a + b;
        Ok(())
    }
    async fn unnamed(&self, _: u8) -> rpc::Result<()> {
        Ok(())
    }
    async fn mutable(&self, mut x: u8) -> rpc::Result<()> {
        x += 1;
        Ok(drop(x))
    }
    async fn by_mut(&self, _: &mut u8) -> rpc::Result<()> {
        Ok(())
    }
    async fn lifetime(&self, _: &'static str) -> rpc::Result<()> {
        Ok(())
    }
    async fn borrowing(&self, _: Chars<'_>) -> rpc::Result<()> {
        Ok(())
    }
    async fn named(&self, _: Cow<'_, str>) -> rpc::Result<()> {
        Ok(())
    }
    async fn inside(&self, _: Vec<Cow<'_, str>>) -> rpc::Result<()> {
        Ok(())
    }
    async fn nested(&self, _: Vec<&str>) -> rpc::Result<()> {
        Ok(())
    }
    async fn twice(&self, _: &&str) -> rpc::Result<()> {
        Ok(())
    }
    async fn hidden(&self, _: u8) -> rpc::Result<()> {
        Ok(())
    }
}

fn main() {
    let _ = WrongServer::new(Nothing);
}
