//! The netlink socket that tells of devices.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
        recvfrom, socket_with, sockopt,
    },
};
use tokio::io::unix::AsyncFd;

use crate::kernel::uevent::{self, Sender, Uevent};

/// A burst of every device of a large machine, while nothing else is read.
const BUFFER_BYTES: usize = 8 << 20;

/// Longer than the kernel's messages, which have 2 KiB of properties, and udev's.
const MESSAGE_BYTES: usize = 32 << 10;

/// What comes out of the socket.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word {
    /// A word about a device.
    Uevent(Uevent),
    /// Some did not fit and are lost.
    Missed,
}

/// The listener's end.
pub struct Uevents {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Uevents {
    /// Begins to listen. Any user may.
    ///
    /// # Errors
    /// When the kernel has no such socket, or there is no runtime.
    pub fn open() -> io::Result<Self> {
        // SAFETY: the AsyncFd owns the descriptor, which stays open and the same for as long as it lives.
        let fd = unsafe { AsyncFd::register(listen()?) };
        Ok(Self { fd: fd.map_err(io::Error::from)?, buffer: vec![0; MESSAGE_BYTES] })
    }

    /// Finds out whether listening is possible.
    ///
    /// # Errors
    /// When it is not.
    pub fn try_to_listen() -> io::Result<()> {
        listen().map(drop)
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.fd.readable().await?.clear_ready();
        Ok(())
    }

    /// Hands out all that is there now.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn drain(&mut self, mut each: impl FnMut(Word)) -> io::Result<()> {
        loop {
            match recvfrom(self.fd.get_ref(), self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, len, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    let sender = from.and_then(|from| Sender::of(from.pid(), from.groups()));
                    let message = self.buffer.get(..len);
                    let found = sender.zip(message).and_then(|(sender, message)| uevent::parse(sender, message));
                    found.into_iter().for_each(|uevent| each(Word::Uevent(uevent)));
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => each(Word::Missed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A socket that hears both the kernel and udev.
fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
    // The first needs CAP_NET_ADMIN and goes beyond the administrator's limit; neither is a condition.
    let larger = sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES);
    if larger.or_else(|_| sockopt::set_socket_recv_buffer_size(&fd, BUFFER_BYTES)).is_err() {
        log::debug!("the buffer for uevents stays as small as it is");
    }
    bind(&fd, &SocketAddrNetlink::new(0, Sender::Kernel.group() | Sender::Udev.group()))?;
    Ok(fd)
}
