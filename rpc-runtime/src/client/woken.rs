//! Whom a read wakes, and the wakers that their next calls find.
//!
//! Why keep them? A waker is counted: to clone it with each call, and to use it up, is two locked
//! operations on the task. A caller whose call was answered soon makes another, and gets the letterbox
//! that it has just emptied; there it finds its waker.
//!
//! Wakers keep the memory of tasks alive, also of those that are over. So there is a limit to how many
//! are kept, and none is once no call is open.

use std::task::Waker;

/// Tasks to wake once the lock is released; empty between reads, kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// Callers whose call has the letterbox with this index.
    callers: Vec<(u32, Waker)>,
    pub(super) others: Vec<Waker>,
    /// Those that were woken and that nobody keeps; to be dropped without the lock.
    done: Vec<Waker>,
}

impl Woken {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.callers.len() + self.others.len()
    }

    #[inline]
    pub(super) fn push_caller(&mut self, index: u32, caller: Waker) {
        self.callers.push((index, caller));
    }

    /// Wakes all of them.
    #[inline(never)]
    pub(super) fn wake(&mut self) {
        match self.len() {
            0 => {}
            1 => self.wake_one(),
            _ => self.wake_many(),
        }
    }

    fn wake_one(&mut self) {
        let caller = self.callers.pop().map(|(_, caller)| caller);
        if let Some(one) = caller.or_else(|| self.others.pop()) {
            one.wake();
        }
    }

    fn wake_many(&mut self) {
        let callers = self.callers.drain(..).map(|(_, caller)| caller);
        callers.chain(self.others.drain(..)).for_each(Waker::wake);
    }

    /// Wakes all of them; the callers are still there, to be [kept](Spares::keep).
    pub(super) fn wake_by_ref(&mut self) {
        for (_, caller) in &self.callers {
            caller.wake_by_ref();
        }
        if !self.others.is_empty() {
            self.wake_others();
        }
    }

    #[cold]
    fn wake_others(&mut self) {
        self.others.drain(..).for_each(Waker::wake);
    }

    #[cold]
    fn push_done(&mut self, waker: Waker) {
        self.done.push(waker);
    }

    /// Forgets those who are done.
    #[inline]
    pub(super) fn clear(&mut self) {
        if !self.done.is_empty() {
            self.clear_done();
        }
    }

    #[cold]
    fn clear_done(&mut self) {
        self.done.clear();
    }
}

/// Wakers of callers that were answered, by the letterboxes that their calls had.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<Option<Waker>>);

impl Spares {
    /// Letterboxes behind these keep none.
    const LETTERBOXES_MAX: usize = 1024;

    /// Keeps the callers that were woken. Those whom nobody came for are done.
    pub(super) fn keep(&mut self, woken: &mut Woken) {
        while let Some((index, caller)) = woken.callers.pop() {
            let index = index as usize;
            let gone = match self.0.get_mut(index) {
                Some(place) => place.replace(caller),
                None => self.keep_behind(index, caller),
            };
            if let Some(gone) = gone {
                woken.push_done(gone);
            }
        }
    }

    /// Keeps a caller that there is no place for yet; gives it back if there is to be none.
    #[cold]
    fn keep_behind(&mut self, index: usize, caller: Waker) -> Option<Waker> {
        if index >= Self::LETTERBOXES_MAX {
            return Some(caller);
        }
        self.0.resize_with(index, || None);
        self.0.push(Some(caller));
        None
    }

    /// The waker of a caller, for a call with this letterbox.
    #[inline]
    pub(super) fn take(&mut self, index: u32, caller: &Waker) -> Waker {
        let place = self.0.get_mut(index as usize);
        let kept = place.and_then(|place| place.take_if(|kept| kept.will_wake(caller)));
        kept.unwrap_or_else(|| caller.clone())
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, to be dropped without the lock.
    pub(super) fn take_all(&mut self) -> Vec<Option<Waker>> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn waker() -> (Arc<Task>, Waker) {
        let task = Arc::new(Task);
        (task.clone(), task.into())
    }

    #[test]
    fn a_caller_finds_its_own_waker_and_nobody_elses() {
        let ((task, caller), (_, other)) = (waker(), waker());
        let mut woken = Woken::default();
        woken.push_caller(3, caller.clone());
        woken.wake_by_ref();
        let mut spares = Spares::default();
        spares.keep(&mut woken);
        woken.clear();
        assert!(spares.take(3, &other).will_wake(&other));
        let held = Arc::strong_count(&task);
        let found = spares.take(3, &caller);
        assert!(found.will_wake(&caller));
        assert_eq!(Arc::strong_count(&task), held, "it was not cloned");
        assert!(spares.take(3, &caller).will_wake(&caller));
    }

    #[test]
    fn wakers_that_nobody_came_for_are_let_go() {
        let ((task, caller), (newer, other)) = (waker(), waker());
        let (mut woken, mut spares) = (Woken::default(), Spares::default());
        for (index, waker) in [
            (0, caller),
            (0, other),
            (Spares::LETTERBOXES_MAX as u32, newer.clone().into()),
        ] {
            woken.push_caller(index, waker);
            spares.keep(&mut woken);
            woken.clear();
        }
        assert_eq!(Arc::strong_count(&task), 1);
        assert_eq!(Arc::strong_count(&newer), 2, "only the one in slot 0");
        drop(spares.take_all());
        assert!(spares.is_empty());
        assert_eq!(Arc::strong_count(&newer), 1);
    }
}
