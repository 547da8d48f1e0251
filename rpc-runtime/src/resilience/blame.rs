//! Which failures speak against the server.

use rpc_core::Code;

/// True if a call that failed so speaks against the server that failed it: it is unreachable, too
/// busy, too slow or broken.
///
/// Not so `Unknown`, which typed errors of handlers carry unless they choose; nor what the caller is
/// to blame for, such as `InvalidArgument`. A backend is ejected, a circuit broken and a hedge
/// awaited for these codes only.
#[must_use]
pub const fn blames_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::DataLoss
    )
}
