//! What plain calls do without: streams, and messages in pieces.
//!
//! Why is it noted that there may be some? Each turn asks, and the answer lies in five lines of the cache,
//! most of which the kernel has had since the last turn. So they are apart, and looked at only after
//! something may have been added.

use crate::StreamLimits;
use crate::connection::assembly::Assemblies;
use crate::connection::streams::StreamTable;

/// The streams of a connection, and the replies and items that arrive in pieces.
#[derive(Debug)]
pub(super) struct Extras {
    /// False only if there are none.
    may_be_any: bool,
    both: Box<(StreamTable, Assemblies)>,
}

impl Extras {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            may_be_any: false,
            both: Box::new((StreamTable::new(limits), Assemblies::default())),
        }
    }

    /// True if no call has a stream or a message in pieces.
    #[inline]
    pub(super) fn is_empty(&mut self) -> bool {
        debug_assert!(self.may_be_any || self.both.0.is_empty() && self.both.1.is_empty());
        !(self.may_be_any && self.is_any_left())
    }

    #[inline(never)]
    fn is_any_left(&mut self) -> bool {
        let (streams, assemblies) = &*self.both;
        self.may_be_any = !streams.is_empty() || !assemblies.is_empty();
        self.may_be_any
    }

    /// To be looked at, or added to.
    pub(super) fn streams(&mut self) -> &mut StreamTable {
        self.may_be_any = true;
        &mut self.both.0
    }

    /// To be looked at, or added to.
    pub(super) fn assemblies(&mut self) -> &mut Assemblies {
        self.may_be_any = true;
        &mut self.both.1
    }

    /// The messages that have begun: no other begins with what this is lent for.
    #[inline]
    pub(super) fn begun(&mut self) -> &mut Assemblies {
        &mut self.both.1
    }

    /// Nothing more is expected of a call.
    #[inline]
    pub(super) fn forget(&mut self, call: u32) {
        if !self.is_empty() {
            self.both.0.close(call);
            self.both.1.forget(call);
        }
    }

    pub(super) fn clear(&mut self) {
        self.both.0.clear();
        self.both.1.clear();
    }
}
