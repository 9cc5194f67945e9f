//! Sockets bound to addresses for which rustix has no type.

use rustix::io::{Errno, Result};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, Protocol, SocketType, bind, socket};

/// `AF_NETLINK`, include/linux/socket.h.
const AF_NETLINK: u16 = 16;

/// `AF_ALG`, include/linux/socket.h.
const AF_ALG: u16 = 38;

/// The bytes of a `struct sockaddr` of any family.
struct Bytes(Vec<u8>);

// SAFETY: the pointer is to the bytes that `self` owns during the call, and the length is their number.
unsafe impl SocketAddrArg for Bytes {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(self.0.as_ptr().cast(), SocketAddrLen::try_from(self.0.len()).unwrap_or(0))
    }
}

/// Binds a socket to an algorithm (`struct sockaddr_alg`, include/uapi/linux/if_alg.h).
pub(super) fn bind_alg(kind: &str, name: &[u8]) -> Result<()> {
    const TYPE_BYTES: usize = 14;
    const NAME_BYTES: usize = 64;
    let mut address = AF_ALG.to_ne_bytes().to_vec();
    address.extend(padded(kind.as_bytes(), TYPE_BYTES)?);
    // feat and mask.
    address.extend([0; 8]);
    address.extend(padded(name, NAME_BYTES)?);
    let alg = socket(AddressFamily::from_raw(AF_ALG), SocketType::SEQPACKET, None)?;
    bind(&alg, &Bytes(address))
}

/// Binds a netlink socket to groups (`struct sockaddr_nl`, include/uapi/linux/netlink.h).
pub(super) fn bind_netlink(protocol: u32, groups: u32) -> Result<()> {
    let mut address = AF_NETLINK.to_ne_bytes().to_vec();
    // Padding, and a port that the kernel chooses.
    address.extend([0; 6]);
    address.extend(groups.to_ne_bytes());
    let protocol = protocol.try_into().ok().map(Protocol::from_raw);
    let netlink = socket(AddressFamily::from_raw(AF_NETLINK), SocketType::RAW, protocol)?;
    bind(&netlink, &Bytes(address))
}

/// Text in a field of fixed size.
fn padded(text: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let mut field = text.to_vec();
    field.resize(bytes, 0);
    if text.len() > bytes { Err(Errno::NAMETOOLONG) } else { Ok(field) }
}
