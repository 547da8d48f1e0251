//! The service as data, in constants.
//!
//! Why constants of a type? A constant beside the functions would capture an argument of its name.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

use super::{Names, descriptor_of, id_of};
use crate::ast::{self, Method, Service};

/// `__Methods`: the service, and for each method its descriptor and its id.
pub(super) fn tokens(service: &Service, names: &Names) -> TokenStream {
    let private = &names.private;
    let (name, docs) = (&service.name, &service.docs);
    let methods = service.methods.iter().map(|method| {
        let cfgs = &method.cfgs;
        let (id, descriptor) = (id_of(method), descriptor_of(method));
        let value = value(&service.name, method, names);
        quote! {
            #(#cfgs)*
            const #descriptor: #private::MethodDescriptor = #value;
            #(#cfgs)*
            const #id: #private::MethodId = Self::#descriptor.id;
        }
    });
    let elements = service.methods.iter().map(|method| {
        let (cfgs, descriptor) = (&method.cfgs, descriptor_of(method));
        quote!(#(#cfgs)* Self::#descriptor)
    });
    quote! {
        enum __Methods {}
        impl __Methods {
            #(#methods)*
            const ALL: &'static [#private::MethodDescriptor] = &[#(#elements),*];
            const SERVICE: #private::ServiceDescriptor =
                #private::ServiceDescriptor::new(#name, Self::ALL).with_docs(#docs);
        }
    }
}

fn value(service: &str, method: &Method, names: &Names) -> TokenStream {
    let private = &names.private;
    let (name, docs) = (&method.name, &method.docs);
    let argument_names = method.arguments.iter().map(ast::Argument::name);
    let argument_types = method
        .arguments
        .iter()
        .map(|argument| ast::text_of(&argument.written));
    let reply = ast::text_of(&method.output);
    let oneway = method.oneway.then(|| quote!(.with_oneway()));
    let idempotent = method.idempotent.then(|| quote!(.with_idempotent()));
    let timeout = method.timeout.map(timeout);
    let hash = method
        .hash_argument
        .map(|index| quote!(.with_hash_argument(#index)));
    quote! {
        #private::MethodDescriptor::new(#service, #name)
            .with_docs(#docs)
            .with_arguments(&[#(#argument_names),*], &[#(#argument_types),*])
            .with_reply(#reply)
            #oneway
            #idempotent
            #timeout
            #hash
    }
}

fn timeout(timeout: Duration) -> TokenStream {
    let (seconds, nanos) = (timeout.as_secs(), timeout.subsec_nanos());
    quote!(.with_timeout(::core::time::Duration::new(#seconds, #nanos)))
}
