//! Decodes the bytes of the ring buffer into records. Sizes are checked and every value is valid, so any bytes are safe.

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
    #[error("invalid record: {len} bytes are less than a header")]
    Short {
        /// Its length.
        len: usize,
    },
    /// Of an unknown kind.
    #[error("unknown record kind {kind}")]
    Kind {
        /// The number.
        kind: u32,
    },
    /// Of a known kind, with a wrong length.
    #[error("invalid record of kind {kind}: {len} bytes instead of {expected}")]
    Length {
        /// The number.
        kind: u32,
        /// Its length.
        len: usize,
        /// The length of this kind.
        expected: usize,
    },
}

/// Reads a struct that must fill the record.
fn read_exact<T: FromBytes>(kind: Kind, bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_bytes(bytes).map_err(|_| DecodeError::Length {
        kind: kind as u32,
        len: bytes.len(),
        expected: size_of::<T>(),
    })
}

/// Reads one record.
///
/// # Errors
/// If the bytes are not a record of this version.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| DecodeError::Short { len: bytes.len() })?;
    let is = |kind: Kind| header.kind == kind as u32;
    Ok(if is(Kind::Entered) {
        Record::Entered(Box::new(read_exact(Kind::Entered, bytes)?))
    } else if is(Kind::Request) {
        Record::Request(Box::new(read_exact(Kind::Request, bytes)?))
    } else if is(Kind::Verdict) {
        Record::Verdict(read_exact(Kind::Verdict, bytes)?)
    } else if is(Kind::Admitted) {
        Record::Admitted(read_exact(Kind::Admitted, bytes)?)
    } else if is(Kind::Handover) {
        Record::Handover(read_exact(Kind::Handover, bytes)?)
    } else if is(Kind::Helper) {
        Record::Helper(Box::new(read_exact(Kind::Helper, bytes)?))
    } else if is(Kind::Result) {
        Record::Result(read_exact(Kind::Result, bytes)?)
    } else if is(Kind::Load) {
        Record::Load(Box::new(read_exact(Kind::Load, bytes)?))
    } else if is(Kind::InitDone) {
        Record::InitDone(read_exact(Kind::InitDone, bytes)?)
    } else if is(Kind::Unload) {
        Record::Unload(Box::new(read_exact(Kind::Unload, bytes)?))
    } else if is(Kind::ModuleFile) {
        Record::ModuleFile(Box::new(read_exact(Kind::ModuleFile, bytes)?))
    } else if is(Kind::LoadExit) {
        let mut record: Box<LoadExit> = Box::new(read_exact(Kind::LoadExit, bytes)?);
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
        /// No bytes make the decoder panic.
        #[test]
        fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = decode(&bytes);
        }

        /// A record of a known kind decodes, whatever its content, exactly if its length is right.
        #[test]
        fn record_of_any_content_decodes_by_its_length(len in 40_usize..4096) {
            let mut bytes = vec![0xa5; len];
            bytes[..4].copy_from_slice(&2_u32.to_ne_bytes());
            match decode(&bytes) {
                Ok(Record::Request(_)) => prop_assert_eq!(len, size_of::<Request>()),
                Err(DecodeError::Length { .. }) => prop_assert_ne!(len, size_of::<Request>()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    /// A system call is identified by its number, and only the one whose argument is a name has a name.
    #[test]
    fn system_call_is_identified_by_its_number() {
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

    /// Unknown kinds and short records have their own errors.
    #[test]
    fn unknown_or_short_record_is_an_error() {
        assert_eq!(decode(&[]).unwrap_err(), DecodeError::Short { len: 0 });
        assert_eq!(decode(&[0xff; 64]).unwrap_err(), DecodeError::Kind { kind: u32::MAX });
    }
}
