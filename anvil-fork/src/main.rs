//! Foreblock devnet.
fn main() {}
