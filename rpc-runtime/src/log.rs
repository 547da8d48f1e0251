//! What a process tells its operators: events of [`tracing`], or nothing without that feature.

#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, error, warn};

#[cfg(all(feature = "tracing", feature = "fleet"))]
pub(crate) use tracing::info;

/// Takes what the macros of `tracing` take, and looks at none of it.
#[cfg(not(feature = "tracing"))]
macro_rules! nothing {
    ($text:literal) => {};
    ($name:ident = $(%)? $(?)? $value:expr, $($rest:tt)*) => {
        $crate::log::nothing!($value, $($rest)*)
    };
    ($(%)? $(?)? $value:expr, $($rest:tt)*) => {
        let _ = || { let _ = &$value; };
        $crate::log::nothing!($($rest)*)
    };
}

#[cfg(not(feature = "tracing"))]
pub(crate) use {nothing, nothing as debug, nothing as error, nothing as warn};

#[cfg(all(not(feature = "tracing"), feature = "fleet"))]
pub(crate) use nothing as info;
