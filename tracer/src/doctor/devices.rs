//! Whether it can be heard for which devices udev loads modules.

use std::io;

use super::Finding;
use crate::probe::Uevents;

const CHECK: &str = "uevents";

/// Listens for a moment.
pub(super) fn check() -> Finding {
    finding(Uevents::try_to_listen())
}

fn finding(heard: io::Result<()>) -> Finding {
    match heard {
        Ok(()) => Finding::ok(CHECK, "devices are heard of (netlink)"),
        Err(error) => Finding::note(
            CHECK,
            format!("devices are not heard of: {error}"),
            "for which device udev loads a module is not known",
            "run kmodtrace outside of what filters its system calls: it needs a NETLINK_KOBJECT_UEVENT socket",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::finding;
    use crate::doctor::Level;

    /// Check that a machine on which nobody may listen loses one feature, not tracing.
    #[test]
    fn devices_are_a_feature() {
        assert_eq!(finding(Ok(())).level, Level::Ok);
        let refused = finding(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!((refused.level, refused.limits_tracing), (Level::Note, false));
        assert!(refused.costs.is_some() && refused.fix.is_some());
    }
}
