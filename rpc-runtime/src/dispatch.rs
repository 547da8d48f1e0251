//! From an admitted request to the answer of its handler.
//!
//! Where do answers go? To a [`Respond`]: a connection encodes them straight into its outgoing
//! buffer, an in-process channel hands them to the caller.

mod admission;
mod function;
mod in_process;
mod incoming;
mod methods;
mod responder;
mod router;
mod running;
mod shift;
mod stats;

pub(crate) use admission::Admission;
pub(crate) use function::Function;
pub use in_process::InProcess;
pub use incoming::Incoming;
pub(crate) use router::{Method, Router, RouterBuilder};
pub(crate) use running::{Apart, CallStart, Current, Running, Started};
pub(crate) use shift::{Place, Shift};
pub use stats::{Latency, MethodStats};

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rpc_core::codec::CodecError;
use rpc_core::connection::{Answered, CallId, Replies, Unended};
use rpc_core::wire::Encoded;
use rpc_core::{Codec, Metadata, ServiceDescriptor, Status};

use crate::stream::{Pump, Source};

/// A service as the router sees it; implemented by the generated `…Server` types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service by itself: what implements `Greeter` is served as `GreeterServer::new(..)`"
)]
pub trait Service: Send + Sync + 'static {
    /// Names, methods, types and docs of the service.
    fn descriptor(&self) -> &'static ServiceDescriptor;

    /// Starts the handler of the method that is asked for.
    ///
    /// Of calls of one method that arrive together, only the first need come here: the handler that it
    /// has made takes on the others, and where the macro or a function has made it, also those that
    /// arrive on the connection later. Who wants to see each of them is an
    /// [`Interceptor`](crate::Interceptor).
    fn dispatch(&self, call: Incoming<'_>);

    /// True if it makes the same handlers as long as it is there: then one that is over may take on calls
    /// that arrive later as well. It is not of a service that stands for others, whatever they say: it
    /// would not be asked again.
    #[doc(hidden)]
    fn is_constant(&self) -> bool {
        false
    }
}

/// Where the outcome of a call goes. Ends the call; of several outcomes the first counts.
pub(crate) trait Respond: Send + Sync + 'static {
    fn reply(
        &self,
        call: CallId,
        metadata: &Metadata,
        body: &mut dyn FnMut(&mut Vec<u8>) -> Result<Encoded, CodecError>,
    ) -> Answered;

    /// Sends the items behind a reply, which was answered with [`Answered::Items`]; `None` if
    /// whoever takes them needs nobody to.
    fn send_items(
        self: Arc<Self>,
        call: CallId,
        source: Box<dyn Source>,
        codec: Codec,
    ) -> Option<Pump>;

    /// All items behind a reply are on their way.
    fn end_items(&self, call: CallId) -> Answered;

    fn fail(&self, call: CallId, status: &Status) -> Answered;

    /// The request names a method that nobody here has.
    fn fail_unknown_method(&self, call: CallId, status: &Status) -> Answered;

    fn finish_oneway(&self, call: CallId);
}

/// Where the replies of calls go that are run one after the other, until all are handed over.
pub(crate) struct Collection<'a> {
    pub(crate) replies: &'a RefCell<Replies>,
    pub(crate) connection: &'a dyn Collect,
    /// Something went past those that are collected, and may fill the connection.
    pub(crate) is_passed: Cell<bool>,
}

impl Collection<'_> {
    /// From now on the call that is run, which is the last one, is answered to the connection itself,
    /// behind what was collected.
    #[cold]
    pub(crate) fn pass(&self, call: CallId) {
        if self.is_passed.replace(true) {
            // By the same call, what is left of which panicked: only the connection knows whether it is
            // answered already.
            return;
        }
        self.connection
            .collect(call, &mut self.replies.borrow_mut());
    }

    /// Goes on with a call whose reply has not ended it.
    #[cold]
    fn end_reply(&self, call: CallId, unended: Unended) -> Answered {
        self.pass(call);
        self.connection.end_reply(call, unended)
    }
}

/// A connection whose replies may be collected apart.
pub(crate) trait Collect {
    /// Takes over what was collected. The call that is run is answered to the connection itself from
    /// now on, still before its handler is left.
    fn collect(&self, call: CallId, replies: &mut Replies);

    /// Goes on with a call whose reply has not ended it.
    fn end_reply(&self, call: CallId, unended: Unended) -> Answered;
}
