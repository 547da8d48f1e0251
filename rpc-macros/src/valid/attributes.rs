//! Refusals of attributes of which this macro and rustc would read different things.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

use super::Errors;

/// Refuses what `cfg_attr` would hide until the macro is done.
pub(super) fn check(attributes: &[Attribute], errors: &mut Errors) {
    for hidden in attributes.iter().flat_map(hidden) {
        let path = hidden.path();
        if path.is_ident("rpc") {
            errors.push_at(
                &hidden,
                "`cfg_attr` is read too late for `#[rpc(..)]`: write the method twice, each with a \
                 `#[cfg(..)]` and options of its own",
            );
        } else if path.is_ident("cfg") {
            errors.push_at(
                &hidden,
                "`cfg_attr` is read too late for `cfg`: write it as one `#[cfg(..)]`",
            );
        }
    }
}

/// Refuses on a method what belongs on its trait.
pub(super) fn check_of_method(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes.iter().filter(|attribute| is_service(attribute)) {
        errors.push_at(
            &attribute.meta,
            "`#[service(..)]` goes on the trait; options of a method go in `#[rpc(..)]`",
        );
    }
}

/// Whether rustc would report this attribute once more, or expand it.
pub(crate) fn is_reported(attribute: &Attribute) -> bool {
    is_service(attribute)
        || hidden(attribute)
            .iter()
            .any(|hidden| hidden.path().is_ident("rpc") || hidden.path().is_ident("cfg"))
}

fn is_service(attribute: &Attribute) -> bool {
    let mut names = attribute
        .path()
        .segments
        .iter()
        .map(|segment| &segment.ident);
    match (names.next(), names.next(), names.next()) {
        (Some(name), None, _) => name == "service",
        (Some(krate), Some(name), None) => krate == "rpc" && name == "service",
        _ => false,
    }
}

/// What stands behind the condition of a `cfg_attr`.
fn hidden(attribute: &Attribute) -> Vec<Meta> {
    if !attribute.path().is_ident("cfg_attr") {
        return Vec::new();
    }
    let parts = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parts.map_or_else(|_| Vec::new(), |parts| parts.into_iter().skip(1).collect())
}
