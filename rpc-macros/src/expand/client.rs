//! `GreeterClient`: the trait, implemented by calls.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use super::{Names, Surroundings, descriptor_of};
use crate::ast::{Argument, Method, Service};

/// The type.
pub(crate) fn definition(names: &Names, around: &Surroundings<'_>) -> TokenStream {
    let Names {
        service,
        client,
        private,
        ..
    } = names;
    let Surroundings { cfgs, visibility } = around;
    let docs = format!(" Calls a [`{service}`] at the other end of a channel.");
    quote! {
        #(#cfgs)*
        #[doc = #docs]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #client {
            channel: #private::Channel,
        }
    }
}

/// What the type can do.
pub(super) fn implementation(service: &Service, names: &Names) -> TokenStream {
    let Names {
        service: contract,
        client,
        private,
        ..
    } = names;
    let inherent = inherent(names);
    let methods = service.methods.iter().map(|method| call(method, names));
    quote! {
        impl #client {
            /// The service: names, types as written, docs.
            pub const DESCRIPTOR: &'static #private::ServiceDescriptor = &__Methods::SERVICE;
            #inherent
        }
        impl #contract for #client {
            #(#methods)*
        }
    }
}

/// How a client comes to be and takes its options; the same for every service.
pub(crate) fn inherent(names: &Names) -> TokenStream {
    let private = &names.private;
    let text = quote!(::core::primitive::str);
    let result = quote!(::core::result::Result);
    quote! {
        /// Connects to `target`, for example `tcp://127.0.0.1:7000`.
        ///
        /// # Errors
        ///
        /// If `target` is no address or nobody answers there.
        pub async fn connect<__T: ::core::convert::AsRef<#text>>(
            target: __T,
        ) -> #result<Self, #private::Error> {
            #result::Ok(Self::new(#private::Channel::connect(target).await?))
        }

        /// Connects to `target` with the first call.
        ///
        /// # Errors
        ///
        /// If `target` is no address.
        pub fn connect_lazy<__T: ::core::convert::AsRef<#text>>(
            target: __T,
        ) -> #result<Self, #private::Error> {
            #result::Ok(Self::new(#private::Channel::connect_lazy(target)?))
        }

        /// Calls through `channel`, which other clients may share.
        #[must_use]
        pub fn new(channel: #private::Channel) -> Self {
            Self { channel }
        }

        /// The channel that carries the calls.
        #[must_use]
        pub fn channel(&self) -> &#private::Channel {
            &self.channel
        }

        /// The same client with another time limit for each call.
        #[must_use]
        pub fn with_timeout(&self, timeout: ::core::time::Duration) -> Self {
            Self::new(self.channel.with_timeout(timeout))
        }

        /// The same client with other options for each call.
        #[must_use]
        pub fn with_options(&self, options: #private::CallOptions) -> Self {
            Self::new(self.channel.with_options(options))
        }

        /// The same client with one more piece of metadata on each call.
        ///
        /// # Errors
        ///
        /// If metadata cannot have this key or value.
        pub fn with_metadata(
            &self,
            key: &#text,
            value: &#text,
        ) -> #result<Self, #private::MetadataError> {
            #result::Ok(Self::new(self.channel.with_metadata(key, value)?))
        }
    }
}

/// A call, as a future that is small: it is part of its caller's task, and callers are many.
///
/// Why not `async fn`? It keeps each argument twice, as it came and as what the body uses. For the same
/// reason a temporary is given up before the call is awaited.
fn call(method: &Method, names: &Names) -> TokenStream {
    let private = &names.private;
    let (cfgs, ident, output) = (&method.cfgs, method.ident(), &method.output);
    let descriptor = descriptor_of(method);
    let idents = method.arguments.iter().map(|argument| &argument.ident);
    let types = method.arguments.iter().map(|argument| &argument.written);
    let encoded = method.arguments.iter().map(|argument| {
        let reference = reference_to(argument);
        quote!((&#private::Argument(#reference)).wire())
    });
    let kind = format_ident!("{}", if method.oneway { "oneway" } else { "unary" });
    // The user may have arguments of these names.
    let travelling = Ident::new("encoded", Span::mixed_site());
    let call = Ident::new("call", Span::mixed_site());
    quote! {
        #(#cfgs)*
        fn #ident(
            &self,
            #(#idents: #types),*
        ) -> impl ::core::future::Future<Output = #output> + ::core::marker::Send {
            async move {
                let #travelling = (#(#encoded,)*);
                let #call = (&#private::Outgoing::<_, #output>::new(
                    &self.channel,
                    &__Methods::#descriptor,
                    &#travelling,
                ))
                .#kind();
                #call.await
            }
        }
    }
}

fn reference_to(argument: &Argument) -> TokenStream {
    let ident = &argument.ident;
    if argument.referent.is_some() {
        quote!(#ident)
    } else {
        quote!(&#ident)
    }
}
