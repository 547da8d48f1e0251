//! The codecs, from outside: what they write, what they read, and what they refuse.

mod arguments;
mod bincode;
mod bytes;
mod custom;
mod hostile;
mod limits;
mod samples;
mod values;
