//! Rows to what a data plane runs on.
