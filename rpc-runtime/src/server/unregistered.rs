//! What stands in for `registrations.rs` without the feature `fleet`: a server is entered nowhere.

use crate::error::Error;

#[derive(Debug, Default)]
pub(super) struct Registrations;

impl Registrations {
    pub(super) const fn is_empty(&self) -> bool {
        true
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the one that it stands in for")]
    pub(super) const fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the one that it stands in for")]
    pub(super) const fn start(self, _: &str) -> Result<Registered, Error> {
        Ok(Registered)
    }
}

#[derive(Debug, Default)]
pub(super) struct Registered;

impl Registered {
    pub(super) async fn leave(self) {}
}
