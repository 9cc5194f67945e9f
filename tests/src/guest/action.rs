//! The process of an actor: it waits if requested, makes one system call, prints the result, and exits.

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use io_uring::{IoUring, opcode, squeue};
use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl;
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, Protocol, SocketType, socket};

use super::address;

/// The audit login uid: set once per session, as sshd does, and kept when the user changes.
const LOGINUID: &str = "/proc/self/loginuid";

/// The line that an actor prints when it waits.
pub(crate) const READY: &str = "ready";

/// An action that makes the kernel request a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `socket(family, kind, protocol)`
    Socket {
        /// Address family, as a number.
        family: u16,
        /// Socket type, as a number.
        kind: u32,
        /// Protocol, as a number.
        protocol: u32,
    },
    /// `mount("none", "/mnt", fs)`
    Mount {
        /// The file system's type.
        fs: String,
    },
    /// `mount` of several types, one after another: `fs`0, `fs`1 and so on.
    Mounts {
        /// The prefix of the types.
        fs: String,
        /// The number of mounts.
        count: u32,
    },
    /// `mount` in a thread with a name of its own.
    ThreadMount {
        /// The name of the thread, at most 15 bytes.
        thread: String,
        /// The file system's type.
        fs: String,
    },
    /// `bind` of an `AF_ALG` socket: the kernel requests `algif-KIND` and `crypto-NAME`.
    Alg {
        /// The kind of algorithm: `skcipher`, `hash`.
        kind: String,
        /// Its name: up to 64 arbitrary bytes.
        name: Vec<u8>,
    },
    /// A 32-bit system call of a 64-bit process, by `int 0x80` (x86-64).
    Call32 {
        /// Its number on i386.
        number: u32,
        /// Its first three arguments.
        arguments: [u32; 3],
    },
    /// `socket(family, SOCK_RAW, 0)` by a thread of io_uring (since 5.19): a worker, or the one that polls the submission queue.
    UringSocket {
        /// Address family, as a number.
        family: u16,
        /// By the polling thread.
        polled: bool,
    },
    /// `bind` of a netlink socket to multicast groups.
    Netlink {
        /// The netlink protocol, as a number.
        protocol: u32,
        /// The groups, one bit each.
        groups: u32,
    },
    /// `ioctl(TIOCSETD)` on a new terminal: the kernel requests `tty-ldisc-NUMBER`.
    LineDiscipline {
        /// The line discipline.
        number: u32,
    },
    /// `open` of a file, for reading.
    Open {
        /// The file.
        path: String,
    },
}

