//! How values become bytes.
//!
//! What a caller may rely on, in every codec: bytes are *appended* to the caller's buffer and the
//! buffer is left as it was if encoding fails; decoding consumes the whole body, within
//! [`DecodeLimits`], and refuses anything it would have to guess at. No input makes it panic.
//!
//! Which of two keys wins? In a struct and in the arguments of a call a duplicate is an error; in a
//! map the last one wins, as serde does it. Numbers are strict: an integer written in more bytes
//! than it needs, a `bool` of 2 or a `char` that is none are errors.
//!
//! Two things to know before choosing JSON: a float that is not finite is written as `null` (so
//! that it fails to decode, or becomes `None`), and the keys of a map must be strings or integers.
//! One before choosing bincode: it is not self-describing, so `skip_serializing_if`, `flatten`,
//! `untagged` and internally tagged enums cannot work with it.

mod arguments;
mod arrays;
mod bincode;
mod bytes;
#[cfg(feature = "codecs")]
mod custom;
mod error;
#[cfg(feature = "codecs")]
mod json;
mod limits;
mod shared;

use std::fmt;
#[cfg(feature = "codecs")]
use std::sync::Arc;

use ::bytes::Bytes;
use serde_core::Serialize;
use serde_core::de::{DeserializeOwned, DeserializeSeed};

use crate::wire::Parts;

pub use arguments::{Argument, AsBytes, AsValue, DecodeArguments, EncodeArguments};
pub use bytes::ByteString;
#[cfg(feature = "codecs")]
pub use custom::{CustomCodec, ErasedDeserializer, ErasedError, ErasedSerialize, Visit};
pub use error::CodecError;
pub use limits::DecodeLimits;
pub use shared::{SharedString, leaving_out, sharing};

#[cfg(feature = "codecs")]
use arguments::ArgumentsOut;
use arguments::{ArgumentOut, ArgumentsSeed, InOrderOut, InOrderSeed};
use bytes::{Whole, WholeSeed};
use limits::Budget;

/// Appends one argument of a call as bincode writes it, whatever codec the call is in: for what all
/// clients have to compute alike. On failure `out` is as it was.
///
/// # Errors
/// There is no such argument, or it cannot be encoded.
pub fn encode_argument<A: EncodeArguments + ?Sized>(
    arguments: &A,
    index: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    Codec::Bincode.append(&ArgumentOut { arguments, index }, out)
}

/// The number by which two peers agree on a codec when they connect.
///
/// 1 is bincode, 2 is JSON, 3 to 127 are kept for codecs to come, 128 to 255 belong to
/// [`CustomCodec`]s. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodecId(u8);

impl CodecId {
    /// The codec used unless another is asked for.
    pub const BINCODE: Self = Self(1);
    /// JSON, for peers that are not written in Rust.
    pub const JSON: Self = Self(2);

    /// The id with this number; `None` for 0, which is no codec.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self(number)),
        }
    }

    /// The number that travels.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether the number belongs to the user's codecs: 128 and above.
    #[must_use]
    pub const fn is_custom(self) -> bool {
        self.0 >= 128
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BINCODE => f.write_str("bincode"),
            Self::JSON => f.write_str("json"),
            Self(number) => write!(f, "codec {number}"),
        }
    }
}

impl fmt::Debug for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodecId({}: {self})", self.0)
    }
}

/// How the bodies of one connection are encoded. Cheap to clone.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Codec {
    /// The format of `bincode` 2 in its standard configuration: compact, fastest, Rust only.
    #[default]
    Bincode,
    /// JSON: readable, larger, spoken by everyone. Feature `codecs`.
    #[cfg(feature = "codecs")]
    Json,
    /// A codec of the user's own; see [`Codec::custom`]. Feature `codecs`.
    #[cfg(feature = "codecs")]
    Custom(Arc<dyn CustomCodec>),
}

impl Codec {
    /// A codec of the user's own. Feature `codecs`.
    ///
    /// # Errors
    /// Its id is not in 128..=255.
    #[cfg(feature = "codecs")]
    pub fn custom(codec: impl CustomCodec) -> Result<Self, CodecError> {
        if codec.id().is_custom() {
            return Ok(Self::Custom(Arc::new(codec)));
        }
        Err(CodecError::encode(format_args!(
            "the codec `{}` has the id {}, but codecs of your own take one of 128..=255",
            codec.name(),
            codec.id().number()
        )))
    }

    /// The id that is negotiated.
    #[must_use]
    pub fn id(&self) -> CodecId {
        match self {
            Self::Bincode => CodecId::BINCODE,
            #[cfg(feature = "codecs")]
            Self::Json => CodecId::JSON,
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => codec.id(),
        }
    }

