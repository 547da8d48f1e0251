//! The limits that both sides share, as shipped; the builders of the runtime set others.

use std::time::Duration;

/// The longest message, in bytes of its encoded arguments or reply: 4 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// What metadata, error text and lengths may add to a message in a frame: 16 KiB. Fixed.
pub const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// How many calls may be in flight on one connection: 1,024.
pub const CALLS_PER_CONNECTION_MAX: u32 = 1024;

/// How long a connection may be without calls before its server closes it: 5 minutes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long the opening of a connection may take: 5 seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
