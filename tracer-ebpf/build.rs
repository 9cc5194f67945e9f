//! How the linker makes the programs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_TARGET_ARCH").is_some_and(|arch| arch == "bpf") {
        // Without this every copy of a few bytes is a call of a loop that moves one byte a turn, each of which the kernel's
        // verifier goes through.
        println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    }
}
