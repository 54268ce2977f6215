//! Foreblock devnet.
