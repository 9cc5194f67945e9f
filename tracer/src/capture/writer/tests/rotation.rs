use crate::capture::{
    testing::{MemoryDisk, recording},
    verify::Verifier,
    writer::Policy,
};

/// Check that no file is begun after the end, whichever frame makes the last one as large as it may be.
#[test]
fn the_last_file_has_the_end() {
    for max_bytes in (100..1500).step_by(10) {
        let disk = MemoryDisk::new();
        recording(&disk, Policy { max_bytes: Some(max_bytes), ..Policy::default() }, 3);
        let mut verifier = Verifier::new(None);
        let reports: Vec<_> = disk.files().iter().map(|file| verifier.file(file.as_slice()).unwrap()).collect();
        assert!(reports.last().is_some_and(|report| report.ended), "{max_bytes} bytes: {reports:?}");
        assert_eq!(verifier.unended(), 0, "{max_bytes} bytes");
    }
}
