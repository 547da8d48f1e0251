//! What hostile peers and failing handlers do to a server: nothing that others notice.
//!
//! Memory is counted where it is allocated, not by the size of the process: an allocation that is
//! never touched does not show there. Each test has a thread and a runtime of its own, and the
//! counts are per thread.

mod authentication;
mod bodies;
mod bytes;
mod handlers;
mod mutants;
mod raw;
mod stage;
