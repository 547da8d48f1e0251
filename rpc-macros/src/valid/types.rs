//! Refusals of what is written inside an argument's or a reply's type.
//!
//! Only what can be told from the spelling: borrowed, `impl`, `Self`, inferred. The rest is for
//! the type checker.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Lifetime, Path, Type, TypeImplTrait, TypeInfer, TypeReference, TypeTraitObject};

use super::Errors;

/// Where a type stands.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Argument,
    Reply,
}

pub(super) fn check(ty: &Type, place: Place, errors: &mut Errors) {
    Checker { place, errors }.visit_type(ty);
}

struct Checker<'a> {
    place: Place,
    errors: &'a mut Errors,
}

impl Visit<'_> for Checker<'_> {
    fn visit_type_reference(&mut self, reference: &TypeReference) {
        let message = match self.place {
            Place::Argument => {
                "a reference inside an argument's type cannot be decoded at the other end: \
                 use an owned type, such as `String` for `&str`"
            }
            Place::Reply => {
                "a reply is owned by the caller: use an owned type, such as `String` for `&str`"
            }
        };
        self.errors.push_at(reference, message);
    }

    fn visit_lifetime(&mut self, lifetime: &Lifetime) {
        if lifetime.ident != "static" {
            self.errors.push(
                lifetime.span(),
                "a type that travels cannot borrow: only `'static` may stand here",
            );
        }
    }

    fn visit_type_impl_trait(&mut self, ty: &TypeImplTrait) {
        self.errors.push_at(
            ty,
            "`impl Trait` cannot travel: the other end must know the type",
        );
    }

    fn visit_type_trait_object(&mut self, ty: &TypeTraitObject) {
        self.errors.push_at(
            ty,
            "`dyn Trait` cannot travel: the other end must know the type",
        );
    }

    fn visit_type_infer(&mut self, ty: &TypeInfer) {
        self.errors.push(
            ty.span(),
            "the type must be written out: it is part of the contract",
        );
    }

    fn visit_path(&mut self, path: &Path) {
        if let Some(first) = path.segments.first()
            && first.ident == "Self"
        {
            self.errors.push(
                first.ident.span(),
                "`Self` cannot travel: it is another type at each end",
            );
        }
        visit::visit_path(self, path);
    }
}
