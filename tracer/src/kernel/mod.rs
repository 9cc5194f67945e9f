//! Facts about the running kernel, read from what it shows under `/proc` and `/sys`.

pub mod btf;
pub mod kallsyms;
