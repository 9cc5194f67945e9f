//! Real programs: for everything they make the kernel load, the capture agrees with the kernel's own tracepoints.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::oracle_check::{text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Capture, Ctx, Output, ensure, equal};
use crate::oracle::loads;

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Extras, Need::Program("stress-ng"), Need::Program("mkfs.ext4")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "workload-stress-ng", fresh_boot: true, needs: NEEDS, run: stress },
    Scenario { name: "workload-every-file-system", fresh_boot: true, needs: NEEDS, run: file_systems },
];

/// The stressors of stress-ng, a few seconds each. A version or a kernel may lack some.
const STRESSORS: [&str; 6] = ["af-alg", "sctp", "dccp", "tun", "netlink-proc", "netlink-task"];

fn stress(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let mut ran = Vec::new();
    for stressor in STRESSORS {
        let option = format!("--{stressor}");
        let output = ctx.run(&["stress-ng", &option, "1", "--timeout", "4s", "--temp-path", "/tmp", "--quiet"])?;
        if output.code == 0 {
            ran.push(stressor);
        }
    }
    // Self tests continue in kernel threads.
    ctx.run(&["sleep", "3"])?.ok()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    let asked = with_oracle(&capture, &events)?;
    ensure(&format!("af-alg is among the stressors that ran: {ran:?}"), ran.contains(&"af-alg"))?;
    ensure("it caused a request", asked.iter().any(|name| name == "net-pf-38"))?;
    all_ended(&capture)
}

/// A file system, the command that creates an image, and the size of the image.
struct FileSystem {
    name: &'static str,
    mkfs: &'static [&'static str],
    image_mib: u64,
}

const fn made_by(name: &'static str, mkfs: &'static [&'static str], image_mib: u64) -> FileSystem {
    FileSystem { name, mkfs, image_mib }
}

const IMAGE: &str = "/tmp/image";

/// The directory from which some images are created.
const CONTENT: &str = "/tmp/content";

/// Every file system for which Debian has a program that creates it, and that a Debian kernel may support.
const FILE_SYSTEMS: &[FileSystem] = &[
    made_by("ext2", &["mkfs.ext2", "-q", "-F", IMAGE], 8),
    made_by("ext3", &["mkfs.ext3", "-q", "-F", IMAGE], 8),
    made_by("ext4", &["mkfs.ext4", "-q", "-F", IMAGE], 8),
    made_by("xfs", &["mkfs.xfs", "-q", "-f", IMAGE], 320),
    made_by("btrfs", &["mkfs.btrfs", "-q", "-f", IMAGE], 160),
    made_by("vfat", &["mkfs.vfat", IMAGE], 8),
    made_by("msdos", &["mkfs.msdos", IMAGE], 8),
    made_by("exfat", &["mkfs.exfat", IMAGE], 8),
    made_by("f2fs", &["mkfs.f2fs", "-q", "-f", IMAGE], 64),
    made_by("ntfs", &["mkfs.ntfs", "-q", "-F", "-f", IMAGE], 8),
    made_by("ntfs3", &["mkfs.ntfs", "-q", "-F", "-f", IMAGE], 8),
    made_by("minix", &["mkfs.minix", IMAGE], 8),
    made_by("nilfs2", &["mkfs.nilfs2", "-q", "-f", IMAGE], 160),
    made_by("reiserfs", &["mkfs.reiserfs", "-q", "-f", "-f", IMAGE], 40),
    made_by("jfs", &["mkfs.jfs", "-q", IMAGE], 16),
    made_by("udf", &["mkfs.udf", IMAGE], 8),
    made_by("cramfs", &["mkfs.cramfs", CONTENT, IMAGE], 0),
    made_by("squashfs", &["mksquashfs", CONTENT, IMAGE, "-quiet", "-no-progress", "-noappend"], 0),
    made_by("erofs", &["mkfs.erofs", IMAGE, CONTENT], 0),
    made_by("iso9660", &["genisoimage", "-quiet", "-o", IMAGE, CONTENT], 0),
];

/// The minimum number of mounted file systems for a meaningful test.
const LEAST_MOUNTED: usize = 12;

fn file_systems(ctx: &mut Ctx) -> Result<()> {
    fs::create_dir_all(CONTENT).with_context(|| format!("cannot create {CONTENT}"))?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.run(&["/sbin/modprobe", "loop"])?.ok()?;
    let mut mounted = BTreeSet::new();
    for file_system in FILE_SYSTEMS {
        if make(ctx, file_system)? && mount(ctx, file_system.name)?.code == 0 {
            mounted.insert(file_system.name);
            ctx.run(&["umount", "/mnt"])?.ok()?;
        }
    }
    ctx.run(&["sleep", "2"])?.ok()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;
    ensure(&format!("enough file systems were mounted: {mounted:?}"), mounted.len() >= LEAST_MOUNTED)?;
    ensure("modules were loaded for them", loads(&events).len() >= LEAST_MOUNTED)?;
    for request in capture.of_type("request").filter(|request| text(request, "/name").starts_with("fs-")) {
        equal(&format!("requester of {}", request["name"]), text(request, "/process/comm"), "mount")?;
        let name = text(request, "/name");
        let kind = name.trim_start_matches("fs-");
        let arguments = request["process"]["argv"].as_array().context("no arguments")?;
        ensure(&format!("{name} is in {arguments:?}"), arguments.iter().any(|argument| argument == kind))?;
    }
    all_ended(&capture)
}

/// Creates an image; returns false if there is no program for it.
fn make(ctx: &mut Ctx, file_system: &FileSystem) -> Result<bool> {
    const MIB: u64 = 1 << 20;
    let program = file_system.mkfs[0];
    if !["/usr/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(program).exists()) {
        println!("no {program} here");
        return Ok(false);
    }
    if Path::new(IMAGE).exists() {
        fs::remove_file(IMAGE).with_context(|| format!("cannot remove {IMAGE}"))?;
    }
    if file_system.image_mib > 0 {
        let image = File::create(IMAGE).with_context(|| format!("cannot create {IMAGE}"))?;
        image.set_len(file_system.image_mib * MIB).with_context(|| format!("cannot size {IMAGE}"))?;
    }
    Ok(ctx.run(file_system.mkfs)?.code == 0)
}

/// Mounts the image without a file-system-specific helper program.
fn mount(ctx: &mut Ctx, kind: &str) -> Result<Output> {
    ctx.run(&["mount", "-i", "-t", kind, "-o", "loop", IMAGE, "/mnt"])
}

/// Checks that every request has one known outcome.
fn all_ended(capture: &Capture) -> Result<()> {
    for request in capture.of_type("request") {
        let status = text(capture.result_of(request)?, "/status");
        ensure(&format!("the outcome of {request} is known"), status != "unknown" && !status.is_empty())?;
    }
    Ok(())
}
