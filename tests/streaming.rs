//! Streams as arguments and replies, over real connections: S3-6 and the stream rows of the
//! semantics.

mod common;

mod streaming {
    mod contract;
    mod kinds;
    mod limits;
}
