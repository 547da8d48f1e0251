//! Always the same backend.

use super::resort::resort;
use super::{Admission, List, Pick, Picked, Picker, Policy};

/// Always the same backend: one with a given address, or the first of the list that is open.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    address: Option<Box<str>>,
}

impl Fixed {
    /// The first of the list that is open; the others stand by.
    #[must_use]
    pub const fn first() -> Self {
        Self { address: None }
    }

    /// The backend with this address and no other: there is none to pick while the list has none.
    #[must_use]
    pub fn to(address: impl Into<Box<str>>) -> Self {
        Self {
            address: Some(address.into()),
        }
    }
}

impl Policy for Fixed {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        match &self.address {
            None => Box::new(First(backends)),
            Some(address) => {
                let index = backends.iter().position(|b| b.address() == &**address);
                Box::new(Only(index))
            }
        }
    }
}

#[derive(Debug)]
struct First(List);

impl Picker for First {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let first = self.0.first()?;
        if pick.admit(first) != Admission::Closed {
            return Some(Picked::at(0));
        }
        resort(&self.0, pick, 0)
    }
}

#[derive(Debug)]
struct Only(Option<usize>);

impl Picker for Only {
    fn pick(&self, _: &Pick<'_>) -> Option<Picked> {
        self.0.map(Picked::at)
    }
}
