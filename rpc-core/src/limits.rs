//! The limits shipped; every one of them can be configured where it applies.

use std::time::Duration;

/// The longest message, in bytes of its encoded arguments or reply: 4 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// What metadata, error text and lengths may add to a message in a frame: 16 KiB.
pub const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// How many calls may be in flight on one connection.
pub const CALLS_PER_CONNECTION_MAX: u32 = 1024;

/// How long a connection may be without calls before its server closes it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long the opening of a connection may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
