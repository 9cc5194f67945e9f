//! Memory and processor time of a process and its descendants, from proc(5).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// The fields of /proc/PID/stat that are used here.
struct Stat {
    parent: i32,
    /// In user mode and in the kernel, ticks.
    ticks: u64,
}

/// The process and its descendants.
pub(super) fn family(root: Pid) -> Result<Vec<Pid>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let name = entry.context("cannot list /proc")?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) {
            // The process may have exited since the directory was listed.
            if let Ok(stat) = stat(pid) {
                parents.insert(pid, stat.parent);
            }
        }
    }
    let mut family = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(family.into_iter().filter_map(Pid::from_raw).collect())
}

/// Resident memory as proportional set size (`Pss`), KiB.
pub(super) fn resident_kib(root: Pid) -> Result<f64> {
    let mut total = 0.0;
    for pid in family(root)? {
        let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
        let text = match fs::read_to_string(&path) {
            // A descendant may have exited meanwhile.
            Err(_) if pid != root => continue,
            text => text.with_context(|| format!("cannot read {path}"))?,
        };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        let number = line.trim().trim_end_matches(" kB");
        total += number.parse::<f64>().with_context(|| format!("invalid Pss {line:?}"))?;
    }
    Ok(total)
}

/// Processor time in milliseconds, with the resolution of the kernel's ticks.
pub(super) fn cpu_ms(root: Pid) -> Result<f64> {
    // USER_HZ, include/asm-generic/param.h.
    const MS_PER_TICK: u32 = 10;
    let mut ticks = 0;
    for pid in family(root)? {
        ticks += match stat(pid.as_raw_nonzero().get()) {
            // The time of an exited descendant is not counted. No tracer starts processes while it is idle.
            Err(_) if pid != root => continue,
            stat => stat?.ticks,
        };
    }
    Ok(f64::from(u32::try_from(ticks).context("the processor time does not fit")?) * f64::from(MS_PER_TICK))
}

fn stat(pid: i32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("cannot read stat")?;
    parse(&text).with_context(|| format!("invalid stat {text:?}"))
}

/// Parses the fields after the name, which is in parentheses and may contain any bytes.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 4, 14 and 15 of proc(5); the state, field 3, is the first here.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: ticks(14)? + ticks(15)? })
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::{cpu_ms, family, parse, resident_kib};

    /// A name that looks like fields does not shift the fields.
    #[test]
    fn stat_with_hostile_name_is_parsed() {
        let stat = parse("7 (x) S 9) R 3 7 7 0 -1 4194304 99 0 0 0 12 30 0 0 20 0 1 0 5 6 7").unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 42));
        assert!(parse("7 (x) S").is_none() && parse("").is_none());
    }

    /// The family of this process contains itself and its child, and has memory and processor time.
    #[test]
    fn family_contains_descendants() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let all = family(getpid()).unwrap();
        assert!(all.contains(&getpid()) && all.contains(&rustix::process::Pid::from_child(&child)), "{all:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(resident_kib(getpid()).unwrap() > 100.0);
        assert!(cpu_ms(getpid()).unwrap() >= 0.0);
    }
}