impl Action {
    /// The arguments for the process that performs it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Socket { family, kind, protocol } => {
                vec!["socket".to_owned(), family.to_string(), kind.to_string(), protocol.to_string()]
            }
            Self::Mount { fs } => vec!["mount".to_owned(), fs.clone()],
            Self::Mounts { fs, count } => vec!["mounts".to_owned(), fs.clone(), count.to_string()],
            Self::ThreadMount { thread, fs } => vec!["thread-mount".to_owned(), thread.clone(), fs.clone()],
            // In hexadecimal, because not every name can be an argument.
            Self::Alg { kind, name } => {
                vec!["alg".to_owned(), kind.clone(), name.iter().map(|byte| format!("{byte:02x}")).collect()]
            }
            Self::Call32 { number, arguments: [a, b, c] } => {
                ["call32".to_owned()].into_iter().chain([number, a, b, c].map(ToString::to_string)).collect()
            }
            Self::UringSocket { family, polled } => {
                vec!["uring-socket".to_owned(), family.to_string(), polled.to_string()]
            }
            Self::Netlink { protocol, groups } => {
                vec!["netlink".to_owned(), protocol.to_string(), groups.to_string()]
            }
            Self::LineDiscipline { number } => vec!["line-discipline".to_owned(), number.to_string()],
            Self::Open { path } => vec!["open".to_owned(), path.clone()],
        }
    }

    fn from_arguments(arguments: &[&str]) -> Result<Self> {
        match arguments {
            ["socket", family, kind, protocol] => Ok(Self::Socket {
                family: family.parse().context("invalid family")?,
                kind: kind.parse().context("invalid socket type")?,
                protocol: protocol.parse().context("invalid protocol")?,
            }),
            ["mount", fs] => Ok(Self::Mount { fs: (*fs).to_owned() }),
            ["mounts", fs, count] => {
                Ok(Self::Mounts { fs: (*fs).to_owned(), count: count.parse().context("invalid number of mounts")? })
            }
            ["thread-mount", thread, fs] => {
                Ok(Self::ThreadMount { thread: (*thread).to_owned(), fs: (*fs).to_owned() })
            }
            ["alg", kind, name] => Ok(Self::Alg { kind: (*kind).to_owned(), name: bytes_of(name)? }),
            ["call32", number, a, b, c] => {
                let parse = |text: &str| text.parse::<u32>().context("invalid number of a 32-bit system call");
                Ok(Self::Call32 { number: parse(number)?, arguments: [parse(a)?, parse(b)?, parse(c)?] })
            }
            ["uring-socket", family, polled] => Ok(Self::UringSocket {
                family: family.parse().context("invalid family")?,
                polled: polled.parse().context("invalid choice of a thread")?,
            }),
            ["netlink", protocol, groups] => Ok(Self::Netlink {
                protocol: protocol.parse().context("invalid protocol")?,
                groups: groups.parse().context("invalid groups")?,
            }),
            ["line-discipline", number] => {
                Ok(Self::LineDiscipline { number: number.parse().context("invalid line discipline")? })
            }
            ["open", path] => Ok(Self::Open { path: (*path).to_owned() }),
            other => bail!("unknown action {other:?}"),
        }
    }

    /// Performs it, and returns 0 or the errno.
    fn perform(&self) -> i32 {
        let result = match self {
            Self::Socket { family, kind, protocol } => {
                let protocol = NonZeroU32::new(*protocol).map(Protocol::from_raw);
                socket(AddressFamily::from_raw(*family), SocketType::from_raw(*kind), protocol).map(drop)
            }
            Self::Mount { fs } => mount("none", "/mnt", fs, MountFlags::empty(), None),
            Self::Mounts { fs, count } => mount_each(fs, *count),
            Self::ThreadMount { thread, fs } => mount_in_thread(thread, fs),
            Self::Alg { kind, name } => address::bind_alg(kind, name),
            Self::Call32 { number, arguments } => call32(*number, *arguments),
            Self::UringSocket { family, polled } => socket_by_uring(*family, *polled),
            Self::Netlink { protocol, groups } => address::bind_netlink(*protocol, *groups),
            Self::LineDiscipline { number } => set_line_discipline(*number),
            Self::Open { path } => open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop),
        };
        result.map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
    }
}

