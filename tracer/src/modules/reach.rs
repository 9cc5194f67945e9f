//! Who can cause a request on this system, and what that depends on.

use super::{
    families::{Access, Family},
    machine::Machine,
};
use crate::{
    event::Text,
    kernel::device_nodes::{DeviceNode, Openers},
};

/// The users that can cause a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// The class of users.
    pub access: Access,
    /// The users in words: `anyone`, `members of the group kvm`.
    pub who: String,
    /// The setting or device node of this system that decides; `None` if none does, or it is unknown.
    pub why: Option<String>,
}

impl Reach {
    fn new(access: Access) -> Self {
        Self { access, who: access.words().to_owned(), why: None }
    }

    fn root(why: impl Into<String>) -> Self {
        Self { access: Access::Root, who: "root".to_owned(), why: Some(why.into()) }
    }

    /// The users that can cause a request for an alias of a family on this system.
    #[must_use]
    pub fn of(alias: &Text, family: &Family, machine: &Machine) -> Self {
        if let Some(number) = device_number(alias) {
            return by_device(number, family, machine);
        }
        let is_ldisc = family.pattern.starts_with("tty-ldisc-");
        match (family.access, machine.user_namespaces) {
            (Access::Anyone, _) if is_ldisc && machine.ldisc_autoload == Some(false) => {
                Self::root("dev.tty.ldisc_autoload is 0, so the request needs CAP_SYS_MODULE")
            }
            (Access::UserNamespace, limit) => by_namespace(limit, machine),
            (access, _) => Self::new(access),
        }
    }

    /// The users and the reason in one text.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.why {
            Some(why) => format!("{} ({why})", self.who),
            None => self.who.clone(),
        }
    }

    /// Whether a user other than root can cause the request: if it takes a device node, one is known to be open to some.
    #[must_use]
    pub fn is_for_users(&self) -> bool {
        match self.access {
            Access::Root => false,
            Access::DeviceNode => self.why.is_some(),
            Access::UserNamespace | Access::Anyone => true,
        }
    }
}

/// The number of the device whose opening asks for an alias: `char-major-10-200`, and on a second try `char-major-10`.
fn device_number(alias: &Text) -> Option<(u32, Option<u32>)> {
    let text = std::str::from_utf8(alias.as_bytes()).ok()?.replace('_', "-");
    let mut numbers = text.strip_prefix("char-major-")?.split('-');
    let major = numbers.next()?.parse().ok()?;
    match numbers.next() {
        None | Some("*") => Some((major, None)),
        Some(minor) => Some((major, Some(minor.parse().ok()?))),
    }
}

fn by_device((major, minor): (u32, Option<u32>), family: &Family, machine: &Machine) -> Reach {
    let Some(nodes) = &machine.nodes else {
        return Reach::new(Access::DeviceNode.min(family.access));
    };
    let Some(node) = nodes.widest(major, minor) else {
        let number = minor.map_or_else(|| major.to_string(), |minor| format!("{major}:{minor}"));
        return Reach::root(format!("/dev has no node {number}"));
    };
    let DeviceNode { path, mode, openers, .. } = node;
    let why = Some(format!("{} has mode {mode:04o}", path.display()));
    let (access, who) = match openers {
        Openers::Anyone => (Access::Anyone, Access::Anyone.words().to_owned()),
        Openers::Group(group) => (Access::DeviceNode, format!("members of the group {group}")),
        Openers::Listed => (Access::DeviceNode, "users in its access control list".to_owned()),
        Openers::User(uid) => (Access::DeviceNode, format!("the user with uid {uid}")),
        Openers::Root => (Access::Root, "root".to_owned()),
    };
    Reach { access, who, why }
}

