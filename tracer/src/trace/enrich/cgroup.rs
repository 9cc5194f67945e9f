//! Parses a cgroup path: systemd unit, session, container, pod.
//!
//! Pure. The path is chosen by the cgroup manager (systemd, a container engine, or a user in a delegated subtree), so only
//! names of exactly the known forms are accepted.

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// Its runtime: `docker`, `containerd`, `cri-o`, `podman`, `nerdctl`, `nspawn`, `machined`, `lxc`, `kubernetes` (the
    /// path does not contain the runtime) or `oci` (only an id is known).
    pub runtime: &'static str,
    /// Its id or name.
    pub id: String,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.runtime, self.id)
    }
}

/// The parts of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Unit of the system manager: `ssh.service`, `session-3.scope`, `user@1000.service`.
    pub unit: Option<String>,
    /// Unit of a user manager, below `user@<uid>.service`.
    pub user_unit: Option<String>,
    /// The slice that contains `unit`.
    pub slice: Option<String>,
    /// Id of the login session, as shown by `loginctl`.
    pub session: Option<String>,
    /// Innermost container.
    pub container: Option<Container>,
    /// Kubernetes pod uid.
    pub pod: Option<String>,
}

impl Placement {
    /// The most specific unit: of the user manager, else of the system manager.
    #[must_use]
    pub fn innermost_unit(&self) -> Option<&str> {
        self.user_unit.as_deref().or(self.unit.as_deref())
    }
}

/// Parses a path.
#[must_use]
pub fn place(path: &[u8]) -> Placement {
    // Unit and container names are ASCII.
    let names: Vec<&str> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .map(|name| std::str::from_utf8(name).unwrap_or_default())
        // systemd prefixes names that collide with kernel files with `_`.
        .map(|name| name.strip_prefix('_').unwrap_or(name))
        .collect();
    let mut placement = Placement::default();
    let rest = read_unit(&names, &mut placement);
    if placement.unit.as_deref().is_some_and(|unit| unit.starts_with("user@") && unit.ends_with(".service")) {
        placement.user_unit = rest.iter().find(|name| !is_slice(name)).filter(|name| is_unit(name)).map(own);
    }
    let mut before = None;
    for name in names {
        if let Some(container) = container(before, name, placement.pod.is_some()) {
            placement.container = Some(container);
        }
        if let Some(pod) = pod(name) {
            placement.pod = Some(pod);
        }
        before = Some(name);
    }
    placement
}

/// Parses slices and the unit; returns the remaining components.
fn read_unit<'a, 'b>(names: &'a [&'b str], placement: &mut Placement) -> &'a [&'b str] {
    let slices = names.iter().take_while(|name| is_slice(name)).count();
    let (slices, below) = names.split_at(slices);
    placement.slice = slices.last().map(own);
    let Some((unit, rest)) = below.split_first() else { return &[] };
    if !is_unit(unit) {
        return &[];
    }
    placement.unit = Some((*unit).to_owned());
    let session = unit.strip_prefix("session-").and_then(|name| name.strip_suffix(".scope"));
    placement.session = session.filter(|id| !id.is_empty()).map(str::to_owned);
    rest
}

fn own(name: &&str) -> String {
    (*name).to_owned()
}

fn is_slice(name: &str) -> bool {
    name.ends_with(".slice") && is_unit_name(name)
}

/// Whether a name is a unit that contains processes.
fn is_unit(name: &str) -> bool {
    const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix)) && is_unit_name(name)
}

/// `VALID_CHARS_WITH_AT` and the length of systemd's unit names.
fn is_unit_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte);
    name.len() < 256 && !name.starts_with('.') && name.bytes().all(is_valid)
}

/// Scopes named `<prefix><id>.scope` by a container engine.
const SCOPES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "nerdctl"),
];

/// The container of a directory name.
fn container(before: Option<&str>, name: &str, in_pod: bool) -> Option<Container> {
    let some = |runtime, id: &str| Some(Container { runtime, id: id.to_owned() });
    let scope = name.strip_suffix(".scope");
    for (prefix, runtime) in SCOPES {
        let id = scope.unwrap_or(name).strip_prefix(prefix);
        // Podman in a service uses `libpod-payload-<id>`, without `.scope`.
        let id = id.map(|id| if runtime == "podman" { id.strip_prefix("payload-").unwrap_or(id) } else { id });
        if let Some(id) = id.filter(|id| is_id(id)) {
            return some(runtime, id);
        }
    }
    // containerd with systemd names but the cgroupfs driver: `<slice>:cri-containerd:<id>`.
    if let Some((_, id)) = name.split_once(":cri-containerd:").filter(|(_, id)| is_id(id)) {
        return some("containerd", id);
    }
    if is_id(name) {
        let runtime = match before {
            Some("docker") => "docker",
            _ if in_pod => "kubernetes",
            _ => "oci",
        };
        return some(runtime, name);
    }
    if let Some(machine) = name.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service")) {
        return some("nspawn", &unescape(machine)?);
    }
    if let Some(machine) = scope.and_then(|name| name.strip_prefix("machine-")) {
        return some("machined", &unescape(machine)?);
    }
    let lxc = match before {
        Some("lxc" | "lxc.payload") => Some(name),
        _ => name.strip_prefix("lxc.payload."),
    };
    lxc.filter(|name| is_name(name)).and_then(|name| some("lxc", name))
}

