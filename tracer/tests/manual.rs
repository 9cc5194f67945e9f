//! Manual pages and completions in the repository are up to date.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

/// If this variable is set, the files are written instead of compared.
const WRITE: &str = "KMODTRACE_WRITE_MANUAL";

fn kmodtrace(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kmodtrace")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the files, or checks that they are up to date.
fn keep(directory: &str, files: &[(String, String)]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(directory);
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    let mut there: Vec<String> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let mut wanted: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    wanted.sort();
    let remedy = "run `cargo xtask bless`";
    assert_eq!(there, wanted, "{remedy}");
    for (name, text) in files {
        let kept = fs::read_to_string(directory.join(name)).unwrap();
        assert!(kept == *text, "{} is outdated; {remedy}", directory.join(name).display());
    }
}

/// docs/man equals the output of `kmodtrace man --dir`.
#[test]
fn manual_in_repository_is_up_to_date() {
    let scratch = tempfile::tempdir().unwrap();
    kmodtrace(&["man", "--dir", scratch.path().to_str().unwrap()]);
    let mut pages = Vec::new();
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        pages.push((name, fs::read_to_string(entry.path()).unwrap()));
    }
    let own = pages.iter().find(|(name, _)| name == "kmodtrace.1").unwrap_or_else(|| panic!("no page of kmodtrace"));
    assert_eq!(own.1, kmodtrace(&["man"]));
    keep("docs/man", &pages);
}

/// packaging/completions equals the output of `kmodtrace completions`.
#[test]
fn completions_in_repository_are_up_to_date() {
    let shells = [("bash", "kmodtrace.bash"), ("zsh", "_kmodtrace"), ("fish", "kmodtrace.fish")];
    let files = shells.map(|(shell, file)| (file.to_owned(), kmodtrace(&["completions", shell])));
    keep("packaging/completions", &files);
}
