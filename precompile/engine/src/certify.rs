//! What is measured of a model before others rely on it.

mod batching;

pub use batching::measure_batching;
