//! What the tracker asks of the world, answered by this machine.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracer_ebpf::wire;

use super::knowledge::Knowledge;
use crate::{
    enrich::{process as from_wire, script, stack, user_stack::UserSymbols, users::Users},
    event::{Ancestor, Frame, Process, ProcessId, Text},
    explain::{self, Resolution, Resolver},
    kernel::{
        clock::ClockTriple,
        facts::Facts,
        kallsyms::{Kallsyms, KallsymsError},
        process, taints,
    },
    probe::Addresses,
};

/// Facts about this machine, kept as long as they hold.
pub struct Host {
    root: PathBuf,
    kallsyms: Option<Kallsyms>,
    /// Modules came or went since the symbols were read.
    stale: bool,
    users: Users,
    user_symbols: Option<UserSymbols>,
    /// Made when first needed: it runs modprobe.
    resolver: Option<Resolver>,
    resolutions: HashMap<Text, Resolution>,
    /// Why there is none: said once, not for every request.
    complaint: Option<String>,
    /// When the files that answers come from were looked at: those of users, and those of modprobe.
    users_looked: Option<Instant>,
    resolver_looked: Option<Instant>,
}

/// Files are looked at again after this. It is shorter than a person takes to change one and to try, and spares a storm
/// tens of system calls a request.
const FRESH: Duration = Duration::from_millis(20);

/// Where modprobe cannot be asked, it is asked again after this: it costs two processes.
const RETRY: Duration = Duration::from_secs(1);

/// Names an attacker can make up without end: beyond this many, answers are forgotten.
const RESOLUTIONS_LIMIT: usize = 4096;

/// Parents among which a script is looked for.
const SCRIPT_GENERATIONS: usize = 4;

impl Host {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            kallsyms: None,
            stale: false,
            users: Users::new(root),
            user_symbols: None,
            resolver: None,
            resolutions: HashMap::new(),
            complaint: None,
            users_looked: None,
            resolver_looked: None,
        }
    }

    /// Whether the kernel's symbols were read.
    pub(super) fn has_symbols(&self) -> bool {
        self.kallsyms.is_some()
    }

    /// Reads the kernel's symbols; what programs need to know of them.
    pub(super) fn read_symbols(&mut self) -> Result<Addresses, KallsymsError> {
        let kallsyms = Kallsyms::load_from(&self.root)?;
        let addresses = Addresses::new(&kallsyms);
        self.kallsyms = Some(kallsyms);
        Ok(addresses)
    }

    /// Says which script the nearest interpreter runs.
    fn find_script(&self, process: &Process, ancestors: &mut [Ancestor]) {
        // The nearest is what a person looks for; a storm must not wait for all.
        for ancestor in ancestors.iter_mut().take(SCRIPT_GENERATIONS) {
            ancestor.script = script::script(&self.root, ancestor);
            if ancestor.script.is_some() {
                let line = script::line(&self.root, ancestor);
                // A shell goes on when its command has ended.
                ancestor.script_line = line.filter(|_| process::is_alive(process.id()));
                return;
            }
        }
    }

    /// Gives user stacks names from now on.
    pub fn name_user_stacks(&mut self) {
        self.user_symbols = Some(UserSymbols::new());
    }

    /// Makes sure that the answers are those of the present configuration; false when there are none.
    fn refresh_resolver(&mut self) -> bool {
        let wait = if self.resolver.is_some() { FRESH } else { RETRY };
        if self.resolver_looked.is_some_and(|looked| looked.elapsed() < wait) {
            return self.resolver.is_some();
        }
        let refreshed = match &mut self.resolver {
            Some(resolver) => resolver.refresh(),
            None => Resolver::installed(&Facts::new(&self.root)).map(|resolver| {
                self.resolver = Some(resolver);
                true
            }),
        };
        self.resolver_looked = Some(Instant::now());
        match refreshed {
            Ok(changed) => {
                if changed || self.resolutions.len() > RESOLUTIONS_LIMIT {
                    self.resolutions.clear();
                }
                true
            }
            Err(error) => {
                let complaint = format!("{:#}", anyhow::Error::from(error));
                if self.complaint.as_ref() != Some(&complaint) {
                    log::warn!("{complaint}");
                    self.complaint = Some(complaint);
                }
                self.resolver.is_some()
            }
        }
    }
}

