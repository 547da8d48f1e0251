//! The first bytes of the server.

use super::{ClientConnection, ClientEvent, State};
use crate::connection::{ConnectionError, Refusal};
use crate::wire::{Ack, Verdict, read_ack};

impl<T> ClientConnection<T> {
    pub(super) fn handle_opening<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<ClientEvent<'a>>, ConnectionError> {
        let State::Opening { ack, .. } = &mut self.state else {
            *input = &[];
            return Ok(None);
        };
        let Some(ack) = read_ack(ack, input)? else {
            return Ok(None);
        };
        self.open(ack)?;
        Ok(Some(ClientEvent::Opened))
    }

    fn open(&mut self, ack: Ack) -> Result<(), ConnectionError> {
        if ack.verdict != Verdict::Accepted {
            return Err(ConnectionError::Refused(Refusal::from_ack(&ack)));
        }
        let chosen = (ack.version, ack.codec, ack.compression);
        if chosen != (crate::wire::VERSION, self.config.codec, 0) {
            return Err(ConnectionError::Violation(
                "an ack with another version, codec or compression than offered",
            ));
        }
        if ack.calls_max == 0 {
            return Err(ConnectionError::Violation(
                "an ack that allows no call on the connection",
            ));
        }
        self.calls_max = ack.calls_max as usize;
        self.request_bytes_max = ack.message_bytes_max as usize;
        self.extras
            .streams()
            .set_peer_limits(ack.stream_limits, ack.message_bytes_max);
        self.outgoing.begin_reports(ack.reports);
        self.state = State::Open(Box::new(ack));
        Ok(())
    }
}
