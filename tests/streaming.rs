//! Streams over connections: how they live and end, what they cost. What each transport has to do
//! with them is in `tests/suite.rs`.

mod common;

mod streaming {
    mod company;
    mod contract;
    mod copies;
    mod doubles;
    mod endings;
    mod life;
    mod limits;
    mod memory;
    mod pressure;
    mod strays;
    mod watched;
}
