//! The script that an interpreter runs: the name of the interpreter alone does not identify a requester.

use std::{fs::File, io::Read, os::fd::AsRawFd, path::Path};

use rustix::fs::{self, Mode, OFlags};

use crate::{
    event::{Ancestor, Text},
    kernel::process,
};

/// Shells: with `-c`, there is a command and no script.
const SHELLS: [&[u8]; 7] = [b"sh", b"bash", b"dash", b"ash", b"ksh", b"zsh", b"busybox"];

/// Other interpreters, by prefix of their name: with `-c`, `-e` and `-m` there is no script.
const OTHERS: [&[u8]; 3] = [b"python", b"perl", b"ruby"];

/// Maximum bytes read of a command line.
const COMMAND_LINE_BYTES: usize = 4096;

/// The script that a process runs, from its command line; `None` if it is no interpreter, runs no script, or has exited.
#[must_use]
pub fn script(root: &Path, ancestor: &Ancestor) -> Option<Text> {
    let exe = ancestor.exe.as_ref()?.as_bytes();
    let shell = SHELLS.contains(&exe);
    if ancestor.kthread || !(shell || OTHERS.iter().any(|name| exe.starts_with(name))) {
        return None;
    }
    let directory = root.join("proc").join(ancestor.pid.to_string());
    let line = std::fs::read(directory.join("cmdline")).ok()?;
    let comm = std::fs::read(directory.join("comm")).ok()?;
    // The id may have been reused, or the process may have executed another program.
    if comm.strip_suffix(b"\n") != Some(ancestor.comm.as_bytes()) || !process::is_alive(ancestor.id()) {
        return None;
    }
    of_command_line(line.get(..COMMAND_LINE_BYTES).unwrap_or(&line), shell).map(Text::from)
}

/// The file descriptor on which bash keeps its script open.
const BASH_FD: &str = "255";

/// Maximum bytes read of a script.
const SCRIPT_BYTES: u64 = 1 << 20;

/// The line up to which bash has read its script. It reads ahead, but before it runs a command it seeks back to the end of
/// that command, so that the command can read what follows. `None` for other interpreters, and if the position cannot be
/// read.
#[must_use]
pub fn line(root: &Path, ancestor: &Ancestor) -> Option<u32> {
    if ancestor.exe.as_ref()?.as_bytes() != b"bash" {
        return None;
    }
    let directory = root.join("proc").join(ancestor.pid.to_string());
    let info = std::fs::read_to_string(directory.join("fdinfo").join(BASH_FD)).ok()?;
    let position = info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()?;
    if position > SCRIPT_BYTES {
        return None;
    }
    let script = open_regular(&directory.join("fd").join(BASH_FD))?;
    let mut read = Vec::new();
    script.take(position).read_to_end(&mut read).ok()?;
    let is_whole = u64::try_from(read.len()).is_ok_and(|length| length == position);
    (is_whole && process::is_alive(ancestor.id())).then(|| line_of(&read))
}

/// Opens a file chosen by another process, if it is a regular file: opening a pipe can block, opening a device can have
/// side effects, and reading from either would take data from its user.
fn open_regular(path: &Path) -> Option<File> {
    // O_PATH only: this does not open the file.
    let place = File::from(fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?);
    if !place.metadata().ok()?.is_file() {
        return None;
    }
    // Reopens exactly this file. The owner may hold a lease, on which opening would block.
    let again = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    fs::open(again, flags, Mode::empty()).ok().map(File::from)
}

/// The number of the line in which a text ends.
fn line_of(read: &[u8]) -> u32 {
    let ends = read.iter().filter(|byte| **byte == b'\n').count();
    let open = usize::from(!read.is_empty() && !read.ends_with(b"\n"));
    u32::try_from(ends + open).unwrap_or(u32::MAX)
}

