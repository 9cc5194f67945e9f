//! The conversions of a kernel printf format (lib/vsprintf.c), as a table that is followed byte by byte.
//!
//! An entry has the next state in its low bits, and marks a byte that takes an argument, and one that takes a string.

/// State: plain text.
pub const TEXT: u8 = 0;
/// State: between a `%` and its conversion.
const CONVERSION: u8 = 1;
/// State: behind the end.
const ENDED: u8 = 2;

/// Bit of an entry: the byte takes an argument.
pub const ARGUMENT: u32 = 2;
/// Bit of an entry: the argument is a string.
pub const STRING: u32 = 3;

/// The entry of each byte (low eight bits of the index) in each state (the two bits above).
#[must_use]
pub const fn table() -> [u8; 1024] {
    let mut table = [ENDED; 1024];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = match byte {
            0 => ENDED,
            b'%' => CONVERSION,
            _ => TEXT,
        };
        table[1 << 8 | byte as usize] = match byte {
            0 => ENDED,
            b'%' => TEXT,
            // Flags, width, precision and length.
            b'0'..=b'9' | b' ' | b'#' | b'+' | b'-' | b'.' | b'h' | b'l' | b'L' | b'z' | b'Z' | b't' | b'j' | b'q' => {
                CONVERSION
            }
            // A width or precision that is an argument itself.
            b'*' => CONVERSION | 1 << ARGUMENT,
            b's' => TEXT | 1 << ARGUMENT | 1 << STRING,
            _ => TEXT | 1 << ARGUMENT,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{ARGUMENT, STRING, TEXT, table};

    /// The string arguments of a format, by the table.
    fn strings(format: &str) -> Vec<usize> {
        let table = table();
        let (mut state, mut argument, mut strings) = (TEXT, 0, Vec::new());
        for byte in format.bytes().chain([0]).chain("%s%s".bytes()) {
            let step = table[usize::from(state) << 8 | usize::from(byte)];
            if step >> STRING & 1 == 1 {
                strings.push(argument);
            }
            argument += usize::from(step >> ARGUMENT & 1);
            state = step & 3;
        }
        strings
    }

    /// Only the arguments of `%s` are strings, wherever they stand; what follows the end of the format is not part of it.
    #[test]
    fn only_arguments_of_s_are_strings() {
        for (format, wanted) in [
            ("fs-%.*s", &[1][..]),
            ("fs-%s", &[0]),
            ("net-pf-%d-proto-%d-type-%d", &[]),
            ("nft-expr-%u-%s", &[1]),
            ("of:N%sT%sC%s", &[0, 1, 2]),
            ("%s", &[0]),
            ("%%s", &[]),
            ("%-16s%lx", &[0]),
            ("cfi_cmdset_%4.4X", &[]),
            ("%pUb-%s", &[1]),
            ("md-level-%lld%%%s", &[1]),
            ("plain", &[]),
            ("%", &[]),
        ] {
            assert_eq!(strings(format), wanted, "{format}");
        }
    }
}
