//! Whether uevents can be received, which link udev's loads to devices.

use std::io;

use super::Finding;
use crate::probe::Uevents;

const CHECK: &str = "uevents";

/// Opens the socket briefly.
pub(super) fn check() -> Finding {
    finding(Uevents::check())
}

fn finding(heard: io::Result<()>) -> Finding {
    match heard {
        Ok(()) => Finding::ok(CHECK, "received over netlink"),
        Err(error) => Finding::note(
            CHECK,
            format!("cannot receive uevents: {error}"),
            "the device for which udev loads a module is unknown",
            "run kmodtrace without a filter for system calls (seccomp): it needs a NETLINK_KOBJECT_UEVENT socket",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::finding;
    use crate::doctor::Level;

    /// A system without uevents lacks one feature, and tracing works.
    #[test]
    fn missing_uevents_do_not_prevent_tracing() {
        assert_eq!(finding(Ok(())).level, Level::Ok);
        let refused = finding(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!((refused.level, refused.limits_tracing), (Level::Note, false));
        assert!(refused.costs.is_some() && refused.fix.is_some());
    }
}