/// Makes a 32-bit system call without pointers. The kernel marks it as one, whatever the mode of the process.
#[cfg(target_arch = "x86_64")]
fn call32(number: u32, [a, b, c]: [u32; 3]) -> rustix::io::Result<()> {
    let result: i32;
    // SAFETY: the calls of the scenarios take no pointers. The compiler reserves rbx, so it is exchanged; kernels before 4.17 also
    // change r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg {a}, rbx",
            "int 0x80",
            "xchg {a}, rbx",
            a = inout(reg) u64::from(a) => _,
            inlateout("eax") number => result,
            in("ecx") b,
            in("edx") c,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    if result < 0 { Err(rustix::io::Errno::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Other architectures have no such calls.
#[cfg(not(target_arch = "x86_64"))]
fn call32(_number: u32, _arguments: [u32; 3]) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}

/// Creates a socket in a thread of io_uring.
fn socket_by_uring(family: u16, polled: bool) -> rustix::io::Result<()> {
    let errno = |error: std::io::Error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
    let mut builder = IoUring::<squeue::Entry>::builder();
    if polled {
        builder.setup_sqpoll(10_000);
    }
    let mut ring: IoUring = builder.build(2).map_err(errno)?;
    let socket = opcode::Socket::new(family.into(), SocketType::RAW.as_raw().cast_signed(), 0).build();
    let socket = if polled { socket } else { socket.flags(squeue::Flags::ASYNC) };
    // SAFETY: the operation has no pointers.
    unsafe { ring.submission().push(&socket) }.map_err(|_| rustix::io::Errno::NOBUFS)?;
    ring.submit_and_wait(1).map_err(errno)?;
    let result = ring.completion().next().ok_or(rustix::io::Errno::IO)?.result();
    if result < 0 { Err(rustix::io::Errno::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Sets the line discipline of a new pseudoterminal.
fn set_line_discipline(number: u32) -> rustix::io::Result<()> {
    /// `TIOCSETD`, include/uapi/asm-generic/ioctls.h.
    const TIOCSETD: ioctl::Opcode = 0x5423;
    let terminal = open("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the operation reads an int.
    let operation = unsafe { ioctl::Setter::<TIOCSETD, u32>::new(number) };
    // SAFETY: it changes only the terminal.
    unsafe { ioctl::ioctl(terminal, operation) }
}

/// Mounts one type after another, and returns the result of the last mount.
fn mount_each(fs: &str, count: u32) -> rustix::io::Result<()> {
    let mut result = Ok(());
    for n in 0..count {
        result = mount("none", "/mnt", format!("{fs}{n}"), MountFlags::empty(), None);
    }
    result
}

/// Mounts in a new thread. A thread that cannot be started is reported as `EAGAIN`, one that panics as `EIO`.
fn mount_in_thread(name: &str, fs: &str) -> rustix::io::Result<()> {
    let fs = fs.to_owned();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || mount("none", "/mnt", fs, MountFlags::empty(), None));
    thread.map_err(|_| rustix::io::Errno::AGAIN)?.join().unwrap_or(Err(rustix::io::Errno::IO))
}

/// Parses pairs of hexadecimal digits.
fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits
        .filter(|digits| digits.len() % 2 == 0)
        .with_context(|| format!("invalid bytes {hex:?}: expected pairs of hexadecimal digits"))?;
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Runs an actor.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut wait = false;
    while let Some(option) = arguments.first().filter(|argument| argument.starts_with("--")) {
        match option.strip_prefix("--login=") {
            Some(uid) => fs::write(LOGINUID, uid).with_context(|| format!("cannot log in as {uid}"))?,
            None if *option == "--wait" => wait = true,
            None => bail!("unknown option {option:?}"),
        }
        arguments.remove(0);
    }
    let action = Action::from_arguments(&arguments)?;
    let mut out = std::io::stdout().lock();
    if wait {
        writeln!(out, "{READY}").and_then(|()| out.flush()).context("cannot report readiness")?;
        let mut nothing = Vec::new();
        std::io::stdin().lock().read_to_end(&mut nothing).context("cannot wait at the gate")?;
    }
    let errno = action.perform();
    writeln!(out, "errno {errno}").and_then(|()| out.flush()).context("cannot report the result")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An action converted to arguments and back is unchanged.
    #[test]
    fn action_round_trips_through_arguments() {
        for action in [
            Action::Socket { family: 30, kind: 1, protocol: 0 },
            Action::Mount { fs: "udf".into() },
            Action::Mounts { fs: "none".into(), count: 3 },
            Action::ThreadMount { thread: "worker".into(), fs: "udf".into() },
            Action::Alg { kind: "hash".into(), name: b"x\n\xff".to_vec() },
            Action::Netlink { protocol: 12, groups: 1 },
            Action::UringSocket { family: 29, polled: true },
            Action::LineDiscipline { number: 13 },
            Action::Open { path: "/dev/x".into() },
            Action::Call32 { number: 359, arguments: [9, 1, u32::MAX] },
        ] {
            let arguments = action.arguments();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            assert_eq!(Action::from_arguments(&arguments).unwrap(), action);
        }
        assert!(Action::from_arguments(&["socket", "x", "1", "0"]).is_err());
        for hex in ["0", "0g", "+1"] {
            assert!(Action::from_arguments(&["alg", "hash", hex]).is_err(), "{hex}");
        }
    }

    /// A failed system call is reported as its errno.
    #[test]
    fn failed_action_returns_errno() {
        let invalid_family = Action::Socket { family: u16::MAX, kind: 1, protocol: 0 };
        assert_eq!(invalid_family.perform(), rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        assert_eq!(Action::Socket { family: 1, kind: 1, protocol: 0 }.perform(), 0);
    }
}
