//! What to pick when those that were considered are closed or tried already.

use super::{Admission, Backend, List, Pick, Picked};

/// Looks at all backends, beginning at `start`: the first that is admitted, or else the one that is
/// least unfit.
///
/// If most of them are ejected, ejection is ignored: then it is not they who are ill, and those that
/// are left would be overrun (Envoy calls this panic mode; Finagle's P2C has the same, over its five
/// tries).
#[cold]
pub(super) fn resort(list: &List, pick: &Pick<'_>, start: usize) -> Option<Picked> {
    let ejected = list.iter().filter(|backend| backend.is_ejected()).count();
    let panic = ejected * 2 > list.len();
    let places = (start..list.len()).chain(0..start.min(list.len()));
    let mut best = None;
    for index in places {
        let backend = &*list[index];
        if pick.admit(backend) != Admission::Closed {
            return Some(Picked::at(index));
        }
        let rank = unfitness(backend, pick, panic);
        if rank == 0 {
            return Some(Picked::at(index));
        }
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, index));
        }
    }
    best.map(|(_, index)| Picked::last_resort(index))
}

/// 0 if nothing is wrong with it. An unreachable one is worse than one that was tried and may answer
/// the next time.
fn unfitness(backend: &Backend, pick: &Pick<'_>, panic: bool) -> u8 {
    let tried = u8::from(pick.was_tried(backend));
    let ejected = u8::from(backend.is_ejected() && !panic);
    let unreachable = u8::from(backend.is_unreachable());
    tried + 2 * ejected + 4 * unreachable
}