    /// The name people read: in errors, logs and documentation.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Bincode => "bincode",
            #[cfg(feature = "codecs")]
            Self::Json => "json",
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => codec.name(),
        }
    }

    /// Appends `value` to `out`. On failure `out` is as it was.
    ///
    /// A `Vec<u8>`, `Option<Vec<u8>>` or `Cow` of bytes is copied in one piece, under whatever name its type goes.
    ///
    /// # Errors
    /// The value has no form in this codec, or its `Serialize` fails.
    #[inline]
    pub fn encode<T: Serialize + 'static>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if let Some(encoded) = self.as_encoded(value) {
            out.extend_from_slice(encoded);
            return Ok(());
        }
        self.append(&Whole(value), out)
            .map_err(|error| error.about(std::any::type_name::<T>()))
    }

    /// The encoded form of a value, if it lies in memory as it is: an array of bytes in bincode.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "no trace of the question is left at run time"
    )]
    #[must_use]
    pub fn as_encoded<'a, T: 'static>(&self, value: &'a T) -> Option<&'a [u8]> {
        match self {
            Self::Bincode => arrays::as_bytes(value),
            #[cfg(feature = "codecs")]
            Self::Json | Self::Custom(_) => None,
        }
    }

    /// As [`encode`](Self::encode), for an item of a stream: gives what was left out of it to be sent
    /// from where it is.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what it gives is nothing for most types"
    )]
    pub fn encode_item<T: Serialize + 'static>(
        &self,
        item: &T,
        out: &mut Vec<u8>,
    ) -> Result<Parts, CodecError> {
        if !shared::can_leave_out::<T>() {
            return self.encode(item, out).map(|()| Parts::new());
        }
        let (encoded, parts) = leaving_out(|| self.encode(item, out));
        encoded.map(|()| parts)
    }

    /// Reads one value from the whole of `body`.
    ///
    /// # Errors
    /// The body is not such a value, breaks a limit, or has bytes left over.
    #[inline]
    pub fn decode<T: DeserializeOwned + 'static>(
        &self,
        body: &[u8],
        limits: &DecodeLimits,
    ) -> Result<T, CodecError> {
        if let (Self::Bincode, Some(array)) = (self, arrays::from_bytes(body)) {
            return Ok(array);
        }
        self.parse(WholeSeed::<T>::new(), body, &Budget::new(limits))
            .map_err(|error| error.about(std::any::type_name::<T>()))
    }

    /// As [`decode`](Self::decode), for an item of a stream, which is a part of `row` and may share its
    /// memory.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_item<T: DeserializeOwned + 'static>(
        &self,
        row: &Bytes,
        item: &[u8],
    ) -> Result<T, CodecError> {
        sharing(row, || {
            self.decode(item, &DecodeLimits::for_message(item.len()))
        })
    }

    /// As [`decode_item`](Self::decode_item), for the usual item: short, in the usual codec, and what it
    /// should be. `None` if it is not, and is to be decoded by that.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the value costs more than reading it"
    )]
    #[must_use]
    pub fn decode_short<T: DeserializeOwned + 'static>(&self, item: &[u8]) -> Option<T> {
        if !matches!(self, Self::Bincode) || shared::is_shared(item) {
            return None;
        }
        if arrays::is_array::<T>() {
            return arrays::from_bytes(item);
        }
        let budget = Budget::new(&DecodeLimits::default());
        bincode::decode(WholeSeed::<T>::new(), item, &budget).ok()
    }

    /// Appends the arguments of a call, a tuple of references, to `out`. On failure `out` is as it was.
    ///
    /// They are a struct with the fields `names`: in bincode one value after the other (nothing at
    /// all for a method without arguments), in JSON an object (`{}`). Without names they are a
    /// tuple: the same in bincode, an array in JSON.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); also if there are names, but not as many as arguments.
    #[inline]
    pub fn encode_arguments<A: EncodeArguments + ?Sized>(
        &self,
        names: &'static [&'static str],
        arguments: &A,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let length = out.len();
        let encoded = match self {
            Self::Bincode if names.is_empty() || names.len() == A::COUNT => {
                bincode::encode(&InOrderOut(arguments), out)
            }
            Self::Bincode => Err(CodecError::encode(format_args!(
                "{} names for {} arguments",
                names.len(),
                A::COUNT
            ))),
            #[cfg(feature = "codecs")]
            Self::Json => json::encode(&ArgumentsOut { names, arguments }, out),
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => codec.encode(&ArgumentsOut { names, arguments }, out),
        };
        encoded.map_err(|error| {
            out.truncate(length);
            error.about("the arguments")
        })
    }

    /// Reads the arguments of a call, a tuple of owned values, from the whole of `body`.
    ///
    /// A JSON object may list them in any order, and a JSON array in theirs; an argument that is
    /// missing, unknown or given twice is an error that names it, even if its type is an `Option`.
    /// Without names only an array is understood.
    /// A method without arguments also takes an empty body, whatever the codec.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); also if there are not as many names as arguments.
    #[inline]
    pub fn decode_arguments<A: DecodeArguments>(
        &self,
        names: &'static [&'static str],
        body: &[u8],
        limits: &DecodeLimits,
    ) -> Result<A, CodecError> {
        let budget = Budget::new(limits).with_free_levels(1);
        let seed = ArgumentsSeed::<A>::new(names);
        let decoded = match self {
            Self::Bincode => bincode::decode(InOrderSeed(seed), body, &budget),
            #[cfg(feature = "codecs")]
            Self::Json if names.is_empty() && body.is_empty() => json::decode(seed, b"{}", &budget),
            #[cfg(feature = "codecs")]
            Self::Json => json::decode(seed, body, &budget),
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => custom::decode(&**codec, seed, body, &budget),
        };
        decoded.map_err(|error| error.about("the arguments"))
    }

    #[inline]
    fn append<T: Serialize>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let length = out.len();
        let result = match self {
            Self::Bincode => bincode::encode(value, out),
            #[cfg(feature = "codecs")]
            Self::Json => json::encode(value, out),
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => codec.encode(value, out),
        };
        if result.is_err() {
            out.truncate(length);
        }
        result
    }

    #[inline]
    fn parse<S, T>(&self, seed: S, body: &[u8], budget: &Budget) -> Result<T, CodecError>
    where
        S: for<'de> DeserializeSeed<'de, Value = T>,
    {
        match self {
            Self::Bincode => bincode::decode(seed, body, budget),
            #[cfg(feature = "codecs")]
            Self::Json => json::decode(seed, body, budget),
            #[cfg(feature = "codecs")]
            Self::Custom(codec) => custom::decode(&**codec, seed, body, budget),
        }
    }
}
