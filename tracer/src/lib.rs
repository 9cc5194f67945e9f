//! kmodtrace.
