//! Bodies that nobody should write.
