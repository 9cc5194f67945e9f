//! The base image of a kernel line: its `vmlinuz`, and an initramfs with modules and programs of the distribution.
//!
//! It is packed once per set of packages, without compression, because an emulated guest unpacks slowly.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::kernels::Line;
use super::modules::{self, Depmod};
use super::packages::{Packages, partial, remove_dir, sha256_text};
use super::tree::Tree;

/// Increment this when a change of this file, or of the selection of modules, changes the content of images.
const RECIPE: u32 = 2;

/// Parts of the programs' packages that no scenario needs.
const NOT_PACKED: &[&str] = &["usr/share", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/perl5", "var"];

/// An image that is ready to boot.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    vmlinuz: PathBuf,
    base: PathBuf,
    facts: Facts,
}

/// Facts about an image. This file is written last, so its presence means that the image is complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    release: String,
    modules: usize,
    base_bytes: u64,
}

impl Image {
    /// The image of a line, from the cache or newly packed.
    pub(crate) fn prepare(root: &Path, line: &Line) -> Result<Self> {
        let kernel = Packages::kernel(root, line, false)?;
        let userland = Packages::userland(root, line.suite, false)?;
        let images = root.join("images");
        let dir = images.join(format!("{}-{}", line.name, digest(&kernel, &userland)?));
        if let Some(image) = Self::open(&dir)? {
            return Ok(image);
        }
        let staging = partial(&dir);
        remove_dir(&staging)?;
        fs::create_dir_all(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
        eprintln!("vm: packing the image of kernel {}", line.name);
        let facts = build(&kernel, &userland, &staging)?;
        let text = serde_json::to_string_pretty(&facts).context("cannot describe the image")?;
        fs::write(staging.join("image.json"), text).context("cannot describe the image")?;
        remove_outdated(&images, line.name)?;
        fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Self::open(&dir)?.with_context(|| format!("cannot find the packed image {}", dir.display()))
    }

    /// The kernel to boot.
    pub(crate) fn vmlinuz(&self) -> &Path {
        &self.vmlinuz
    }

    /// The base archive, to which the overlay of a run is appended.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The kernel release, as printed by `uname -r`.
    pub(crate) fn release(&self) -> &str {
        &self.facts.release
    }

    /// Number of modules in the image.
    pub(crate) fn modules(&self) -> usize {
        self.facts.modules
    }

    /// Size of the base archive.
    pub(crate) fn base_bytes(&self) -> u64 {
        self.facts.base_bytes
    }

    fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("image.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let facts =
            serde_json::from_str(&text).with_context(|| format!("cannot parse {}; remove it", path.display()))?;
        Ok(Some(Self { vmlinuz: dir.join("vmlinuz"), base: dir.join("base.cpio"), facts }))
    }
}

/// The digest of all inputs of an image, for its name.
fn digest(kernel: &Packages, userland: &Packages) -> Result<String> {
    let inputs =
        serde_json::to_string(&(RECIPE, &kernel.manifest, &userland.manifest)).context("cannot name the image")?;
    let mut digest = sha256_text(&inputs)?;
    digest.truncate(16);
    Ok(digest)
}

/// Removes all images with a name.
pub(crate) fn remove_outdated(images: &Path, wanted: &str) -> Result<()> {
    for entry in fs::read_dir(images).with_context(|| format!("cannot list {}", images.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", images.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if is_image_of(name, wanted) {
            remove_dir(&path)?;
        }
    }
    Ok(())
}

/// Whether a directory is named `LINE-DIGEST`. The name of a line may contain dashes.
fn is_image_of(name: &str, line: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(prefix, digest)| prefix == line && digest.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn build(kernel: &Packages, userland: &Packages, out: &Path) -> Result<Facts> {
    let release = kernel.manifest.release.clone().context("the kernel's manifest names no release")?;
    let scratch = out.join("unpacked");
    let (kernel_root, user_root, base) = (scratch.join("kernel"), scratch.join("user"), scratch.join("base"));
    for dir in [&kernel_root, &user_root, &base] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    kernel.unpack(&kernel_root)?;
    userland.unpack(&user_root)?;

    let boot = BootFiles::find(&kernel_root, &release)?;
    fs::rename(&boot.vmlinuz, out.join("vmlinuz")).context("cannot store the kernel")?;
    let (config, system_map) = (scratch.join("config"), scratch.join("System.map"));
    fs::copy(&boot.config, &config).context("cannot store the kernel's configuration")?;
    fs::copy(&boot.system_map, &system_map).context("cannot store the kernel's symbols")?;
    // Depending on its version, depmod uses lib or usr/lib: make both the same directory.
    fs::create_dir_all(base.join("usr/lib/modules")).context("cannot stage the modules")?;
    std::os::unix::fs::symlink("usr/lib", base.join("lib")).context("cannot stage the modules")?;
    fs::rename(&boot.modules, base.join("usr/lib/modules").join(&release)).context("cannot stage the modules")?;
    let modules = modules::reduce(&base, &release, &Depmod::from_userland(&user_root, &scratch)?)?;

    let mut tree = Tree::merged()?;
    tree.host_tree(&user_root, &|path| NOT_PACKED.contains(&path))?;
    tree.host_tree(&base, &|path| path == "lib")?;
    tree.host_file(&format!("boot/config-{release}"), &config)?;
    tree.host_file(&format!("boot/System.map-{release}"), &system_map)?;
    add_system_files(&mut tree)?;
    add_busybox_applets(&mut tree, &user_root)?;
    let archive = out.join("base.cpio");
    let file = fs::File::create(&archive).with_context(|| format!("cannot create {}", archive.display()))?;
    tree.pack(BufWriter::new(file))?;
    remove_dir(&scratch)?;
    let base_bytes = fs::metadata(&archive).context("cannot size the image")?.len();
    Ok(Facts { release, modules, base_bytes })
}

/// The files of a kernel package: below `/boot`, or in the modules directory if Debian splits the package.
struct BootFiles {
    vmlinuz: PathBuf,
    config: PathBuf,
    system_map: PathBuf,
    modules: PathBuf,
}

impl BootFiles {
    fn find(root: &Path, release: &str) -> Result<Self> {
        let modules = ["lib/modules", "usr/lib/modules"].map(|dir| root.join(dir).join(release));
        let modules = modules.into_iter().find(|dir| dir.is_dir()).context("the kernel package has no modules")?;
        let part = |name: &str| {
            let places = [root.join("boot").join(format!("{name}-{release}")), modules.join(name)];
            places.into_iter().find(|path| path.is_file()).with_context(|| format!("the kernel package has no {name}"))
        };
        Ok(Self { vmlinuz: part("vmlinuz")?, config: part("config")?, system_map: part("System.map")?, modules })
    }
}

/// Adds what an installed system has but no package contains: mount points, accounts, alternatives.
fn add_system_files(tree: &mut Tree) -> Result<()> {
    for dir in ["dev", "proc", "sys", "run", "root", "mnt", "etc/modprobe.d", "var/lib", "var/log", "home/alice"] {
        tree.directory(dir, 0o755)?;
    }
    tree.directory("tmp", 0o1777)?;
    tree.bytes(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n\
         alice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
    )?;
    tree.bytes("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\nalice:x:1000:\n")?;
    tree.bytes("etc/hostname", 0o644, "kmodtrace-guest\n")?;
    // Debian's default alternative is the nft variant. Both variants are available by their own names.
    for family in ["iptables", "ip6tables"] {
        for suffix in ["", "-restore", "-save"] {
            let name = format!("{family}{suffix}");
            if !tree.contains(&format!("usr/sbin/{family}-nft{suffix}")) {
                bail!("the iptables package has no {family}-nft{suffix}");
            }
            tree.symlink(&format!("etc/alternatives/{name}"), &format!("/usr/sbin/{family}-nft{suffix}"))?;
            tree.symlink(&format!("usr/sbin/{name}"), &format!("/etc/alternatives/{name}"))?;
        }
    }
    tree.symlink("bin/sh", "dash")?;
    for needed in ["sbin/modprobe", "sbin/iptables-legacy", "sbin/iptables-nft", "bin/dash", "bin/bash", "bin/busybox"]
    {
        if !tree.contains(needed) {
            bail!("the image lacks /{needed}");
        }
    }
    Ok(())
}

/// Adds links to busybox for every applet without a real program of that name.
fn add_busybox_applets(tree: &mut Tree, user_root: &Path) -> Result<()> {
    let busybox = ["bin/busybox", "usr/bin/busybox"].map(|path| user_root.join(path));
    let busybox = busybox.iter().find(|path| path.is_file()).context("the programs do not include busybox")?;
    let output = Command::new(busybox).arg("--list").output().context("cannot run the guest's busybox")?;
    let names = String::from_utf8(output.stdout).context("busybox lists names that are not UTF-8")?;
    for name in names.lines() {
        let taken = ["bin", "sbin"].iter().any(|dir| tree.contains(&format!("usr/{dir}/{name}")));
        if !taken {
            tree.symlink(&format!("usr/bin/{name}"), "/usr/bin/busybox")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of a line are distinguished from those of lines with a longer name, and from incomplete images.
    #[test]
    fn images_of_lines_are_distinguished() {
        assert!(is_image_of("6.1-f3a8ef12e899b0ea", "6.1"));
        assert!(is_image_of("6.1-cloud-663ae04922998f6d", "6.1-cloud"));
        assert!(!is_image_of("6.1-cloud-663ae04922998f6d", "6.1"));
        assert!(!is_image_of("6.12-3c16d46fd759b522", "6.1"));
        assert!(!is_image_of("6.1-f3a8ef12e899b0ea.partial", "6.1"));
    }
}