/// The first argument that is neither an option nor the value of one.
fn of_command_line(line: &[u8], shell: bool) -> Option<&[u8]> {
    let mut words = line.split(|byte| *byte == 0).skip(1);
    while let Some(word) = words.next() {
        match word {
            b"" | b"-" => return None,
            b"--" => return words.next().filter(|word| !word.is_empty()),
            b"-o" | b"+o" | b"-O" | b"+O" | b"--rcfile" | b"--init-file" if shell => {
                words.next()?;
            }
            b"-W" | b"-X" if !shell => {
                words.next()?;
            }
            [b'-', b'-', ..] | [b'+', ..] => {}
            [b'-', letters @ ..] => {
                // The script is read from standard input, not from a file.
                let instead: &[u8] = if shell { b"cs" } else { b"cemE" };
                if letters.iter().any(|letter| instead.contains(letter)) {
                    return None;
                }
            }
            script => return Some(script),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path, sync::mpsc, time::Duration};

    use proptest::prelude::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{line, line_of, of_command_line, script};
    use crate::{
        event::{Ancestor, Text},
        kernel::process::own_id,
    };

    fn of(words: &[&str], shell: bool) -> Option<String> {
        let line = words.join("\0") + "\0";
        of_command_line(line.as_bytes(), shell).map(|script| String::from_utf8(script.to_vec()).unwrap())
    }

    /// Scripts are found with and without shebang and after options; command lines without a script give none.
    #[test]
    fn script_after_options_is_found() {
        for (words, shell, wanted) in [
            (&["/bin/bash", "./tests/net.sh", "-v"][..], true, Some("./tests/net.sh")),
            (&["sh", "-ex", "net.sh"], true, Some("net.sh")),
            (&["bash", "-o", "pipefail", "--norc", "net.sh"], true, Some("net.sh")),
            (&["bash", "--", "-odd.sh"], true, Some("-odd.sh")),
            (&["sh", "-c", "ss -tln", "net.sh"], true, None),
            (&["sh", "-ec", "ss"], true, None),
            (&["-bash"], true, None),
            (&["sh", "-s", "x"], true, None),
            (&["python3", "-u", "-W", "error", "t.py"], false, Some("t.py")),
            (&["python3", "-m", "pytest", "t.py"], false, None),
            (&["perl", "-e", "1"], false, None),
        ] {
            assert_eq!(of(words, shell).as_deref(), wanted, "{words:?}");
        }
    }

    /// A process that has exited or was replaced by another has no script.
    #[test]
    fn exited_process_has_no_script() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc/4000000");
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cmdline"), "bash\0x.sh\0").unwrap();
        fs::write(process.join("comm"), "x.sh\n").unwrap();
        let ancestor = |comm: &str| Ancestor {
            pid: 4_000_000,
            start_ns: 1,
            comm: Text::from(comm),
            exe: Some(Text::from("bash")),
            ..Ancestor::default()
        };
        assert_eq!(script(root.path(), &ancestor("x.sh")), None, "no such process lives here");
        assert_eq!(script(root.path(), &ancestor("other")), None);
    }

    /// The line is known for a script that is a regular file, and a pipe in its place does not block.
    #[test]
    fn script_that_is_a_pipe_is_not_opened() {
        let own = own_id();
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc").join(own.pid.to_string());
        let (file, pipe) = (root.path().join("net.sh"), root.path().join("pipe"));
        for directory in ["fd", "fdinfo"] {
            fs::create_dir_all(process.join(directory)).unwrap();
        }
        fs::write(process.join("fdinfo/255"), "pos:\t4\nflags:\t0100000\n").unwrap();
        fs::write(&file, "a\nb\nc\n").unwrap();
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let line_with = |script: &Path| {
            let _ = fs::remove_file(process.join("fd/255"));
            symlink(script, process.join("fd/255")).unwrap();
            let ancestor =
                Ancestor { pid: own.pid, start_ns: own.start_ns, exe: Some(Text::from("bash")), ..Ancestor::default() };
            let (root, (send, receive)) = (root.path().to_owned(), mpsc::channel());
            std::thread::spawn(move || send.send(line(&root, &ancestor)));
            receive.recv_timeout(Duration::from_secs(10)).expect("the pipe is not opened")
        };
        assert_eq!(line_with(&file), Some(2));
        assert_eq!(line_with(&pipe), None);
    }

    /// The line is the one in which the text ends, with and without a final newline.
    #[test]
    fn line_of_text_counts_its_last_line() {
        for (read, line) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\nb\n", 2), ("\n\n\n", 3)] {
            assert_eq!(line_of(read.as_bytes()), line, "{read:?}");
        }
    }

    proptest! {
        /// No command line causes a panic.
        #[test]
        fn any_line_is_safe(line in proptest::collection::vec(any::<u8>(), 0..64), shell: bool) {
            let _ = of_command_line(&line, shell);
        }
    }
}
