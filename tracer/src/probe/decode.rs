//! Bytes of the ring buffer to records. Any bytes are safe: sizes are checked, every value is valid.

use tracer_ebpf::wire::{
    Admitted, Entered, Handover, Header, Helper, InitDone, Kind, Load, LoadExit, ModuleFile, Request, RequestResult,
    Syscall, Unload, Verdict,
};
use zerocopy::FromBytes;

/// One record.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is the wire type of its name")]
#[non_exhaustive]
pub enum Record {
    Entered(Box<Entered>),
    Request(Box<Request>),
    Verdict(Verdict),
    Admitted(Admitted),
    Handover(Handover),
    Helper(Box<Helper>),
    Result(RequestResult),
    Load(Box<Load>),
    InitDone(InitDone),
    Unload(Box<Unload>),
    ModuleFile(Box<ModuleFile>),
    LoadExit(Box<LoadExit>),
}

/// A record that this version does not understand.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than a header.
    #[error("a record of {len} bytes is shorter than its header")]
    Short {
        /// Its length.
        len: usize,
    },
    /// Of a kind this version does not know.
    #[error("record kind {kind} is not known")]
    Kind {
        /// The number.
        kind: u32,
    },
    /// Of a known kind, but not of its length.
    #[error("record kind {kind} has {len} bytes, not {expected}")]
    Length {
        /// The number.
        kind: u32,
        /// Its length.
        len: usize,
        /// What it should be.
        expected: usize,
    },
}

/// Reads a struct that must fill the record.
fn whole<T: FromBytes>(kind: Kind, bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_bytes(bytes).map_err(|_| DecodeError::Length {
        kind: kind as u32,
        len: bytes.len(),
        expected: size_of::<T>(),
    })
}

/// Reads one record.
///
/// # Errors
/// When the bytes are not a record of this version.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| DecodeError::Short { len: bytes.len() })?;
    let is = |kind: Kind| header.kind == kind as u32;
    Ok(if is(Kind::Entered) {
        Record::Entered(Box::new(whole(Kind::Entered, bytes)?))
    } else if is(Kind::Request) {
        Record::Request(Box::new(whole(Kind::Request, bytes)?))
    } else if is(Kind::Verdict) {
        Record::Verdict(whole(Kind::Verdict, bytes)?)
    } else if is(Kind::Admitted) {
        Record::Admitted(whole(Kind::Admitted, bytes)?)
    } else if is(Kind::Handover) {
        Record::Handover(whole(Kind::Handover, bytes)?)
    } else if is(Kind::Helper) {
        Record::Helper(Box::new(whole(Kind::Helper, bytes)?))
    } else if is(Kind::Result) {
        Record::Result(whole(Kind::Result, bytes)?)
    } else if is(Kind::Load) {
        Record::Load(Box::new(whole(Kind::Load, bytes)?))
    } else if is(Kind::InitDone) {
        Record::InitDone(whole(Kind::InitDone, bytes)?)
    } else if is(Kind::Unload) {
        Record::Unload(Box::new(whole(Kind::Unload, bytes)?))
    } else if is(Kind::ModuleFile) {
        Record::ModuleFile(Box::new(whole(Kind::ModuleFile, bytes)?))
    } else if is(Kind::LoadExit) {
        let mut record: Box<LoadExit> = Box::new(whole(Kind::LoadExit, bytes)?);
        let syscall = Syscall::of(record.syscall);
        record.syscall = syscall as u32;
        if syscall != Syscall::DeleteModule {
            record.module[0] = 0;
        }
        Record::LoadExit(record)
    } else {
        return Err(DecodeError::Kind { kind: header.kind });
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_ebpf::wire::{Kind, LoadExit, Request, Syscall};

    use super::{DecodeError, Record, decode};

    proptest! {
        /// Check that no bytes make the decoder panic.
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = decode(&bytes);
        }

        /// Check that a known kind of any content decodes exactly when its length is right.
        #[test]
        fn length_decides(len in 40_usize..4096) {
            let mut bytes = vec![0xa5; len];
            bytes[..4].copy_from_slice(&2_u32.to_ne_bytes());
            match decode(&bytes) {
                Ok(Record::Request(_)) => prop_assert_eq!(len, size_of::<Request>()),
                Err(DecodeError::Length { .. }) => prop_assert_ne!(len, size_of::<Request>()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    /// Check that a system call is told by its number, and that only the one whose argument is a name has a name.
    #[test]
    fn calls_are_told_by_their_numbers() {
        const { assert!(Syscall::of(Syscall::InitModule.number() | 1 << 30) as u32 == 0) };
        for (syscall, name) in [(Syscall::InitModule, 0), (Syscall::FinitModule, 0), (Syscall::DeleteModule, b'x')] {
            let mut bytes = vec![b'x'; size_of::<LoadExit>()];
            bytes[..4].copy_from_slice(&(Kind::LoadExit as u32).to_ne_bytes());
            let at = std::mem::offset_of!(LoadExit, syscall);
            bytes[at..at + 4].copy_from_slice(&syscall.number().to_ne_bytes());
            let Record::LoadExit(record) = decode(&bytes).unwrap() else { panic!("another record") };
            assert_eq!((record.syscall, record.module[0]), (syscall as u32, name));
        }
    }

    /// Check that unknown kinds and short records are named.
    #[test]
    fn errors_are_named() {
        assert_eq!(decode(&[]).unwrap_err(), DecodeError::Short { len: 0 });
        assert_eq!(decode(&[0xff; 64]).unwrap_err(), DecodeError::Kind { kind: u32::MAX });
    }
}
