//! Names on the wire: their form, and that no two methods share one or share an id.

use proc_macro2::Span;
use syn::{Attribute, LitStr};

use super::Errors;
use crate::ast::{Argument, Method};

/// Two methods that cannot be told apart, each behind a `cfg`: an error only if both are there.
pub(crate) struct Clash {
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) span: Span,
    pub(crate) message: String,
}

/// Checks `name = ".."` of a service: words joined by dots.
pub(crate) fn check_service(name: &LitStr, errors: &mut Errors) {
    let value = name.value();
    if value.split('.').any(|word| !is_word(word)) {
        errors.push(
            name.span(),
            "the name of a service is one or more words joined by dots, for example \"math.Arith\"; \
             no white space, no `/`",
        );
    }
}

/// Checks `name = ".."` of a method: one word, because a path splits at its last dot.
pub(crate) fn check_method(name: &LitStr, errors: &mut Errors) {
    let value = name.value();
    if !is_word(&value) || value.contains('.') {
        errors.push(
            name.span(),
            "the name of a method is one word; no white space, no `.`, no `/`",
        );
    }
}

/// The place of the argument that `hash = ".."` names.
pub(crate) fn find_argument(
    hash: &LitStr,
    arguments: &[Argument],
    errors: &mut Errors,
) -> Option<usize> {
    let name = hash.value();
    let found = arguments.iter().position(|known| known.name() == name);
    if found.is_none() {
        let known = arguments.iter().map(|known| format!("`{}`", known.name()));
        let known = match known.collect::<Vec<_>>() {
            known if known.is_empty() => "it has none".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        errors.push(
            hash.span(),
            format!("`{name}` is no argument of this method: {known}"),
        );
    }
    found
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
}

/// Reports methods with the same name or the same id; returns the pairs that `cfg` may separate.
pub(crate) fn check_unique(service: &str, methods: &[Method], errors: &mut Errors) -> Vec<Clash> {
    let mut clashes = Vec::new();
    for (index, later) in methods.iter().enumerate() {
        let Some((earlier, message)) = methods[..index]
            .iter()
            .find_map(|earlier| Some((earlier, clash(service, earlier, later)?)))
        else {
            continue;
        };
        if earlier.cfgs.is_empty() || later.cfgs.is_empty() {
            errors.push(later.name_span, message);
            continue;
        }
        clashes.push(Clash {
            cfgs: [earlier.cfgs.as_slice(), &later.cfgs].concat(),
            span: later.name_span,
            message,
        });
    }
    clashes
}

fn clash(service: &str, earlier: &Method, later: &Method) -> Option<String> {
    if earlier.name == later.name {
        return Some(format!(
            "two methods of `{service}` are named `{}` on the wire: rename one, or give it \
             `#[rpc(name = \"..\")]`",
            later.name
        ));
    }
    let id = method_id(service, &later.name);
    (method_id(service, &earlier.name) == id).then(|| {
        format!(
            "`{}` and `{}` have the same id {id:#010x} on the wire: give one of them another \
             `#[rpc(name = \"..\")]`",
            earlier.name, later.name
        )
    })
}

/// The same as `rpc_core::MethodId::of`, which is no dependency of a macro.
pub(crate) fn method_id(service: &str, method: &str) -> u32 {
    let path = [service.as_bytes(), b".", method.as_bytes()].concat();
    path.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_core() {
        for (service, method) in [
            ("", ""),
            ("Greeter", "hello"),
            ("pkg.v1.Arith", "add"),
            ("Größe", "messen"),
        ] {
            assert_eq!(
                method_id(service, method),
                rpc_core::MethodId::of(service, method).number(),
                "{service}.{method}"
            );
        }
    }
}
