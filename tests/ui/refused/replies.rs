//! S1-5: what a reply may not be, told by its spelling.
use std::borrow::Cow;

#[rpc::service]
trait Wrong {
    async fn borrowed(&self) -> rpc::Result<&str>;
    async fn forever(&self) -> rpc::Result<&'static str>;
    async fn lifetime(&self) -> rpc::Result<Cow<'_, str>>;
    async fn opaque(&self) -> rpc::Result<impl Copy>;
    async fn another(&self) -> rpc::Result<Self>
    where
        Self: Sized;
}

fn main() {}
