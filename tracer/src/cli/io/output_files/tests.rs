//! Tests of output files: they replace what was there only when complete, and nothing else is written to.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::OutputFiles;

fn refused(outputs: &mut OutputFiles, path: &Path) -> String {
    outputs.open(path).err().map(|error| error.to_string()).unwrap_or_default()
}

/// An input is not writable under any name, and two outputs are never the same file.
#[test]
fn output_that_is_an_input_is_rejected() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("a.jsonl"), "kept").unwrap();
    fs::hard_link(path("a.jsonl"), path("hard")).unwrap();
    std::os::unix::fs::symlink(path("a.jsonl"), path("soft")).unwrap();
    let mut outputs = OutputFiles::new(&[root.path().to_owned()]).unwrap();
    for name in ["a.jsonl", "hard", "soft"] {
        assert!(refused(&mut outputs, &path(name)).contains("is also an input"), "{name}");
    }
    outputs.open(&path("new")).unwrap();
    let again = root.path().join(".").join("new");
    assert!(refused(&mut outputs, &again).contains("same file as output"), "{}", refused(&mut outputs, &again));
    assert_eq!(fs::read(path("a.jsonl")).unwrap(), b"kept");
}

/// Outputs keep their old content until they are complete, and no temporary file remains.
#[test]
fn output_incomplete_leaves_old_content() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for name in ["old", "twin"] {
        fs::write(path(name), "old content").unwrap();
    }
    fs::hard_link(path("twin"), path("other")).unwrap();
    for is_kept in [false, true] {
        let mut outputs = OutputFiles::new(&[]).unwrap();
        for name in ["old", "new"] {
            outputs.open(&path(name)).unwrap().write_all(b"new").unwrap();
        }
        outputs.open(&path("twin")).unwrap();
        if is_kept {
            outputs.keep().unwrap();
        }
        drop(outputs);
        let text = |name: &str| fs::read_to_string(path(name)).ok();
        let before = Some("old content".to_owned());
        let (old, new, twin) =
            if is_kept { (Some("new"), Some("new"), Some("")) } else { (before.as_deref(), None, before.as_deref()) };
        let found = [text("old"), text("new"), text("twin"), text("other")];
        assert_eq!(found.each_ref().map(Option::as_deref), [old, new, twin, twin]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), if is_kept { 4 } else { 3 });
    }
}

/// Symbolic links, named pipes and directories are rejected without blocking, and the target of a link is unchanged.
#[test]
fn output_that_is_a_link_or_pipe_is_rejected() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("victim"), "kept").unwrap();
    std::os::unix::fs::symlink(path("victim"), path("link")).unwrap();
    std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for make in [OutputFiles::new, OutputFiles::live] {
        let mut outputs = make(&[]).unwrap();
        for (name, kind) in [
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("pipe", "a named pipe"),
            ("", "a directory"),
        ] {
            let error = outputs.open(&path(name)).map(drop).unwrap_err();
            assert!(format!("{error:#}").contains(kind), "{name}: {error:#}");
        }
    }
    assert_eq!(fs::read_to_string(path("victim")).unwrap(), "kept");
    assert!(!path("nowhere").exists());
}

/// An overwritten file keeps its mode.
#[test]
fn output_overwritten_keeps_its_mode() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x");
    for mode in [0o600, 0o640, 0o644] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut outputs = OutputFiles::new(&[]).unwrap();
        outputs.open(&path).unwrap().write_all(b"new").unwrap();
        outputs.keep().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
