//! A typed call that takes the other way than most: there is more to be thought of, or it was lost.
//!
//! Why does nothing here know the types of the arguments? So all of it is compiled once, with this
//! crate, and not again for each method of a program.

use rpc_core::codec::{CodecError, EncodeArguments};
use rpc_core::{Codec, MethodDescriptor};

use super::call::MethodRef;
use super::slot::Answer;
use super::{Channel, Tried};
#[cfg(feature = "fleet")]
use crate::balance::hash_key;
use crate::boxed::Boxed;
#[cfg(feature = "fleet")]
use crate::contain::catch;

/// The arguments of a call, whatever their types.
pub(crate) trait Arguments: Sync {
    /// Appends all of them.
    fn encode(
        &self,
        codec: &Codec,
        names: &'static [&'static str],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError>;

    /// Appends one of them, for balancing.
    #[cfg(feature = "fleet")]
    fn encode_one(&self, index: usize, out: &mut Vec<u8>) -> Result<(), CodecError>;
}

impl<A: EncodeArguments + Sync> Arguments for A {
    fn encode(
        &self,
        codec: &Codec,
        names: &'static [&'static str],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        codec.encode_arguments(names, self, out)
    }

    #[cfg(feature = "fleet")]
    fn encode_one(&self, index: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        rpc_core::codec::encode_argument(self, index, out)
    }
}

/// Makes a call from its beginning, or from where it has come to.
pub(crate) fn general<'a>(
    channel: &'a Channel,
    method: &'static MethodDescriptor,
    arguments: &'a dyn Arguments,
    tried: Option<Tried>,
) -> Boxed<'a, Answer> {
    Box::pin(async move {
        match tried {
            None => exchange(channel, method, false, arguments).await,
            Some(tried) => {
                let (codec, names) = (channel.codec(), method.argument_names);
                let encode = move |out: &mut Vec<u8>| arguments.encode(codec, names, out);
                let call = called(channel, method, arguments);
                channel.exchange_again(call, &encode, tried).await
            }
        }
    })
}

/// Sends a request and waits for its answer; oneway, for the request to be queued.
pub(crate) async fn exchange(
    channel: &Channel,
    method: &'static MethodDescriptor,
    oneway: bool,
    arguments: &dyn Arguments,
) -> Answer {
    let (codec, names) = (channel.codec(), method.argument_names);
    let encode = move |out: &mut Vec<u8>| arguments.encode(codec, names, out);
    let call = called(channel, method, arguments);
    channel.exchange(call, oneway, &encode).await
}

/// What is called, and by what balancing hashes the call.
#[cfg_attr(
    not(feature = "fleet"),
    allow(unused_variables, reason = "nothing is balanced")
)]
fn called(
    channel: &Channel,
    method: &'static MethodDescriptor,
    arguments: &dyn Arguments,
) -> MethodRef<'static> {
    let call = MethodRef::from(method);
    #[cfg(feature = "fleet")]
    let call = match method.hash_argument {
        Some(index) if channel.balances() => call.with_key(key_of(arguments, index)),
        _ => call,
    };
    call
}

/// The key of a call by one of its arguments. `None` if that cannot be encoded: then the call fails,
/// and where does not matter.
#[cfg(feature = "fleet")]
fn key_of(arguments: &dyn Arguments, index: usize) -> Option<u64> {
    let mut bytes = Vec::new();
    let encoded = catch(|| arguments.encode_one(index, &mut bytes));
    encoded.ok()?.ok()?;
    Some(hash_key(&bytes))
}
