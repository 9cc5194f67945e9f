//! Wire types shared by the eBPF programs and user space.
//!
//! Every record in the ring buffer starts with a [`wire::Header`]; its `kind` says which
//! struct it is. All types are `repr(C)` without implicit padding and are made of integers and
//! arrays only, so any bytes of the right length are a valid value: decoding needs no `unsafe`. The layouts are asserted at compile time on both sides.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod conversions;
pub mod offsets;
pub mod wire;
