//! The process behind an act: it waits if told to, makes one system call, says how that went, and ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, Protocol, SocketType, socket};

use super::address;

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
    /// `mount` of so many types, one after another: `fs`0, `fs`1 and so on.
    Mounts {
        /// What their names begin with.
        fs: String,
        /// How many.
        count: u32,
    },
    /// `bind` of a socket of `AF_ALG`: the kernel asks for `algif-KIND` and for `crypto-NAME`.
    Alg {
        /// The kind of algorithm: `skcipher`, `hash`.
        kind: String,
        /// Its name: any bytes, at most 64 of them.
        name: Vec<u8>,
    },
    /// `bind` of a netlink socket to multicast groups.
    Netlink {
        /// The netlink protocol, as a number.
        protocol: u32,
        /// The groups, one bit each.
        groups: u32,
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
            Self::Mounts { fs, count } => vec!["mounts".to_owned(), fs.clone(), count.to_string()],
            // In figures: not every name can be an argument.
            Self::Alg { kind, name } => {
                vec!["alg".to_owned(), kind.clone(), name.iter().map(|byte| format!("{byte:02x}")).collect()]
            }
            Self::Netlink { protocol, groups } => {
                vec!["netlink".to_owned(), protocol.to_string(), groups.to_string()]
            }
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
            ["mounts", fs, count] => {
                Ok(Self::Mounts { fs: (*fs).to_owned(), count: count.parse().context("odd number of mounts")? })
            }
            ["alg", kind, name] => Ok(Self::Alg { kind: (*kind).to_owned(), name: bytes_of(name)? }),
            ["netlink", protocol, groups] => Ok(Self::Netlink {
                protocol: protocol.parse().context("odd protocol")?,
                groups: groups.parse().context("odd groups")?,
            }),
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
            Self::Mounts { fs, count } => mount_each(fs, *count),
            Self::Alg { kind, name } => address::bind_alg(kind, name),
            Self::Netlink { protocol, groups } => address::bind_netlink(*protocol, *groups),
        };
        result.map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
    }
}

/// One mount after another; how the last one went counts for all.
fn mount_each(fs: &str, count: u32) -> rustix::io::Result<()> {
    let mut result = Ok(());
    for n in 0..count {
        result = mount("none", "/mnt", format!("{fs}{n}"), MountFlags::empty(), None);
    }
    result
}

/// Bytes from two hexadecimal digits each.
fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).with_context(|| format!("no bytes: {hex:?}"))?;
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
        for deed in [
            Deed::Socket { family: 30, kind: 1, protocol: 0 },
            Deed::Mount { fs: "udf".into() },
            Deed::Mounts { fs: "none".into(), count: 3 },
            Deed::Alg { kind: "hash".into(), name: b"x\n\xff".to_vec() },
            Deed::Netlink { protocol: 12, groups: 1 },
        ] {
            let arguments = deed.arguments();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            assert_eq!(Deed::from_arguments(&arguments).unwrap(), deed);
        }
        assert!(Deed::from_arguments(&["socket", "x", "1", "0"]).is_err());
        for hex in ["0", "0g", "+1"] {
            assert!(Deed::from_arguments(&["alg", "hash", hex]).is_err(), "{hex}");
        }
    }

    /// The kernel's refusal is reported as its errno.
    #[test]
    fn a_refusal_is_an_errno() {
        let invalid_family = Deed::Socket { family: u16::MAX, kind: 1, protocol: 0 };
        assert_eq!(invalid_family.perform(), rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        assert_eq!(Deed::Socket { family: 1, kind: 1, protocol: 0 }.perform(), 0);
    }
}
