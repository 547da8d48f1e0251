//! What to pick when those that were considered are closed or tried already.

use super::{Admission, Backend, Dice, List, Pick, Picked};

/// Looks at all backends and gives any of those that are fit, or else the one that is least unfit.
#[cold]
pub(super) fn resort_to_any(list: &List, pick: &Pick<'_>, mut dice: Dice) -> Option<Picked> {
    let panic = is_panic(list);
    let places = 0..list.len();
    let mut fit = places.filter(|index| unfitness(&list[*index], pick, panic) == 0);
    // Not the first behind a random place: whoever stands behind many closed ones would get more.
    let start = fit.clone().count();
    let start = fit.nth(dice.below(start));
    resort(list, pick, start.unwrap_or_else(|| dice.below(list.len())))
}

/// Looks at all backends, beginning at `start`: the first that is fit, or else the one that is least
/// unfit.
#[cold]
pub(super) fn resort(list: &List, pick: &Pick<'_>, start: usize) -> Option<Picked> {
    let panic = is_panic(list);
    let places = (start..list.len()).chain(0..start.min(list.len()));
    let mut best = None;
    for index in places {
        let backend = &*list[index];
        let rank = unfitness(backend, pick, panic);
        if rank == 0 || pick.admit(backend) != Admission::Closed {
            return Some(Picked::at(index));
        }
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, index));
        }
    }
    best.map(|(_, index)| Picked::last_resort(index))
}

/// True if most are ejected. Then ejection is ignored: it is not they who are ill, and those that are
/// left would be overrun. (Envoy calls this panic mode; Finagle's P2C has the same, over its five
/// tries.)
fn is_panic(list: &List) -> bool {
    let ejected = list.iter().filter(|backend| backend.is_ejected()).count();
    ejected * 2 > list.len()
}

/// 0 if nothing is wrong with it. An unreachable one is worse than one that was tried and may answer
/// the next time.
fn unfitness(backend: &Backend, pick: &Pick<'_>, panic: bool) -> u8 {
    let tried = u8::from(pick.was_tried(backend));
    let ejected = u8::from(backend.is_ejected() && !panic);
    let unreachable = u8::from(backend.is_unreachable());
    tried + 2 * ejected + 4 * unreachable
}
