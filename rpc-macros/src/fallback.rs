//! What stands in for the code of a service that was refused.
//!
//! Why any code at all? Without it rustc would report every use of `GreeterClient` as well, and
//! the mistake would drown. The stand-ins compile where the real code would and never run.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, FnArg, Ident, ItemTrait, Pat, PatIdent, Path, ReturnType, Signature, TraitItem,
    TraitItemFn, parse_quote,
};

use crate::ast::is_unsized;
use crate::attr;
use crate::expand::contract::returning_future;
use crate::expand::{Names, Surroundings, client, server};
use crate::valid::{Errors, attributes};

/// The item as it was, and the errors.
pub(crate) fn verbatim(item: TokenStream, errors: &Errors) -> TokenStream {
    let errors = errors.tokens();
    quote!(#item #errors)
}

/// The trait as well as possible, a client and a server without calls, and the errors.
pub(crate) fn stand_ins(item: &ItemTrait, krate: &Path, errors: &Errors) -> TokenStream {
    let names = Names::new(&item.ident, krate);
    let cfgs = attr::cfgs(&item.attrs);
    let surroundings = Surroundings {
        cfgs: &cfgs,
        visibility: &item.vis,
    };
    let contract = repaired(item);
    let methods = if implementable(item) {
        methods(&contract)
    } else {
        None
    };
    let client = client(&contract, methods, &names, &surroundings);
    let server = server(&names, &surroundings);
    let errors = errors.tokens();
    quote! {
        #[allow(warnings)]
        #contract
        #client
        #server
        #(#cfgs)*
        const _: () = { #errors };
    }
}

/// The trait without what rustc would report a second time.
fn repaired(item: &ItemTrait) -> ItemTrait {
    let mut item = item.clone();
    item.attrs.retain(is_harmless);
    item.modifiers.auto_token = None;
    // `Self` in a signature is refused; that it has no size is not worth a second error.
    item.supertraits.push(parse_quote!(::core::marker::Sized));
    item.supertraits.push(parse_quote!(::core::marker::Send));
    item.supertraits.push(parse_quote!(::core::marker::Sync));
    item.supertraits.push(parse_quote!('static));
    item.colon_token.get_or_insert_default();
    let mut seen = HashSet::new();
    item.items.retain(|item| match item {
        TraitItem::Fn(function) => seen.insert(function.sig.ident.clone()),
        _ => true,
    });
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            repair(function);
        }
    }
    item
}

/// Whether rustc has nothing more to say about an attribute.
fn is_harmless(attribute: &Attribute) -> bool {
    !attr::is_ours(attribute) && !attributes::is_reported(attribute)
}

fn repair(function: &mut TraitItemFn) {
    function.attrs.retain(is_harmless);
    let is_async = function.sig.asyncness.is_some();
    function.sig = returning_future(&function.sig);
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(typed) = input {
            typed.attrs.clear();
            *typed.pat = Pat::Ident(plain(&typed.pat));
            if is_unsized(&typed.ty) {
                let ty = &typed.ty;
                *typed.ty = parse_quote!(&#ty);
            }
        }
    }
    // A body keeps implementations without this method complete.
    if let Some(body) = &mut function.default {
        *body = if is_async {
            parse_quote!({ async move { ::core::unimplemented!() } })
        } else {
            parse_quote!({ ::core::unimplemented!() })
        };
    }
}

fn plain(pattern: &Pat) -> PatIdent {
    let ident = match pattern {
        Pat::Ident(pattern) => pattern.ident.clone(),
        other => Ident::new("argument", other.span()),
    };
    PatIdent {
        attrs: Vec::new(),
        by_ref: None,
        mutability: None,
        ident,
        subpat: None,
    }
}

fn client(
    contract: &ItemTrait,
    methods: Option<Vec<TokenStream>>,
    names: &Names,
    around: &Surroundings<'_>,
) -> TokenStream {
    let definition = client::definition(names, around);
    let inherent = client::inherent(names);
    let Names {
        client,
        service,
        private,
        ..
    } = names;
    let cfgs = around.cfgs;
    let implementation = methods.map(|methods| {
        let (generics, arguments, clause) = contract.generics.split_for_impl();
        let unsafety = &contract.unsafety;
        quote! {
            #unsafety impl #generics #service #arguments for #client #clause { #(#methods)* }
        }
    });
    quote! {
        #definition
        #(#cfgs)*
        #[allow(warnings)]
        const _: () = {
            impl #client {
                pub const DESCRIPTOR: &'static #private::ServiceDescriptor =
                    &#private::ServiceDescriptor::new("", &[]);
                #inherent
            }
            #implementation
        };
    }
}

/// Whether a type without any behaviour can implement the trait.
fn implementable(item: &ItemTrait) -> bool {
    let opaque = |output: &ReturnType| {
        let text = output.to_token_stream().to_string();
        text.split_whitespace().any(|word| word == "impl")
    };
    item.supertraits.iter().all(crate::valid::fits_client)
        && !item.items.iter().any(|item| match item {
            TraitItem::Fn(function) => opaque(&function.sig.output),
            _ => false,
        })
}

/// The client's methods, unless the trait has something besides methods.
fn methods(contract: &ItemTrait) -> Option<Vec<TokenStream>> {
    let methods = contract.items.iter().map(|item| match item {
        TraitItem::Fn(function) => Some(method(function)),
        _ => None,
    });
    methods.collect()
}

fn method(function: &TraitItemFn) -> TokenStream {
    let cfgs = attr::cfgs(&function.attrs);
    let signature: &Signature = &function.sig;
    // Else they are unused, and a crate that denies this would say so.
    let arguments = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(&typed.pat),
        FnArg::Receiver(_) => None,
    });
    let used = quote!(let _ = (#(&#arguments,)*););
    let body = if matches!(&signature.output, ReturnType::Type(_, ty) if is_future(ty)) {
        quote!(#used async move { ::core::unimplemented!() })
    } else {
        quote!(#used ::core::unimplemented!())
    };
    quote_spanned!(function.sig.ident.span()=> #(#cfgs)* #signature { #body })
}

/// Whether this is the future that [`returning_future`] writes.
fn is_future(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::ImplTrait(_))
}

fn server(names: &Names, around: &Surroundings<'_>) -> TokenStream {
    let definition = server::definition(names, around);
    let inherent = server::inherent(names);
    let shared = server::shared_traits(names);
    let Names {
        server, private, ..
    } = names;
    let cfgs = around.cfgs;
    quote! {
        #definition
        #(#cfgs)*
        #[allow(warnings)]
        const _: () = {
            impl<__T> #server<__T> { #inherent }
            #shared
            impl<__T: ::core::marker::Send + ::core::marker::Sync + 'static> #private::Service
                for #server<__T>
            {
                fn descriptor(&self) -> &'static #private::ServiceDescriptor {
                    const __service: #private::ServiceDescriptor =
                        #private::ServiceDescriptor::new("", &[]);
                    &__service
                }
                fn dispatch(&self, call: #private::Incoming<'_>) {
                    call.unknown_method();
                }
            }
        };
    }
}
