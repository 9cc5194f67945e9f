//! Selects the modules of an image, and creates their `depmod` index.
//!
//! An image contains every module that a system call, a netlink message or an ioctl can request. Drivers of hardware that the
//! guest cannot have are omitted, which reduces the image to a third. Dependencies of selected modules are always included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Directories below `kernel/` that are included with their subdirectories.
const RECURSIVE: &[&str] = &[
    "arch/",
    "block/",
    "crypto/",
    "drivers/acpi/",
    "drivers/block/",
    "drivers/bluetooth/",
    "drivers/char/",
    "drivers/cpufreq/",
    "drivers/input/misc/",
    "drivers/isdn/",
    "drivers/md/",
    "drivers/net/arcnet/",
    "drivers/net/bonding/",
    "drivers/net/can/",
    "drivers/net/hamradio/",
    "drivers/net/ieee802154/",
    "drivers/net/ipvlan/",
    "drivers/net/netdevsim/",
    "drivers/net/ovpn/",
    "drivers/net/ppp/",
    "drivers/net/slip/",
    "drivers/net/team/",
    "drivers/net/vxlan/",
    "drivers/net/wireguard/",
    "drivers/net/wireless/virtual/",
    "drivers/tty/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/",
    "lib/",
    "mm/",
    "net/",
    "security/",
    "virt/",
];

/// Directories that are included without their subdirectories: the virtual network devices.
const OWN_FILES: &[&str] = &["drivers/net/"];

/// Module paths relative to the modules directory (`kernel/net/...`), each with its dependencies.
type Dependencies = BTreeMap<String, Vec<String>>;

/// The guest's own kmod, run on the host with the guest's dynamic loader.
#[derive(Debug)]
pub(crate) struct Depmod {
    loader: PathBuf,
    libraries: String,
    program: PathBuf,
}

impl Depmod {
    /// Finds kmod and its libraries in an unpacked userland. Creates a link named `depmod` in `scratch`.
    pub(crate) fn from_userland(userland: &Path, scratch: &Path) -> Result<Self> {
        let find = |candidates: &[&str]| {
            let found = candidates.iter().map(|path| userland.join(path)).find(|path| path.is_file());
            found.with_context(|| format!("{} has none of {}", userland.display(), candidates.join(", ")))
        };
        let loader = find(&[
            "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "usr/lib64/ld-linux-x86-64.so.2",
        ])?;
        let kmod = find(&["bin/kmod", "usr/bin/kmod"])?;
        // kmod selects its function by the name of the program.
        let program = scratch.join("depmod");
        std::os::unix::fs::symlink(&kmod, &program).context("cannot link depmod")?;
        let libraries =
            ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map(|dir| userland.join(dir).display().to_string());
        Ok(Self { loader, libraries: libraries.join(":"), program })
    }

    /// Indexes the modules of a release below `base`.
    fn run(&self, base: &Path, release: &str) -> Result<()> {
        let output = Command::new(&self.loader)
            .arg("--library-path")
            .arg(&self.libraries)
            .arg(&self.program)
            .arg("-b")
            .arg(base)
            .arg(release)
            .output()
            .context("cannot run depmod")?;
        if !output.status.success() {
            bail!("depmod failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// Removes all but the selected modules below `base/usr/lib/modules/RELEASE`, and indexes them. Returns their number.
pub(crate) fn reduce(base: &Path, release: &str, depmod: &Depmod) -> Result<usize> {
    let dir = base.join("usr/lib/modules").join(release);
    depmod.run(base, release)?;
    let index = dir.join("modules.dep");
    let text = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let dependencies = parse_dependencies(&text)?;
    let chosen = choose(&dependencies);
    for path in dependencies.keys().filter(|path| !chosen.contains(*path)) {
        fs::remove_file(dir.join(path)).with_context(|| format!("cannot remove module {path}"))?;
    }
    depmod.run(base, release)?;
    Ok(chosen.len())
}

/// Parses `modules.dep`: `path: dependency dependency`.
fn parse_dependencies(text: &str) -> Result<Dependencies> {
    let mut dependencies = Dependencies::new();
    for line in text.lines() {
        let (path, needed) = line.split_once(':').with_context(|| format!("invalid line in modules.dep: {line:?}"))?;
        dependencies.insert(path.to_owned(), needed.split_whitespace().map(str::to_owned).collect());
    }
    if dependencies.is_empty() {
        bail!("cannot use modules.dep: it is empty, so the kernel package has no modules");
    }
    Ok(dependencies)
}

fn choose(dependencies: &Dependencies) -> BTreeSet<String> {
    let mut chosen = BTreeSet::new();
    let mut open: Vec<&str> = dependencies.keys().map(String::as_str).filter(|path| is_wanted(path)).collect();
    while let Some(path) = open.pop() {
        if chosen.insert(path.to_owned()) {
            open.extend(dependencies.get(path).into_iter().flatten().map(String::as_str));
        }
    }
    chosen
}

fn is_wanted(path: &str) -> bool {
    let Some(path) = path.strip_prefix("kernel/") else { return false };
    let own = |dir: &str| path.strip_prefix(dir).is_some_and(|rest| !rest.contains('/'));
    RECURSIVE.iter().any(|dir| path.starts_with(dir)) || OWN_FILES.iter().any(|dir| own(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "kernel/net/sunrpc/xprtrdma/rpcrdma.ko: kernel/drivers/infiniband/core/ib_core.ko\n\
        kernel/drivers/infiniband/core/ib_core.ko:\n\
        kernel/drivers/infiniband/hw/mlx5/mlx5_ib.ko: kernel/drivers/infiniband/core/ib_core.ko\n\
        kernel/drivers/net/dummy.ko:\n\
        kernel/drivers/net/ethernet/intel/e1000/e1000.ko:\n";

    /// Dependencies of selected modules are included; other hardware drivers are not.
    #[test]
    fn dependencies_are_selected() {
        let chosen = choose(&parse_dependencies(INDEX).unwrap());
        let names: Vec<&str> = chosen.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["ib_core.ko", "dummy.ko", "rpcrdma.ko"]);
    }

    /// Modules that scenarios use are selected, compressed or not.
    #[test]
    fn modules_of_scenarios_are_selected() {
        for path in [
            "kernel/net/ipv4/netfilter/iptable_nat.ko",
            "kernel/net/tipc/tipc.ko.xz",
            "kernel/net/can/can.ko",
            "kernel/fs/udf/udf.ko",
            "kernel/crypto/twofish_generic.ko",
            "kernel/arch/x86/kvm/kvm-intel.ko",
            "kernel/drivers/cpufreq/acpi-cpufreq.ko",
            "kernel/drivers/net/tun.ko",
            "kernel/net/6lowpan/6lowpan.ko",
        ] {
            assert!(is_wanted(path), "{path}");
        }
        assert!(!is_wanted("kernel/drivers/gpu/drm/drm.ko") && !is_wanted("updates/dkms/x.ko"));
    }

    /// An empty or malformed index is an error.
    #[test]
    fn malformed_index_is_an_error() {
        assert!(parse_dependencies("").is_err());
        assert!(parse_dependencies("kernel/a.ko\n").is_err());
    }
}
