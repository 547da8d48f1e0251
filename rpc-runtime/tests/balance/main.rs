//! Balancing: every policy, with the figures it must reach, in a fleet whose clock is a number.
//!
//! Seeds are fixed, but for the property tests: what passes once passes always.

mod every;
mod fixed;
mod fleet;
mod least_request;
mod locality;
mod names;
mod nearest;
mod p2c;
mod random;
mod reported_load;
mod ring_hash;
mod round_robin;
mod subset;
mod weighted_round_robin;
