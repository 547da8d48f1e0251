//! Writes code for a [`Service`] in which nothing was refused.
//!
//! Every path is absolute, since the user's module may have its own `Result` or `String`. Local
//! variables that meet the user's argument names have the span of this macro, so that `service`
//! of ours is not `service` of theirs.

pub(crate) mod client;
pub(crate) mod contract;
mod descriptor;
pub(crate) mod server;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Attribute, Ident, Path, Visibility};

use crate::ast::{Method, Service};

/// The names that every part of the generated code uses.
pub(crate) struct Names {
    /// The service trait.
    pub(crate) service: Ident,
    pub(crate) client: Ident,
    pub(crate) server: Ident,
    /// `::rpc::__private`.
    pub(crate) private: TokenStream,
}

impl Names {
    pub(crate) fn new(service: &Ident, krate: &Path) -> Self {
        Self {
            service: service.clone(),
            client: format_ident!("{service}Client"),
            server: format_ident!("{service}Server"),
            private: quote!(#krate::__private),
        }
    }
}

/// What surrounds a generated type: where it exists and who sees it.
pub(crate) struct Surroundings<'a> {
    pub(crate) cfgs: &'a [Attribute],
    pub(crate) visibility: &'a Visibility,
}

/// The trait, the client, the server, and what connects them.
pub(crate) fn all(service: &Service) -> TokenStream {
    let names = Names::new(&service.ident, &service.krate);
    let surroundings = Surroundings {
        cfgs: &service.cfgs,
        visibility: &service.visibility,
    };
    let contract = contract::tokens(service);
    let assertions = contract::assertions(service, &names);
    let client_type = client::definition(&names, &surroundings);
    let client = client::implementation(service, &names);
    let server_type = server::definition(&names, &surroundings);
    let server = server::implementation(service, &names);
    let descriptor = descriptor::tokens(service, &names);
    let clashes = clashes(service);
    let (cfgs, private) = (&service.cfgs, &names.private);
    quote! {
        #contract
        #client_type
        #server_type
        #(#cfgs)*
        #[allow(warnings)]
        const _: () = {
            use #private::{
                AsBytes as _, AsValue as _, KnownCode as _, NoCode as _, Oneway as _, Run as _,
                Unary as _, Uncallable as _, UnknownCode as _, Unrunnable as _,
            };
            #assertions
            #descriptor
            #client
            #server
        };
        #clashes
    }
}

/// Errors for pairs of methods that `cfg` was expected to keep apart.
fn clashes(service: &Service) -> TokenStream {
    let outer = &service.cfgs;
    let clashes = service.clashes.iter().map(|clash| {
        let (cfgs, message) = (&clash.cfgs, &clash.message);
        quote_spanned! {clash.span=> #(#outer)* #(#cfgs)* ::core::compile_error! { #message } }
    });
    quote!(#(#clashes)*)
}

/// The constant that describes a method, in `__Methods`.
fn descriptor_of(method: &Method) -> Ident {
    format_ident!("method_{}", method.ident().unraw())
}

/// The constant that is a method's id, in `__Methods`: a pattern in the dispatcher's `match`.
fn id_of(method: &Method) -> Ident {
    format_ident!("id_{}", method.ident().unraw())
}
