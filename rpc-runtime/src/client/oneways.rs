//! Who writes a oneway call: its caller, or the driver with those that follow.
//!
//! Nobody waits for it, so its caller goes on at once, often with the next one. To write each by itself is a
//! system call each; to leave each to the driver wakes a task, and a program that ends right after its last
//! words may not have said them. So they are written by their callers as long as they come one by one.

/// What became of the last oneway calls of a connection.
#[derive(Debug)]
pub(super) struct Oneways {
    /// So many more are written by their callers before one is left to the driver.
    lone_left: u8,
    /// Some have joined the one that was left to the driver.
    joined: bool,
}

impl Default for Oneways {
    fn default() -> Self {
        Self {
            lone_left: Self::LONE_MAX,
            joined: false,
        }
    }
}

impl Oneways {
    /// As many are written by their callers before it is seen whether they come in a row.
    const LONE_MAX: u8 = 16;

    /// A call goes with others, as somebody is about to write.
    #[inline]
    pub(super) const fn note_joined(&mut self) {
        self.joined = true;
    }

    /// True if the caller of the next call writes it; else it is left to the driver.
    pub(super) fn is_lone(&mut self) -> bool {
        if std::mem::take(&mut self.joined) {
            // Of a row, one is written at once, so that the server is at work while there are more.
            self.lone_left = 1;
        }
        if let Some(left) = self.lone_left.checked_sub(1) {
            self.lone_left = left;
            return true;
        }
        self.lone_left = Self::LONE_MAX;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_one_by_one_are_mostly_written_by_their_callers() {
        let mut oneways = Oneways::default();
        let lone = (0..1700).filter(|_| oneways.is_lone()).count();
        assert_eq!(lone, 1600);
    }

    #[test]
    fn of_a_row_one_is_written_by_its_caller_and_the_others_together() {
        let mut oneways = Oneways::default();
        while oneways.is_lone() {}
        for _ in 0..10 {
            oneways.note_joined();
            assert!(oneways.is_lone() && !oneways.is_lone());
        }
        // The row has ended.
        assert_eq!((0..17).filter(|_| oneways.is_lone()).count(), 16);
    }
}