/// The uid in the name of a pod's directory: `pod<uid>` or `<anything>-pod<uid with _ for ->.slice`.
fn pod(name: &str) -> Option<String> {
    let uid = match name.split_once(".slice") {
        // `:cri-containerd:<id>` may follow the slice.
        Some((slice, _)) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    is_pod_uid(&uid).then_some(uid)
}

/// A UUID, or the 32 digits of a hash for static pods.
fn is_pod_uid(uid: &str) -> bool {
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_hex = uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    is_hex && (groups == [8, 4, 4, 4, 12] || groups == [32])
}

/// Container ids have 64 hexadecimal digits.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Names of LXC containers and machines, chosen by users.
fn is_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() < 256 && name.bytes().all(is_valid) && name.bytes().any(|byte| byte != b'.')
}

/// Decodes `\x2d` of systemd. `None` if the result is not a valid name.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split("\\x");
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        plain.push(char::from(byte));
        plain.push_str(part.get(2..)?);
    }
    is_name(&plain).then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Placement, place};

    const ID: &str = "3f1d9a0c5e7b8a6d4c2e1f0b9a8d7c6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c";
    const OTHER: &str = "aaaabbbbccccddddeeeeffff00001111222233334444555566667777888899990";
    const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    /// The expected unit, user unit, container and pod of a path. `ID` and `POD` stand for real ones.
    type Row = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>, bool);

    const ROWS: &[Row] = &[
        // systemd
        ("/", None, None, None, false),
        ("/init.scope", Some("init.scope"), None, None, false),
        ("/system.slice/ssh.service", Some("ssh.service"), None, None, false),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None, None, false),
        ("/system.slice/systemd-udevd.service/udev", Some("systemd-udevd.service"), None, None, false),
        ("/system.slice/_cpu.service", Some("cpu.service"), None, None, false),
        ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None, None, false),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            Some("user@1000.service"),
            Some("init.scope"),
            None,
            false,
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-term\\x2dx-42.scope",
            Some("user@1000.service"),
            Some("app-gnome-term\\x2dx-42.scope"),
            None,
            false,
        ),
        // Docker: both drivers, rootless, version 1
        ("/system.slice/docker-ID.scope", Some("docker-ID.scope"), None, Some("docker:ID"), false),
        ("/docker/ID", None, None, Some("docker:ID"), false),
        ("/docker/ID/init", None, None, Some("docker:ID"), false),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope",
            Some("user@1000.service"),
            Some("docker-ID.scope"),
            Some("docker:ID"),
            false,
        ),
        // Podman: rootful, rootless, in a pod, in a service, its monitor
        ("/machine.slice/libpod-ID.scope/container", Some("libpod-ID.scope"), None, Some("podman:ID"), false),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            Some("user@1000.service"),
            Some("libpod-ID.scope"),
            Some("podman:ID"),
            false,
        ),
        (
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            Some("libpod-ID.scope"),
            None,
            Some("podman:ID"),
            false,
        ),
        ("/system.slice/web.service/libpod-payload-ID", Some("web.service"), None, Some("podman:ID"), false),
        ("/libpod_parent/libpod-ID", None, None, Some("podman:ID"), false),
        ("/machine.slice/libpod-conmon-ID.scope", Some("libpod-conmon-ID.scope"), None, None, false),
        // Kubernetes: both drivers, containerd and CRI-O, static pods, nodes that are containers
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            Some("cri-containerd-ID.scope"),
            None,
            Some("containerd:ID"),
            true,
        ),
        (
            "/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope/container",
            Some("crio-ID.scope"),
            None,
            Some("cri-o:ID"),
            true,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/docker-ID.scope",
            Some("docker-ID.scope"),
            None,
            Some("docker:ID"),
            true,
        ),
        ("/kubepods/burstable/podPOD/ID", None, None, Some("kubernetes:ID"), true),
        ("/kubepods/podPOD/ID", None, None, Some("kubernetes:ID"), true),
        (
            "/system.slice/containerd.service/kubepods-burstable-podPOD_.slice:cri-containerd:ID",
            Some("containerd.service"),
            None,
            Some("containerd:ID"),
            true,
        ),
        (
            "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods-podPOD_.slice/cri-containerd-ID.scope",
            Some("docker-OTHER.scope"),
            None,
            Some("containerd:ID"),
            true,
        ),
        ("/docker/OTHER/kubelet/kubepods/besteffort/podPOD/ID", None, None, Some("kubernetes:ID"), true),
        // containerd without Kubernetes, other parents
        ("/system.slice/nerdctl-ID.scope", Some("nerdctl-ID.scope"), None, Some("nerdctl:ID"), false),
        ("/default/ID", None, None, Some("oci:ID"), false),
        ("/ecs/0123456789abcdef/ID", None, None, Some("oci:ID"), false),
        // Machines and LXC
        (
            "/machine.slice/systemd-nspawn@web\\x2d1.service/payload",
            Some("systemd-nspawn@web\\x2d1.service"),
            None,
            Some("nspawn:web-1"),
            false,
        ),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt",
            Some("machine-qemu\\x2d1\\x2dvm.scope"),
            None,
            Some("machined:qemu-1-vm"),
            false,
        ),
        ("/lxc.payload.web/system.slice/ssh.service", None, None, Some("lxc:web"), false),
        ("/lxc.payload/web", None, None, Some("lxc:web"), false),
        ("/lxc/web", None, None, Some("lxc:web"), false),
        ("/lxc.monitor.web", None, None, None, false),
        // Above the root of a cgroup namespace
        ("/../../system.slice/docker-ID.scope", None, None, Some("docker:ID"), false),
        // Names that only look like it
        ("/docker", None, None, None, false),
        ("/docker/../ID0", None, None, None, false),
        ("/system.slice/docker-abc.scope", Some("docker-abc.scope"), None, None, false),
        ("/system.slice/docker-.scope", Some("docker-.scope"), None, None, false),
        ("/system.slice/docker.service", Some("docker.service"), None, None, false),
        ("/kubepods/pod../x", None, None, None, false),
        ("/lxc/..", None, None, None, false),
        ("/.service", None, None, None, false),
        ("/system.slice/a b.service", None, None, None, false),
        ("/system.slice/\u{202e}x.service", None, None, None, false),
        ("/machine.slice/machine-\\x1b\\x5b.scope", Some("machine-\\x1b\\x5b.scope"), None, None, false),
        ("/machine.slice/machine-\\xzz.scope", Some("machine-\\xzz.scope"), None, None, false),
    ];

    /// Each real or hostile path gives exactly the expected parts.
    #[test]
    fn path_of_each_manager_gives_its_parts() {
        let other = &OTHER[..64];
        for (path, unit, user_unit, container, is_pod) in ROWS {
            let fill = |text: &str| {
                let text = text.replace("OTHER", other).replace("ID", ID);
                text.replace("POD_", &POD.replace('-', "_")).replace("POD", POD)
            };
            let found = place(fill(path).as_bytes());
            assert_eq!(found.unit, unit.map(fill), "unit of {path}");
            assert_eq!(found.user_unit, user_unit.map(fill), "user unit of {path}");
            assert_eq!(found.container.map(|it| it.to_string()), container.map(fill), "container of {path}");
            assert_eq!(found.pod.as_deref(), is_pod.then_some(POD), "pod of {path}");
        }
    }

    /// A static pod has a hash as its uid.
    #[test]
    fn path_of_static_pod_gives_its_hash() {
        let uid = "0123456789abcdef0123456789abcdef";
        assert_eq!(place(format!("/kubepods/burstable/pod{uid}").as_bytes()).pod.as_deref(), Some(uid));
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
        assert_eq!(place(slice.as_bytes()).pod.as_deref(), Some(uid));
    }

    /// A session scope gives its slice and session id.
    #[test]
    fn path_of_session_gives_slice_and_id() {
        let found = place(b"/user.slice/user-1000.slice/session-c2.scope");
        assert_eq!((found.slice.as_deref(), found.session.as_deref()), (Some("user-1000.slice"), Some("c2")));
        let found = place(b"/system.slice/cron.service");
        assert_eq!((found.slice.as_deref(), found.session), (Some("system.slice"), None));
        assert_eq!(place(b"/user.slice/session-.scope").session, None);
    }

    /// The unit of the user manager takes precedence over the system unit.
    #[test]
    fn path_with_two_units_prefers_the_users() {
        let found = place(b"/user.slice/user-1.slice/user@1.service/app.slice/term.scope");
        assert_eq!(found.innermost_unit(), Some("term.scope"));
        assert_eq!(place(b"/system.slice/a.service").innermost_unit(), Some("a.service"));
    }

    /// A path that is not ASCII gives no unit.
    #[test]
    fn path_that_is_not_ascii_gives_nothing() {
        assert_eq!(place(b"/system.slice/\xff.service").unit, None);
        assert_eq!(place(b"\xff/\xfe"), Placement::default());
    }

    proptest! {
        /// Any bytes are accepted, and all parts are printable.
        #[test]
        fn any_bytes_as_path_give_printable_parts(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let found = place(&bytes);
            let container = found.container.map(|it| it.to_string());
            for text in [found.unit, found.user_unit, found.slice, found.session, found.pod, container].into_iter().flatten() {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", text);
            }
        }
    }
}
