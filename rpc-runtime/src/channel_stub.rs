//! Placeholder types until the runtime stands.
#![allow(missing_docs)]
use rpc_core::MetadataError;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Channel;
#[derive(Debug, Clone, Default)]
pub struct CallOptions;
#[derive(Debug, thiserror::Error)]
#[error("set-up failed")]
pub struct Error;

impl Channel {
    pub async fn connect(_target: impl AsRef<str>) -> Result<Self, Error> {
        Err(Error)
    }
    pub fn connect_lazy(_target: impl AsRef<str>) -> Result<Self, Error> {
        Err(Error)
    }
    pub fn with_options(&self, _options: CallOptions) -> Self {
        self.clone()
    }
    pub fn with_timeout(&self, _timeout: Duration) -> Self {
        self.clone()
    }
    pub fn with_metadata(&self, _key: &str, _value: &str) -> Result<Self, MetadataError> {
        Ok(self.clone())
    }
}
