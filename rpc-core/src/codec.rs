//! How values become bytes.
/// Placeholder.
#[derive(Debug, thiserror::Error)]
#[error("x")]
#[non_exhaustive]
pub struct CodecError {}
