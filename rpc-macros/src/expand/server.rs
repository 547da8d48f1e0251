//! `GreeterServer<T>`: from a method id to a call of the user's implementation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::contract::owned_type;
use super::{Names, Surroundings, descriptor_of, id_of};
use crate::ast::{Method, Service};

/// The type.
pub(crate) fn definition(names: &Names, around: &Surroundings<'_>) -> TokenStream {
    let Names {
        service, server, ..
    } = names;
    let Surroundings { cfgs, visibility } = around;
    let docs = format!(" Takes the calls of a [`{service}`] for an implementation of it.");
    quote! {
        #(#cfgs)*
        #[doc = #docs]
        #visibility struct #server<__T> {
            service: ::std::sync::Arc<__T>,
        }
    }
}

/// What the type can do.
pub(super) fn implementation(service: &Service, names: &Names) -> TokenStream {
    let Names {
        service: contract,
        server,
        private,
        ..
    } = names;
    let inherent = inherent(names);
    let arms = service.methods.iter().map(|method| arm(method, names));
    quote! {
        impl<__T: #contract> #server<__T> {
            #inherent
        }
        impl<__T: #contract> #private::Service for #server<__T> {
            fn descriptor(&self) -> &'static #private::ServiceDescriptor {
                &__Methods::SERVICE
            }
            fn dispatch(&self, call: #private::Incoming<'_>) {
                match call.method_id() {
                    #(#arms)*
                    _ => call.unknown_method(),
                }
            }
            fn is_constant(&self) -> bool {
                true
            }
        }
    }
    .into_iter()
    .chain(shared_traits(names))
    .collect()
}

/// How a server comes to be; the same for every service.
pub(crate) fn inherent(_names: &Names) -> TokenStream {
    quote! {
        /// Serves `service`.
        #[must_use]
        pub fn new(service: __T) -> Self {
            Self::from_arc(::std::sync::Arc::new(service))
        }

        /// Serves a `service` that others hold as well.
        #[must_use]
        pub fn from_arc(service: ::std::sync::Arc<__T>) -> Self {
            Self { service }
        }
    }
}

/// `Clone` and `Debug`, which ask nothing of the implementation.
pub(crate) fn shared_traits(names: &Names) -> TokenStream {
    let server = &names.server;
    let name = server.to_string();
    quote! {
        impl<__T> ::core::clone::Clone for #server<__T> {
            fn clone(&self) -> Self {
                Self { service: ::std::sync::Arc::clone(&self.service) }
            }
        }
        impl<__T> ::core::fmt::Debug for #server<__T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

fn arm(method: &Method, names: &Names) -> TokenStream {
    let Names {
        service: contract,
        private,
        ..
    } = names;
    let (cfgs, ident, output) = (&method.cfgs, method.ident(), &method.output);
    let (id, descriptor) = (id_of(method), descriptor_of(method));
    // The user may have an argument of this name.
    let service = Ident::new("service", Span::mixed_site());
    let outcome = Ident::new("outcome", Span::mixed_site());
    let idents = method.arguments.iter().map(|argument| &argument.ident);
    let owned = method
        .arguments
        .iter()
        .map(|argument| owned_type(argument, names));
    let passed = method.arguments.iter().map(|argument| {
        let ident = &argument.ident;
        let ampersand = argument.referent.as_ref().map(|_| quote!(&));
        quote!(#ampersand #ident)
    });
    quote! {
        #(#cfgs)*
        __Methods::#id => (&#private::Handler::<(#(#owned,)*), #output>::NEW).run(
            call,
            &__Methods::#descriptor,
            (&#private::CodeOf::<#output>::NEW).code(),
            &self.service,
            |#service: ::std::sync::Arc<__T>, (#(#idents,)*)| async move {
                let #outcome = <__T as #contract>::#ident(&#service, #(#passed),*).await;
                (#outcome, #service)
            },
        ),
    }
}
