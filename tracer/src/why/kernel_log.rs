//! The kernel's log: messages by a module, and about it.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Maximum bytes that are read: kernels have a buffer of at most 32 MiB, usually of 256 KiB.
const LOG_BYTES_MAX: usize = 32 << 20;

/// Size of a read; a record has at most 8 KiB (`PRINTKRB_RECORD_MAX`, kernel/printk/printk.c).
const RECORD_BYTES: usize = 16 << 10;

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Microseconds of the kernel's log clock since boot.
    pub(super) at_us: u64,
    /// Its text, first line.
    pub(super) text: String,
}

/// Reads the kernel's log below `root`.
///
/// # Errors
/// If it cannot be read: where `kernel.dmesg_restrict` is 1, that takes CAP_SYSLOG.
pub(super) fn read(root: &Path) -> io::Result<Vec<Message>> {
    let non_blocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = OpenOptions::new().read(true).custom_flags(non_blocking).open(root.join("dev/kmsg"))?;
    let mut text = Vec::new();
    let mut buffer = vec![0; RECORD_BYTES];
    while text.len() < LOG_BYTES_MAX {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // Records were overwritten meanwhile: the next read continues with the oldest one.
            Err(error) if error.kind() == ErrorKind::BrokenPipe || error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parse(&text))
}

/// `6,339,5140900,-;nf_conntrack: default ...`, followed by lines that begin with a space.
fn parse(text: &[u8]) -> Vec<Message> {
    text.split(|byte| *byte == b'\n').filter_map(record).collect()
}

fn record(line: &[u8]) -> Option<Message> {
    if line.starts_with(b" ") {
        return None;
    }
    let at = line.iter().position(|byte| *byte == b';')?;
    let (front, text) = line.split_at_checked(at)?;
    let mut fields = std::str::from_utf8(front).ok()?.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let at_us = fields.nth(1)?.parse().ok()?;
    // Only root can write there, but it may be any program: facility 0 is the kernel.
    let is_of_kernel = priority >> 3 == 0;
    is_of_kernel
        .then(|| Message { at_us, text: String::from_utf8_lossy(text.get(1..).unwrap_or_default()).into_owned() })
}

/// Whether a message is by a module, or about its load: it begins with its name.
pub(super) fn is_of_module(text: &str, module: &str) -> bool {
    let length = text.bytes().zip(module.bytes()).take_while(|(one, other)| normal(*one) == normal(*other)).count();
    length == module.len()
        && text.as_bytes().get(length).is_none_or(|next| matches!(next, b':' | b' ' | b'[' | b'(' | b','))
}

/// Whether a text contains the name of a module as a word.
pub(super) fn mentions(text: &str, module: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (text, module): (Vec<u8>, Vec<u8>) = (text.bytes().map(normal).collect(), module.bytes().map(normal).collect());
    if module.is_empty() {
        return false;
    }
    memchr::memmem::find_iter(&text, &module).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = text.get(at + module.len());
        !before.is_some_and(|byte| is_word(*byte)) && !after.is_some_and(|byte| is_word(*byte))
    })
}

/// Names of modules with `-` and `_` are equal.
const fn normal(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Message, is_of_module, mentions, parse};

    /// Records of the kernel are read with their time; those of programs, continuations and malformed lines are not.
    #[test]
    fn log_records_of_kernel_are_read() {
        let text = b"6,339,5140900,-;nf_conntrack: hello\n SUBSYSTEM=net\n12,340,5140901,-;forged by a daemon\nx\n\
                     4,341,6000000,-,caller=T1;udf: bad \xff\n;\n6,1,x,-;y\n";
        let message = |at_us, text: &str| Message { at_us, text: text.to_owned() };
        assert_eq!(parse(text), [message(5_140_900, "nf_conntrack: hello"), message(6_000_000, "udf: bad \u{fffd}")]);
    }

    /// A message is by a module only if it begins with the whole name.
    #[test]
    fn message_of_module_begins_with_its_name() {
        for (text, module, is) in [
            ("nf_conntrack: x", "nf_conntrack", true),
            ("nf-conntrack version 0.5", "nf_conntrack", true),
            ("nf_conntrack", "nf_conntrack", true),
            ("nf_conntrack_ftp: x", "nf_conntrack", false),
            ("nf_con", "nf_conntrack", false),
            ("x nf_conntrack: y", "nf_conntrack", false),
        ] {
            assert_eq!(is_of_module(text, module), is, "{text}");
        }
        assert!(mentions("Inserted module 'nf-conntrack'", "nf_conntrack"));
        assert!(!mentions("nf_conntrack_ftp xnf_conntrack", "nf_conntrack"));
        assert!(!mentions("x", ""));
    }

    proptest! {
        /// No bytes panic.
        #[test]
        fn any_log_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,20}", module in "[a-z_-]{0,6}") {
            let _ = parse(&bytes);
            let _ = (is_of_module(&text, &module), mentions(&text, &module));
        }
    }
}
