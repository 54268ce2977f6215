//! What all nodes of a Foreblock chain must agree on.
