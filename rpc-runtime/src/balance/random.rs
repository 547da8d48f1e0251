//! Any backend, by weight.

use super::alias::Draw;
use super::resort::resort_to_any;
use super::{Admission, List, Pick, Picked, Picker, Policy, TRIES};

/// Any backend, by weight.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Random;

impl Policy for Random {
    fn picker(&self, backends: List, _seed: u64) -> Box<dyn Picker> {
        let draw = Draw::new(&backends);
        Box::new(Drawing {
            list: backends,
            draw,
        })
    }
}

#[derive(Debug)]
struct Drawing {
    list: List,
    draw: Draw,
}

impl Picker for Drawing {
    fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        if self.list.is_empty() {
            return None;
        }
        let mut dice = pick.dice();
        for _ in 0..TRIES {
            let index = self.draw.index(&mut dice);
            if pick.admit(&self.list[index]) != Admission::Closed {
                return Some(Picked::at(index));
            }
        }
        resort_to_any(&self.list, pick, dice)
    }
}
