//! The process behind an act: it waits if told to, makes one system call, says how that went, and ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, Protocol, SocketType, socket};

/// Set once for a session, as sshd does it; kept through changes of the user.
const LOGINUID: &str = "/proc/self/loginuid";

/// What an actor says when it waits.
pub(crate) const READY: &str = "ready";

/// Something that makes the kernel ask for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
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
}

impl Deed {
    /// As arguments of the process that does it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Socket { family, kind, protocol } => {
                vec!["socket".to_owned(), family.to_string(), kind.to_string(), protocol.to_string()]
            }
            Self::Mount { fs } => vec!["mount".to_owned(), fs.clone()],
        }
    }

    fn from_arguments(arguments: &[&str]) -> Result<Self> {
        match arguments {
            ["socket", family, kind, protocol] => Ok(Self::Socket {
                family: family.parse().context("odd family")?,
                kind: kind.parse().context("odd socket type")?,
                protocol: protocol.parse().context("odd protocol")?,
            }),
            ["mount", fs] => Ok(Self::Mount { fs: (*fs).to_owned() }),
            other => bail!("no deed: {other:?}"),
        }
    }

    /// Does it. The kernel's answer is a result like any other.
    fn perform(&self) -> i32 {
        let result = match self {
            Self::Socket { family, kind, protocol } => {
                let protocol = NonZeroU32::new(*protocol).map(Protocol::from_raw);
                socket(AddressFamily::from_raw(*family), SocketType::from_raw(*kind), protocol).map(drop)
            }
            Self::Mount { fs } => mount("none", "/mnt", fs, MountFlags::empty(), None),
        };
        result.map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
    }
}

/// Runs an actor.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut wait = false;
    while let Some(option) = arguments.first().filter(|argument| argument.starts_with("--")) {
        match option.strip_prefix("--login=") {
            Some(uid) => fs::write(LOGINUID, uid).with_context(|| format!("cannot log in as {uid}"))?,
            None if *option == "--wait" => wait = true,
            None => bail!("no option {option:?}"),
        }
        arguments.remove(0);
    }
    let deed = Deed::from_arguments(&arguments)?;
    let mut out = std::io::stdout().lock();
    if wait {
        writeln!(out, "{READY}").and_then(|()| out.flush()).context("cannot say that this is ready")?;
        let mut nothing = Vec::new();
        std::io::stdin().lock().read_to_end(&mut nothing).context("cannot wait at the gate")?;
    }
    let errno = deed.perform();
    writeln!(out, "errno {errno}").and_then(|()| out.flush()).context("cannot say how it went")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deed survives its way through a command line.
    #[test]
    fn deeds_are_arguments() {
        for deed in [Deed::Socket { family: 30, kind: 1, protocol: 0 }, Deed::Mount { fs: "udf".into() }] {
            let arguments = deed.arguments();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            assert_eq!(Deed::from_arguments(&arguments).unwrap(), deed);
        }
        assert!(Deed::from_arguments(&["socket", "x", "1", "0"]).is_err());
    }

    /// The kernel's refusal is reported as its errno.
    #[test]
    fn a_refusal_is_an_errno() {
        let invalid_family = Deed::Socket { family: u16::MAX, kind: 1, protocol: 0 };
        assert_eq!(invalid_family.perform(), rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        assert_eq!(Deed::Socket { family: 1, kind: 1, protocol: 0 }.perform(), 0);
    }
}
