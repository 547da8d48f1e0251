//! The protocol between two connections, without a socket and without a clock.
//!
//! Where is the wire? In [`pair::harness`]: it carries bytes from one end to the other and cuts them
//! where the test says. The ids in brackets are those of `docs/protocol.md`.

mod pair {
    mod ahead;
    mod cancels;
    mod clock;
    mod conversation;
    mod deadlines;
    mod distance;
    mod drain;
    mod endings;
    mod floods;
    mod frames;
    mod golden;
    mod harness;
    mod idle;
    mod ids;
    mod keep_alive;
    mod opening;
    mod path;
    mod pausing;
    mod pieces;
    mod plain;
    mod progress;
    mod random;
    mod random_life;
    mod random_streams;
    mod raw;
    mod recorded;
    mod streaming;
    mod streams;
    mod unsent;
    mod windows;
}
