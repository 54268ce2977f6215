//! Who computes an answer before it is needed: scout, scheduler, workers, store.
#![forbid(unsafe_code)]

pub mod agreement;
pub mod schedule;
