//! Exact groups.
