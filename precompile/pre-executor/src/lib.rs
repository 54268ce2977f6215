//! Who computes an answer before it is needed: scout, scheduler, workers, operators, agreement.
#![forbid(unsafe_code)]

pub mod agreement;
