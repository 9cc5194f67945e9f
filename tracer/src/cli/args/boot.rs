//! The option that selects the boot of captures.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::{
    capture::files::is_stdin,
    kernel::sysinfo::SystemInfo,
    output::escape_str,
    stream::{SeenBoot, boots, is_same_boot},
};

/// Maximum number of boots listed in an error.
const LISTED_MAX: usize = 8;

/// Digits of a boot id.
const ID_DIGITS: usize = 32;

/// Selects the boot of captures.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct BootArgs {
    /// Use only what was recorded in one boot of this machine: 0 the present one, -1 the one before, ..., or a boot id
    /// [default: all boots; without N: 0].
    #[arg(short, long, value_name = "N", num_args = 0..=1, default_missing_value = "0", allow_negative_numbers = true,
        value_parser = choice)]
    boot: Option<Choice>,
}

/// A boot, as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    /// So many boots before the present one.
    Back(usize),
    Id(String),
}

fn choice(text: &str) -> Result<Choice, String> {
    let back = text.strip_prefix('-').or((text == "0").then_some("0"));
    if let Some(number) = back.and_then(|number| number.parse().ok()) {
        return Ok(Choice::Back(number));
    }
    let digits = text.bytes().filter(|byte| *byte != b'-');
    if digits.clone().count() == ID_DIGITS && digits.clone().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Choice::Id(text.to_owned()));
    }
    Err("expected 0, -1, -2, ... or a boot id (before files, write --boot=0)".to_owned())
}

impl BootArgs {
    /// The id of the selected boot; `None` for all boots.
    pub(in crate::cli) fn boot_id(&self, paths: &[PathBuf]) -> anyhow::Result<Option<String>> {
        let Some(choice) = &self.boot else { return Ok(None) };
        let sysinfo = SystemInfo::default();
        let present = sysinfo.boot_id().context("cannot use --boot")?;
        let machine_id = sysinfo.machine_id().unwrap_or_default();
        let has_pipe = paths.iter().any(|path| is_stdin(path));
        selected(choice, &boots(paths), has_pipe, &present, machine_id.as_deref()).map(Some)
    }
}

fn selected(
    choice: &Choice,
    seen: &[SeenBoot],
    has_pipe: bool,
    present: &str,
    machine_id: Option<&str>,
) -> anyhow::Result<String> {
    let is_seen = |id: &str| has_pipe || seen.iter().any(|boot| is_same_boot(&boot.boot_id, id));
    match choice {
        Choice::Id(id) if is_seen(id) => Ok(id.clone()),
        Choice::Id(id) => bail!("cannot use --boot {id}: no capture is of that boot; {}", listed(seen)),
        Choice::Back(0) if is_seen(present) => Ok(present.to_owned()),
        Choice::Back(0) => {
            bail!("cannot use --boot: no capture is of the present boot of this machine; {}", listed(seen))
        }
        Choice::Back(_) if has_pipe => bail!("cannot use --boot -N with standard input: expected files, or a boot id"),
        Choice::Back(number) => {
            // A machine without an id is recognized by its present boot only.
            let is_here = |boot: &&SeenBoot| machine_id.is_some() && boot.machine_id.as_deref() == machine_id;
            let earlier: Vec<&SeenBoot> =
                seen.iter().filter(is_here).filter(|boot| !is_same_boot(&boot.boot_id, present)).collect();
            match earlier.len().checked_sub(*number).and_then(|at| earlier.get(at)) {
                Some(boot) => Ok(boot.boot_id.clone()),
                None => bail!(
                    "cannot use --boot -{number}: the captures have {} of this machine before the present one; {}",
                    crate::text::count(earlier.len() as u64, "boot", "boots"),
                    listed(seen)
                ),
            }
        }
    }
}

/// `they are of boots ID (lb1, since TIME), ...`.
fn listed(seen: &[SeenBoot]) -> String {
    if seen.is_empty() {
        return "no capture has a header".to_owned();
    }
    let last = seen.iter().rev().take(LISTED_MAX);
    let boot = |boot: &SeenBoot| {
        format!("{} ({}, since {:.0})", escape_str(&boot.boot_id), escape_str(&boot.host), boot.first)
    };
    let more = seen.len().saturating_sub(LISTED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("they are of {}{rest}", last.map(boot).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Choice, SeenBoot, choice, selected};
    use crate::stream::boots;

    fn seen() -> Vec<SeenBoot> {
        let captures = [("a", "m1", "01"), ("b", "m2", "02"), ("c", "m1", "03"), ("d", "m1", "04")];
        let directory = tempfile::tempdir().unwrap();
        for (boot, machine, day) in captures {
            let line = format!(
                r#"{{"seq":0,"time":"2026-11-{day}T00:00:00Z","boot_ns":1,"type":"header","schema":1,"tool":"kmodtrace 0.1.0","kernel":"6.1","kernel_version":"","arch":"x86_64","hostname":"{machine}\u001b","boot_id":"{boot}","machine_id":"{machine}","modprobe":"","realtime_minus_boot_ns":0,"clock_uncertainty_ns":0,"hooks":[],"filters":[]}}"#
            );
            // The order of names is not that of times.
            std::fs::write(directory.path().join(format!("{}.jsonl", 9 - day.parse::<u8>().unwrap())), line + "\n")
                .unwrap();
        }
        boots(&[directory.path().to_owned()])
    }

    /// Boots are counted back from the present one, of this machine only, in order of time.
    #[test]
    fn boot_counts_back_on_this_machine() {
        let boots: Vec<String> = seen().into_iter().map(|boot| boot.boot_id).collect();
        assert_eq!(boots, ["a", "b", "c", "d"]);
        let select = |choice, present: &str| selected(&choice, &seen(), false, present, Some("m1"));
        assert_eq!(select(Choice::Back(0), "d").unwrap(), "d");
        assert_eq!(select(Choice::Back(1), "d").unwrap(), "c");
        assert_eq!(select(Choice::Back(2), "d").unwrap(), "a");
        assert_eq!(select(Choice::Back(1), "new").unwrap(), "d");
        assert_eq!(select(Choice::Id("b".to_owned()), "d").unwrap(), "b");
        for (choice, present, part) in [
            (Choice::Back(3), "d", "2 boots of this machine before the present one"),
            (Choice::Back(0), "new", "no capture is of the present boot"),
            (Choice::Id("x".to_owned()), "d", "no capture is of that boot"),
        ] {
            let error = select(choice, present).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("d (m1\\x1b, since 2026-11-04"), "{error}");
        }
        assert!(selected(&Choice::Back(1), &seen(), false, "d", None).is_err());
        assert!(selected(&Choice::Back(1), &seen(), true, "d", Some("m1")).is_err());
        assert_eq!(selected(&Choice::Back(0), &[], true, "d", None).unwrap(), "d");
    }

    /// Numbers and ids are parsed; anything else is an error.
    #[test]
    fn boot_forms_are_parsed() {
        assert_eq!(choice("0"), Ok(Choice::Back(0)));
        assert_eq!(choice("-0"), Ok(Choice::Back(0)));
        assert_eq!(choice("-12"), Ok(Choice::Back(12)));
        for id in ["0123456789abcdef0123456789ABCDEF", "01234567-89ab-cdef-0123-456789abcdef"] {
            assert_eq!(choice(id), Ok(Choice::Id(id.to_owned())));
        }
        for bad in ["", "1", "x.jsonl", "--1", "0123456789abcdef", "-x"] {
            assert!(choice(bad).is_err(), "{bad}");
        }
    }
}
