//! The kernel's printf for module names, for requests that end before the kernel has formatted the name.
//!
//! Supports the conversions that callers of `request_module()` use (5.10 to 7.3): `%s` with width and precision, `%d %i %u
//! %x %X %c` with length and width, `%%`.

use tracer_ebpf::wire::Entered;

use crate::event::Text;

/// The bytes before the first NUL.
fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// A conversion's flags, width and precision.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    long: bool,
}

/// Formats the name. `None` if the format needs more values than were captured, or uses an unsupported conversion: no name
/// is better than a wrong one.
pub(super) fn format_name(entered: &Entered) -> Option<Text> {
    let mut values = entered.values.iter().zip(&entered.texts);
    let mut out = Vec::new();
    let mut rest = until_nul(&entered.format).iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut spec = Spec::default();
        loop {
            match rest.next()? {
                b'%' => out.push(b'%'),
                b'-' => {
                    spec.left = true;
                    continue;
                }
                b'0' if spec.width.is_none() => {
                    spec.zero = true;
                    continue;
                }
                digit @ b'0'..=b'9' => {
                    let width = spec.width.unwrap_or(0) * 10 + usize::from(digit - b'0');
                    spec.width = Some(width.min(256));
                    continue;
                }
                b'.' => {
                    let mut precision = 0;
                    if rest.peek() == Some(&b'*') {
                        rest.next();
                        precision = usize::try_from(values.next()?.0 & 0xffff_ffff).ok()?;
                    }
                    while let Some(digit @ b'0'..=b'9') = rest.peek().copied() {
                        rest.next();
                        precision = precision.min(256) * 10 + usize::from(digit - b'0');
                    }
                    spec.precision = Some(precision);
                    continue;
                }
                b'l' | b'z' => {
                    spec.long = true;
                    continue;
                }
                b'h' => continue,
                b's' => {
                    let (value, text) = values.next()?;
                    let text = until_nul(text);
                    // The string could not be read: this is not the same as an empty string.
                    if *value == 0 || (text.is_empty() && spec.precision != Some(0)) {
                        return None;
                    }
                    let kept = text.len().min(spec.precision.unwrap_or(text.len()));
                    pad(&mut out, &text[..kept], &spec);
                }
                kind @ (b'd' | b'i' | b'u' | b'x' | b'X') => {
                    let (value, _) = values.next()?;
                    pad(&mut out, number(kind, *value, spec.long).as_bytes(), &spec);
                }
                b'c' => out.push(values.next()?.0.to_le_bytes()[0]),
                _ => return None,
            }
            break;
        }
    }
    Some(Text::from(out.as_slice()))
}

fn number(kind: u8, value: u64, long: bool) -> String {
    let low = u32::from_le_bytes([
        value.to_le_bytes()[0],
        value.to_le_bytes()[1],
        value.to_le_bytes()[2],
        value.to_le_bytes()[3],
    ]);
    match (kind, long) {
        (b'd' | b'i', false) => low.cast_signed().to_string(),
        (b'd' | b'i', true) => value.cast_signed().to_string(),
        (b'x', false) => format!("{low:x}"),
        (b'x', true) => format!("{value:x}"),
        (b'X', false) => format!("{low:X}"),
        (b'X', true) => format!("{value:X}"),
        (_, false) => low.to_string(),
        (_, true) => value.to_string(),
    }
}

fn pad(out: &mut Vec<u8>, text: &[u8], spec: &Spec) {
    let fill = spec.width.unwrap_or(0).saturating_sub(text.len());
    let with = if spec.zero && !spec.left { b'0' } else { b' ' };
    if spec.left {
        out.extend_from_slice(text);
        out.extend(std::iter::repeat_n(b' ', fill));
    } else {
        out.extend(std::iter::repeat_n(with, fill));
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_ebpf::wire::Entered;
    use zerocopy::FromZeros;

    use super::format_name;

    fn entered(format: &str, values: &[(u64, &str)]) -> Entered {
        let mut entered = Entered::new_zeroed();
        entered.format[..format.len()].copy_from_slice(format.as_bytes());
        for (index, (value, text)) in values.iter().enumerate() {
            entered.values[index] = *value;
            entered.texts[index][..text.len()].copy_from_slice(text.as_bytes());
        }
        entered
    }

    /// Formats of real callers give the names that the kernel produces.
    #[test]
    fn format_of_real_callers_matches_the_kernel() {
        let text = |text| (0xffff_8000_0000_1000, text);
        for (format, values, expected) in [
            ("net-pf-%d", vec![(30, "")], "net-pf-30"),
            ("net-pf-%d-proto-%d-type-%d", vec![(2, ""), (132, ""), (1, "")], "net-pf-2-proto-132-type-1"),
            ("fs-%.*s", vec![(3, ""), text("xfs.junk")], "fs-xfs"),
            ("%s", vec![text("iptable_nat")], "iptable_nat"),
            ("binfmt-%04x", vec![(0xab, "")], "binfmt-00ab"),
            ("char-major-%d-%d", vec![(10, ""), (200, "")], "char-major-10-200"),
            ("%stable_%s", vec![text("ip"), text("nat")], "iptable_nat"),
            ("tty-ldisc-%d", vec![(u64::from(u32::MAX), "")], "tty-ldisc--1"),
            ("100%%", vec![], "100%"),
        ] {
            assert_eq!(format_name(&entered(format, &values)).unwrap().field(), expected, "{format}");
        }
    }

    /// A format with missing values or unknown conversions gives no name.
    #[test]
    fn format_with_unknown_values_gives_no_name() {
        for format in ["%p", "%s", "%d%d%d%d%d", "%", "%5"] {
            assert!(
                format_name(&entered(format, &[])).is_none_or(|name| format == "%d%d%d%d%d" && name.is_empty()),
                "{format}"
            );
        }
    }

    proptest! {
        /// No record causes a panic.
        #[test]
        fn format_of_any_record_does_not_panic(format in proptest::collection::vec(any::<u8>(), 64), values: [u64; 4]) {
            let mut entered = Entered::new_zeroed();
            entered.format.copy_from_slice(&format);
            entered.values = values;
            let _ = format_name(&entered);
        }
    }
}
