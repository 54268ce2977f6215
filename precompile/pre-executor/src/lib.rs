//! Foreblock.
