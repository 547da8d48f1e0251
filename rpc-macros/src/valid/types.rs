//! Refusals of what is written inside an argument's or a reply's type.
//!
//! Only what can be told from the spelling: borrowed, `impl`, `Self`, inferred. The rest is for
//! the type checker.

use syn::{Lifetime, Path, Type};

use super::Errors;
use super::parts::{Part, walk};

/// Where a type stands.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Argument,
    Reply,
}

pub(super) fn check(ty: &Type, place: Place, errors: &mut Errors) {
    walk(ty, &mut |part| match part {
        Part::Type(ty) => check_type(ty, place, errors),
        Part::Path(path) => check_path(path, errors),
        Part::Lifetime(lifetime) => check_lifetime(lifetime, errors),
    });
}

/// False if it is refused, whatever stands inside of it.
fn check_type(ty: &Type, place: Place, errors: &mut Errors) -> bool {
    let message = match (ty, place) {
        (Type::Reference(_), Place::Argument) => {
            "a reference inside an argument's type cannot be decoded at the other end: \
             use an owned type, such as `String` for `&str`"
        }
        (Type::Reference(_), Place::Reply) => {
            "a reply is owned by the caller: use an owned type, such as `String` for `&str`"
        }
        (Type::ImplTrait(_), _) => "`impl Trait` cannot travel: the other end must know the type",
        (Type::TraitObject(_), _) => "`dyn Trait` cannot travel: the other end must know the type",
        (Type::Infer(_), _) => "the type must be written out: it is part of the contract",
        _ => return true,
    };
    errors.push_at(ty, message);
    false
}

fn check_path(path: &Path, errors: &mut Errors) -> bool {
    if let Some(first) = path.segments.first()
        && first.ident == "Self"
    {
        errors.push(
            first.ident.span(),
            "`Self` cannot travel: it is another type at each end",
        );
    }
    true
}

fn check_lifetime(lifetime: &Lifetime, errors: &mut Errors) -> bool {
    if lifetime.ident != "static" {
        errors.push(
            lifetime.span(),
            "a type that travels cannot borrow: only `'static` may stand here, \
             and `'_` in an argument that is a `Cow<'_, T>`",
        );
    }
    true
}
