//! Letters of a module's taint flags, as in `/sys/module/<name>/taint`.

/// Bit and letter of each flag that a module can carry: `taint_flags` in kernel/panic.c, 5.10 to 7.3.
const FLAGS: &[(u32, char)] = &[
    (0, 'P'),  // proprietary
    (1, 'F'),  // forced
    (10, 'C'), // staging
    (12, 'O'), // built out of the kernel's tree
    (13, 'E'), // unsigned
    (15, 'K'), // live patch
    (16, 'X'), // auxiliary, for distributions
    (17, 'T'), // built with randomised structs
    (18, 'N'), // in-kernel test
    (19, 'J'), // fwctl
];

/// Higher bits are of kernels newer than this table.
const KNOWN_BITS: u32 = 20;

/// The letters of `module.taints`, in the kernel's order; empty if there is none. A bit of a newer kernel becomes `?`.
#[must_use]
pub fn letters(taints: u64) -> String {
    let known = FLAGS.iter().filter(|(bit, _)| taints >> bit & 1 == 1).map(|(_, letter)| *letter);
    let unknown = (taints >> KNOWN_BITS != 0).then_some('?');
    known.chain(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::letters;

    /// Letters are in the kernel's order; flags that only the kernel itself can have are not shown.
    #[test]
    fn module_flags_are_in_kernel_order() {
        assert_eq!(letters(0), "");
        assert_eq!(letters(1 << 12 | 1 << 13), "OE");
        assert_eq!(letters(1 << 13 | 1 << 12 | 1), "POE");
        assert_eq!(letters(1 << 9), "", "W is the kernel's, not a module's");
        assert_eq!(letters(1 << 10 | 1 << 40), "C?");
    }
}
