//! JSON, as serde_json reads and writes it, except that the limits are ours.

use serde_core::Serialize;
use serde_core::de::DeserializeSeed;

use super::CodecError;
use super::limits::{Budget, Limited};

/// Not inlined: calls in bincode, which are told apart at run time, do without it.
#[inline(never)]
pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    serde_json::to_writer(out, value).map_err(CodecError::encode)
}

/// Not inlined, as [`encode`].
#[inline(never)]
pub(super) fn decode<S, T>(seed: S, body: &[u8], budget: &Budget) -> Result<T, CodecError>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let mut json = serde_json::Deserializer::from_slice(body);
    // `Limited` counts every level that serde_json would, and more: the verdict is ours.
    json.disable_recursion_limit();
    seed.deserialize(Limited::new(&mut json, budget))
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| budget.explain(CodecError::decode(error)))
}
