//! Where the frame of a call is while its handler is made and first polled.
//!
//! Why a trait? Starting a call is compiled for each of the two by itself: most calls come among others
//! whose frame is in place for all of them, and theirs is the short way.

use rpc_core::Deadline;

use super::contained;
use crate::contain::catch;
use crate::context::Frame;

/// The frame of a call, which is moved out if the handler has to wait.
pub(crate) trait Surroundings {
    /// The call came whole, and among others: nothing follows it, and its bytes are theirs.
    const IS_PLAIN: bool;

    fn deadline(&self) -> Option<Deadline>;

    /// Runs code of the user's there. A panic in it is a value, unless somebody around all of the calls
    /// catches it.
    fn run<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String>;

    /// Runs code of the user's there; a panic in it is a value.
    fn contain<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String>;

    fn take(&mut self) -> Frame;
}

/// To be put in place while the handler runs.
pub(crate) struct Apart<'a>(pub(crate) &'a mut Frame);

/// In place already: that of a call with this deadline. Whoever has put it there catches panics, once for
/// all calls that it runs.
pub(crate) struct Current(pub(crate) Option<Deadline>);

impl Surroundings for Apart<'_> {
    const IS_PLAIN: bool = false;

    #[inline]
    fn deadline(&self) -> Option<Deadline> {
        self.0.deadline()
    }

    #[inline]
    fn run<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String> {
        contained(self.0, f)
    }

    fn contain<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String> {
        contained(self.0, f)
    }

    fn take(&mut self) -> Frame {
        std::mem::take(self.0)
    }
}

impl Surroundings for Current {
    const IS_PLAIN: bool = true;

    #[inline]
    fn deadline(&self) -> Option<Deadline> {
        self.0
    }

    #[inline(always)]
    fn run<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String> {
        Ok(f())
    }

    fn contain<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String> {
        catch(f)
    }

    fn take(&mut self) -> Frame {
        Frame::take_current()
    }
}
