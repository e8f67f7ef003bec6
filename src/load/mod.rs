//! What clients do, and when.
