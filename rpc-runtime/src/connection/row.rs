//! Who writes what nobody waits for, a oneway call or some items: whoever appends it, or the driver with what
//! follows.
//!
//! Its producer goes on at once, often with the next one. To write each by itself is a system call each; to
//! leave each to the driver wakes a task, and a program that ends right after its last words may not have
//! said them. So what comes one by one is written by whoever appends it, and a row by the driver.

/// What became of the last few on a connection.
#[derive(Debug)]
pub(super) struct Row {
    /// So many more are written by whoever appends them before one is left to the driver.
    lone_left: u16,
    /// So many after that one, if none joins it.
    lone_next: u16,
    /// Some have joined the one that was left to the driver.
    joined: bool,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            lone_left: Self::LONE_MIN,
            lone_next: Self::LONE_MIN,
            joined: false,
        }
    }
}

impl Row {
    /// As many are written by themselves before it is seen whether they come in a row; twice as many each
    /// time that they do not.
    const LONE_MIN: u16 = 16;
    const LONE_MAX: u16 = 1024;

    /// One goes with others, as somebody is about to write.
    #[inline]
    pub(super) const fn note_joined(&mut self) {
        self.joined = true;
    }

    /// True if the next is written by whoever appends it; else it is left to the driver.
    pub(super) fn is_lone(&mut self) -> bool {
        if std::mem::take(&mut self.joined) {
            self.lone_left = 0;
            self.lone_next = Self::LONE_MIN;
        }
        if let Some(left) = self.lone_left.checked_sub(1) {
            self.lone_left = left;
            return true;
        }
        self.lone_left = self.lone_next;
        self.lone_next = Self::LONE_MAX.min(2 * self.lone_next);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_one_by_one_are_hardly_ever_left_to_the_driver() {
        let mut row = Row::default();
        let left = (0..10_000).filter(|_| !row.is_lone()).count();
        assert_eq!(left, 15);
    }

    #[test]
    fn those_that_come_in_a_row_are_left_to_the_driver_until_it_ends() {
        let mut row = Row::default();
        while row.is_lone() {}
        for _ in 0..10 {
            row.note_joined();
            assert!(!row.is_lone());
        }
        assert_eq!((0..17).filter(|_| row.is_lone()).count(), 16);
    }
}
