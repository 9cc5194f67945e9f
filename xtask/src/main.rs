//! `cargo xtask <verb>`: everything the project does to itself.

fn main() {}