fn by_namespace(for_anyone: Option<bool>, machine: &Machine) -> Reach {
    match (for_anyone, &machine.user_namespace_limit) {
        (Some(true), _) => Reach { why: Some("any user on this host".to_owned()), ..Reach::new(Access::UserNamespace) },
        (Some(false), Some(limit)) if limit.has_exceptions => {
            Reach { why: Some(limit.why.clone()), ..Reach::new(Access::UserNamespace) }
        }
        (Some(false), Some(limit)) => Reach::root(limit.why.clone()),
        (Some(false), None) => Reach::root("created only by root on this host"),
        (None, _) => Reach::new(Access::UserNamespace),
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Machine, Reach};
    use crate::{
        event::Text,
        kernel::device_nodes::DeviceNodes,
        modules::{families, machine::NamespaceLimit},
    };

    fn reach(alias: &str, machine: &Machine) -> Reach {
        let alias = Text::from(alias);
        Reach::of(&alias, families::family(&alias).unwrap(), machine)
    }

    /// Who may open a device decides, not its number; without a node only root can ask.
    #[test]
    fn device_node_decides() {
        let nodes = DeviceNodes::of(&[
            (10, 200, "/dev/net/tun", 0o666, "root"),
            (10, 223, "/dev/uinput", 0o600, "root"),
            (10, 238, "/dev/vhost-net", 0o660, "kvm"),
            (116, 1, "/dev/snd/seq", 0o660, "audio"),
        ]);
        let machine = Machine { nodes: Some(nodes), ..Machine::default() };
        let described = |alias: &str| {
            let found = reach(alias, &machine);
            (found.access, found.describe())
        };
        assert_eq!(described("char-major-10-200"), (Access::Anyone, "anyone (/dev/net/tun has mode 0666)".to_owned()));
        assert_eq!(described("char_major_10_223"), (Access::Root, "root (/dev/uinput has mode 0600)".to_owned()));
        let vhost = "members of the group kvm (/dev/vhost-net has mode 0660)";
        assert_eq!(described("char-major-10-238"), (Access::DeviceNode, vhost.to_owned()));
        assert_eq!(described("char-major-116-1").0, Access::DeviceNode);
        assert_eq!(described("char-major-116").0, Access::DeviceNode);
        assert_eq!(described("char-major-10-9"), (Access::Root, "root (/dev has no node 10:9)".to_owned()));
        assert!(reach("char-major-10-238", &machine).is_for_users());
        let unknown = reach("char-major-10-200", &Machine::default());
        assert!(unknown.access == Access::DeviceNode && !unknown.is_for_users(), "{unknown:?}");
    }

    /// Line disciplines need a privilege where the setting requires it.
    #[test]
    fn line_discipline_follows_its_setting() {
        for (setting, access) in [(None, Access::Anyone), (Some(true), Access::Anyone), (Some(false), Access::Root)] {
            let found = reach("tty-ldisc-1", &Machine { ldisc_autoload: setting, ..Machine::default() });
            assert_eq!((found.access, found.why.is_some()), (access, setting == Some(false)));
        }
    }

    /// Without user namespaces for users, only root can ask; with an exception for some programs, these can.
    #[test]
    fn user_namespaces_follow_their_limit() {
        let with = |user_namespaces, limit: Option<(&str, bool)>| {
            let limit = limit.map(|(why, has_exceptions)| NamespaceLimit { why: why.to_owned(), has_exceptions });
            reach("fs-xfs", &Machine { user_namespaces, user_namespace_limit: limit, ..Machine::default() })
        };
        assert_eq!(with(Some(true), None).describe(), "root of a user namespace (any user on this host)");
        assert_eq!(with(None, None).access, Access::UserNamespace);
        let limited = with(Some(false), Some(("user.max_user_namespaces is 0", false)));
        assert_eq!(
            (limited.access, limited.describe()),
            (Access::Root, "root (user.max_user_namespaces is 0)".to_owned())
        );
        assert_eq!(with(Some(false), Some(("it takes a profile", true))).access, Access::UserNamespace);
    }
}
