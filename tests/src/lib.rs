//! VM scenarios and fixtures of kmodtrace.
