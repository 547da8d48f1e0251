//! The `#[service]` attribute: from an annotated trait to a typed client and a dispatcher.
//!
//! Three steps, one module each: `ast` reads the trait into a typed model, `valid` refuses
//! what cannot work (every mistake at once, at the user's tokens), `expand` writes code. After a
//! refusal `fallback` writes stand-ins, so that the user reads about the mistake and not about a
//! `GreeterClient` that does not exist.
//!
//! Why is nothing here about sockets or bytes? Whatever a function can do is done by
//! `rpc::__private`; generated code only names the user's types.

mod ast;
mod attr;
mod expand;
mod fallback;
#[cfg(test)]
mod tests;
mod valid;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use syn::{Item, ItemTrait};

use crate::ast::Service;
use crate::attr::ServiceOptions;
use crate::valid::Errors;

/// Makes a trait a service: its client, its server and the contract between them.
///
/// ```ignore
/// #[rpc::service]
/// pub trait Greeter {
///     /// Greets one person.
///     async fn hello(&self, name: String) -> rpc::Result<String>;
/// }
/// ```
///
/// The trait itself stays, with `Send + Sync + 'static` as supertraits and each `async fn` as a
/// function that returns a `Send` future; implementations still write `async fn`. Beside it stand
/// two types with the trait's visibility:
///
/// - `GreeterClient` implements the trait by calling the other end. `GreeterClient::DESCRIPTOR`
///   describes the service: names, types as written, docs.
/// - `GreeterServer<T>` takes the calls for an implementation `T` of the trait.
///
/// # What a method looks like
///
/// `async fn name(&self, ..) -> R`, where `R` is a `Result` (a call can always fail), with at most
/// twelve arguments. An argument is an owned serde type or a reference to one (`&str`, `&[T]`,
/// `&T`): a reference is encoded where it stands and is owned at the server. The standard
/// library's `Cow<'_, T>` is either of them at the client, and `Cow::Owned` at the server: its handler may
/// keep what is in it without a copy. Anything that cannot work is refused at compile time.
///
/// # Streams
///
/// An argument, the reply or both may be a `Streaming<T>`, a stream of serde values, also behind an
/// alias or inside of another type: `async fn upload(&self, parts: Streaming<Vec<u8>>) -> ..`. There
/// is one among the arguments and one in the reply at the most; errors and oneway methods have none.
///
/// # Options
///
/// On the trait:
///
/// - `#[service(name = "math.Arith")]`: the name on the wire, by default the trait's.
/// - `#[service(crate = path)]`: where the `rpc` crate is, by default `::rpc`.
///
/// On a method:
///
/// - `#[rpc(name = "..")]`: the name on the wire, by default the method's.
/// - `#[rpc(oneway)]`: nobody waits for an answer; the method returns `Result<(), _>`. The call is
///   ready once it is queued to be sent, and then cannot be given up: a server that has admitted it
///   runs the handler to its end, also if the client disconnects, until its deadline or the end of
///   the grace in which the server shuts down. A call that is lost or refused on its way is lost in
///   silence.
/// - `#[rpc(idempotent)]`: running it twice is the same as running it once.
/// - `#[rpc(timeout = "500ms")]`: the time a call may take if the caller says nothing; the units
///   are `us`, `ms`, `s`, `m`, `h`.
/// - `#[rpc(hash = "user_id")]`: calls with the same value of this argument go to the same server, if
///   the channel balances by a policy that hashes. What is hashed is the value as bincode writes it,
///   whatever the codec of the channel: all clients agree. So the argument should be written the same
///   way each time, which a `HashMap` is not. `CallOptions::with_hash_key` goes before it.
#[proc_macro_attribute]
pub fn service(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(attribute.into(), item.into()).into()
}

fn expand(attribute: TokenStream2, tokens: TokenStream2) -> TokenStream2 {
    let mut errors = Errors::default();
    let options = ServiceOptions::parse(attribute, &mut errors);
    let item: ItemTrait = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => {
            errors.add(not_a_trait(tokens.clone(), error));
            return fallback::verbatim(tokens, &errors);
        }
    };
    let service = Service::from_trait(&item, &options, &mut errors);
    if errors.is_empty() {
        expand::all(&service)
    } else {
        fallback::stand_ins(&item, &options.krate, &errors)
    }
}

/// Says what is wrong with an item that does not parse as a trait.
fn not_a_trait(tokens: TokenStream2, error: syn::Error) -> syn::Error {
    const MESSAGE: &str = "`#[service]` goes on a trait";
    let looks_like_one = tokens
        .clone()
        .into_iter()
        .any(|token| matches!(token, proc_macro2::TokenTree::Ident(word) if word == "trait"));
    match syn::parse2::<Item>(tokens.clone()) {
        Ok(item) => syn::Error::new_spanned(without_attributes(&item), MESSAGE),
        Err(_) if looks_like_one => error,
        Err(_) => syn::Error::new_spanned(tokens, MESSAGE),
    }
}

/// The token that names an item, or all of it: an error in its docs would point beside the mark.
fn without_attributes(item: &Item) -> TokenStream2 {
    use quote::ToTokens as _;
    match item {
        Item::Struct(item) => item.ident.to_token_stream(),
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Fn(item) => item.sig.ident.to_token_stream(),
        Item::Impl(item) => item.self_ty.to_token_stream(),
        Item::TraitAlias(item) => item.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}