/// The frames that were captured.
fn frames(stack: &wire::Stack) -> &[u64] {
    let count = usize::try_from(stack.count).unwrap_or(usize::MAX).min(stack.frames.len());
    &stack.frames[..count]
}

impl Knowledge for Host {
    fn process(&mut self, context: &wire::Context) -> (Process, Vec<Ancestor>, bool) {
        if self.users_looked.is_none_or(|looked| looked.elapsed() >= FRESH) {
            if let Err(error) = self.users.refresh() {
                log::debug!("user names cannot be read: {error}");
            }
            self.users_looked = Some(Instant::now());
        }
        let (mut ancestors, truncated) = from_wire::ancestors(context);
        let process = from_wire::process(context, &self.users);
        self.find_script(&process, &mut ancestors);
        (process, ancestors, truncated)
    }

    fn kernel_stack(&mut self, stack: &wire::Stack) -> Vec<Frame> {
        if let Some(kallsyms) = &mut self.kallsyms
            && self.stale
        {
            // Reading all symbols takes the kernel a tenth of a second: only for frames that may lie in a module.
            let may_have_moved = |address: &u64| kallsyms.resolve(*address).is_none_or(|it| it.module.is_some());
            if frames(stack).iter().any(may_have_moved) {
                match kallsyms.refresh(true) {
                    Ok(_) => self.stale = false,
                    Err(error) => log::debug!("kernel symbols cannot be read again: {error}"),
                }
            }
        }
        stack::kernel_frames(self.kallsyms.as_ref(), frames(stack))
    }

    fn user_stack(&mut self, process: ProcessId, stack: &wire::Stack) -> Vec<Frame> {
        match &self.user_symbols {
            // Another process may have its id by now, and other files.
            Some(symbols) if process::is_alive(process) => symbols.frames(process.pid, frames(stack)),
            _ => stack::user_frames(frames(stack)),
        }
    }

    fn plan(&mut self, name: &Text) -> Option<Resolution> {
        if !self.refresh_resolver() {
            return None;
        }
        if let Some(known) = self.resolutions.get(name) {
            return Some(known.clone());
        }
        let resolution = self.resolver.as_ref()?.resolve(name.as_bytes());
        self.resolutions.insert(name.clone(), resolution.clone());
        Some(resolution)
    }

    fn explain(&mut self, name: &Text) -> Option<String> {
        explain::explain(name)
    }

    fn effect(&mut self, module: &str) -> Option<String> {
        explain::effect(module, &self.root)
    }

    fn is_loaded(&mut self, module: &str) -> bool {
        // sysfs spells every name with underscores.
        let name = module.replace('-', "_");
        !name.contains('/') && self.root.join("sys/module").join(name).join("initstate").exists()
    }

    fn is_alive(&mut self, process: ProcessId) -> bool {
        process::is_alive(process)
    }

    fn is_thread_alive(&mut self, process: ProcessId, tid: u32) -> bool {
        process::is_thread_alive(process, tid)
    }

    fn udev_was_idle(&mut self) -> Option<u64> {
        // The time before the look: what comes later is heard.
        let now_ns = ClockTriple::now().boot_ns;
        // udev keeps this file while it has events to deal with (systemd: udev_queue_get_queue_is_empty).
        let is_busy = self.root.join("run/udev/queue").try_exists().unwrap_or(true);
        (!is_busy).then_some(now_ns)
    }

    fn modules_changed(&mut self) {
        self.stale = true;
    }

    fn taints(&mut self, bits: u64) -> String {
        taints::letters(bits)
    }
}
