//! Wire types shared by the eBPF programs and user space.
//!
//! Every record in the ring buffer starts with a [`wire::Header`], whose `kind` identifies the struct. All types are `repr(C)`
//! without implicit padding and consist of integers and arrays only, so any bytes of the right length are a valid value and
//! decoding needs no `unsafe`. The layouts are asserted at compile time on both sides.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod conversions;
pub mod offsets;
pub mod wire;
