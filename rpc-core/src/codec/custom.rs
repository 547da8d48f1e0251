//! A codec of the user's own.
//!
//! Why type erasure? A connection picks its codec at run time, and a trait with generic methods cannot
//! stand behind a pointer. The built-in codecs are an enum and stay generic: they pay nothing for it.

use std::fmt;

use serde_core::de::DeserializeSeed;

use super::limits::{Budget, Limited};
use super::{CodecError, CodecId};

/// Any serde `Deserializer` behind a pointer: what [`CustomCodec::decode`] hands over.
pub use erased_serde::Deserializer as ErasedDeserializer;
/// Why a value could not be read from an [`ErasedDeserializer`].
pub use erased_serde::Error as ErasedError;
/// Any serde `Serialize` behind a pointer: what [`CustomCodec::encode`] receives.
pub use erased_serde::Serialize as ErasedSerialize;

/// A codec of your own, known to both sides under the same id.
///
/// The framework looks after nesting and element limits; the codec itself must not panic, must not
/// allocate on the word of a length field, and must refuse bytes left over.
///
/// ```
/// # use rpc_core as rpc;
/// use rpc::codec::*;
///
/// /// JSON with line breaks.
/// #[derive(Debug)]
/// struct Pretty;
///
/// impl CustomCodec for Pretty {
///     fn id(&self) -> CodecId {
///         CodecId::from_number(200).unwrap()
///     }
///     fn name(&self) -> &str {
///         "pretty"
///     }
///     fn encode(&self, value: &dyn ErasedSerialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         serde_json::to_writer_pretty(out, value).map_err(CodecError::encode)
///     }
///     fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
///         let mut json = serde_json::Deserializer::from_slice(body);
///         visit(&mut <dyn ErasedDeserializer<'_>>::erase(&mut json)).map_err(CodecError::decode)?;
///         json.end().map_err(CodecError::decode)
///     }
/// }
///
/// let codec = Codec::custom(Pretty)?;
/// let mut body = Vec::new();
/// codec.encode(&vec![1_u32, 2], &mut body)?;
/// assert_eq!(codec.decode::<Vec<u32>>(&body, &DecodeLimits::default())?, [1, 2]);
/// # Ok::<(), CodecError>(())
/// ```
pub trait CustomCodec: fmt::Debug + Send + Sync + 'static {
    /// What the peers agree on: a number of 128..=255, the same at every call.
    fn id(&self) -> CodecId;

    /// The name people read in errors and logs.
    fn name(&self) -> &str;

    /// Appends `value` to `out`. What was written before a failure is removed by the caller.
    ///
    /// # Errors
    /// The value has no form in this codec.
    fn encode(&self, value: &dyn ErasedSerialize, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Makes a deserializer of `body`, passes it to `visit` once, and refuses bytes left over.
    ///
    /// # Errors
    /// What `visit` says, or that the body is not in this codec.
    fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError>;
}

/// Takes the value out of the deserializer that a [`CustomCodec`] has made.
pub type Visit<'a> = &'a mut dyn FnMut(&mut dyn ErasedDeserializer<'_>) -> Result<(), ErasedError>;

/// Not inlined: calls in bincode, which are told apart at run time, do without it.
#[inline(never)]
pub(super) fn decode<S, T>(
    codec: &dyn CustomCodec,
    seed: S,
    body: &[u8],
    budget: &Budget,
) -> Result<T, CodecError>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let mut seed = Some(seed);
    let mut value = None;
    let mut visit = |deserializer: &mut dyn ErasedDeserializer<'_>| {
        let Some(seed) = seed.take() else {
            return Err(serde_core::de::Error::custom("the value was taken before"));
        };
        value = Some(seed.deserialize(Limited::new(deserializer, budget))?);
        Ok(())
    };
    codec
        .decode(body, &mut visit)
        .map_err(|error| budget.explain(error))?;
    value.ok_or_else(|| {
        CodecError::decode(format_args!(
            "the codec `{}` did not hand over a deserializer",
            codec.name()
        ))
    })
}
