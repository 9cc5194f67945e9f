//! The `kmodtrace` command.
fn main() {}
