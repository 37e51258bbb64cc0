//! What is gathered while the server runs: how it went over time, and what was seen lately. All of it is bounded.

mod history;
mod ring;
mod sampler;
mod tunnels;
mod watch;

pub(crate) use self::{
    history::{Codes, Sample, Series},
    sampler::{Range, Sampler},
    watch::Watch,
};
