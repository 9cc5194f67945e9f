//! The netlink socket for uevents, the messages about devices.

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

/// Size of the socket's buffer: enough for the announcements of all devices of a large machine.
const BUFFER_BYTES: usize = 8 << 20;

/// Maximum size of a message: more than the kernel's, which have 2 KiB of properties, and udev's.
const MESSAGE_BYTES: usize = 32 << 10;

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A message about a device.
    Uevent(Uevent),
    /// The buffer overflowed: messages were lost.
    Overflow,
}

/// The receiving socket.
pub struct Uevents {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Uevents {
    /// Opens the socket, which needs no privileges.
    ///
    /// # Errors
    /// If the kernel has no such socket, or outside of a tokio runtime.
    pub fn open() -> io::Result<Self> {
        // SAFETY: the AsyncFd owns the descriptor, which stays open and unchanged for as long as it lives.
        let fd = unsafe { AsyncFd::register(listen()?) };
        Ok(Self { fd: fd.map_err(io::Error::from)?, buffer: vec![0; MESSAGE_BYTES] })
    }

    /// Opens the socket briefly, to check whether uevents can be received.
    ///
    /// # Errors
    /// If they cannot.
    pub fn check() -> io::Result<()> {
        listen().map(drop)
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// If the runtime is shut down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.fd.readable().await?.clear_ready();
        Ok(())
    }

    /// Passes all available messages to `each`.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn drain(&mut self, mut each: impl FnMut(Received)) -> io::Result<()> {
        loop {
            match recvfrom(self.fd.get_ref(), self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, len, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    let sender = from.and_then(|from| Sender::of(from.pid(), from.groups()));
                    let message = self.buffer.get(..len);
                    let found = sender.zip(message).and_then(|(sender, message)| uevent::parse(sender, message));
                    found.into_iter().for_each(|uevent| each(Received::Uevent(uevent)));
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => each(Received::Overflow),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Opens a socket that receives the messages of both the kernel and udev.
fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
    // The first call ignores net.core.rmem_max, but needs CAP_NET_ADMIN.
    let larger = sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES);
    if larger.or_else(|_| sockopt::set_socket_recv_buffer_size(&fd, BUFFER_BYTES)).is_err() {
        log::debug!("cannot enlarge the buffer of the uevent socket");
    }
    bind(&fd, &SocketAddrNetlink::new(0, Sender::Kernel.group() | Sender::Udev.group()))?;
    Ok(fd)
}
