//! The tracker's module part: loads, inits, failures, unloads.

use std::str::from_utf8;

use tracer_ebpf::wire;

use super::{
    Tracker,
    environment::Environment,
    origin,
    outcome::{Failure, errno_name},
};
use crate::{
    chain::is_kmod_tool,
    event::{
        Ancestor, Attempt, Attribution, Behalf, Body, Init, Load, Origin, Process, ProcessId, Reason, Request,
        RequestId, Text, Unload,
    },
    glob,
    modprobe::lossless,
    trace::enrich::process::{self as from_wire, nul_text, process_id, request_id},
};

/// The rule that attributes a request of a kernel thread to the task that created the thread.
const KTHREAD_RULE: &str = "kthread-creator";

/// System call numbers in records.
const INIT_MODULE: u32 = wire::Syscall::InitModule as u32;
const DELETE_MODULE: u32 = wire::Syscall::DeleteModule as u32;

impl<K: Environment> Tracker<K> {
    /// Builds the request event of a record.
    pub(super) fn request_body(&mut self, record: &wire::Request, name: Text) -> Request {
        // This comes first: the mapped files can be read only while the requester is blocked.
        let user_stack = self.environment.user_stack(process_id(&record.context.process), &record.user_stack);
        let (process, ancestors, ancestors_truncated) = self.process(&record.context, &record.owner);
        let behalf = behalf(record, &process);
        let (parent_request, parent_attribution) = match request_id(&record.owner.request) {
            Some(parent) => (Some(parent), Some(Attribution::exact())),
            None => match behalf.as_ref().filter(|behalf| behalf.is_recent()).and_then(|behalf| behalf.request) {
                Some(parent) => (Some(parent), Some(Attribution::inferred(KTHREAD_RULE))),
                None => (None, None),
            },
        };
        let in_init = nul_text(&record.in_init);
        let stack = self.environment.kernel_stack(&record.kernel_stack);
        Request {
            explanation: self.environment.explain(&name, &stack),
            name,
            wait: None,
            process,
            ancestors,
            ancestors_truncated,
            syscall: from_wire::syscall(&record.context),
            syscall_abi: from_wire::syscall_abi(&record.context),
            stack,
            user_stack,
            parent_request,
            parent_attribution,
            in_init: (!in_init.is_empty()).then_some(in_init),
            behalf,
            late: record.verdict == wire::Request::LATE,
            attribution: Attribution::exact(),
        }
    }

    /// Notes the file that a thread is about to load.
    pub(super) fn on_module_file(&mut self, record: &wire::ModuleFile) {
        let (path, _) = from_wire::path(&record.path);
        self.files.named(thread(&record.header), path);
    }

    /// The task of a record with its ancestors, and whether their list is truncated.
    fn process(&mut self, context: &wire::Context, owner: &wire::Owner) -> (Process, Vec<Ancestor>, bool) {
        let (mut process, ancestors, truncated) = self.environment.process(context);
        from_wire::describe_descent(&mut process, truncated, owner);
        (process, ancestors, truncated)
    }

    pub(super) fn on_load(&mut self, record: &wire::Load) {
        let (process, ancestors, ancestors_truncated) = self.process(&record.context, &record.owner);
        let (request, origin, attribution) = origin_of(&record.owner, &process, &ancestors);
        let module = nul_text(&record.module);
        let boot_ns = record.header.boot_ns;
        self.environment.module_changed(from_utf8(module.as_bytes()).ok());
        self.history.loaded(&lossless(module.as_bytes()), boot_ns, request);
        let asked = match request {
            Some(id) => self.requests.get(id).map(|in_flight| in_flight.name.clone()),
            None => None,
        };
        let (device, reason) = match (asked, origin) {
            (Some(asked), _) => (None, self.reason(&asked, &module.field())),
            (None, Origin::Udev) => self.device_of(&module.field(), boot_ns),
            (None, _) => (None, None),
        };
        match request {
            Some(id) => {
                let name = lossless(module.as_bytes());
                self.requests.change_with_parents(id, |in_flight, is_parent| {
                    if is_parent {
                        in_flight.nested.loaded.push(name.clone());
                    } else {
                        in_flight.loaded.push(name.clone());
                        in_flight.helper_runs(boot_ns);
                    }
                });
            }
            None => {
                let loader = self.loader_seen(process.id(), boot_ns);
                loader.is_tool = is_tool(&process);
                loader.loaded += 1;
                loader.in_init += 1;
            }
        }
        let file = self.files.arrived(thread(&record.header));
        // This load has no file, whatever the thread loaded before.
        let is_from_memory = from_wire::syscall(&record.context).is_some_and(|syscall| syscall == "init_module");
        let load = Load {
            module,
            origin,
            process,
            ancestors,
            ancestors_truncated,
            helper_depth: request.map(|_| record.owner.depth),
            file: file.filter(|_| !is_from_memory),
            taints: self.environment.taints(record.taints),
            reason,
            device,
            attribution,
        };
        self.emit(boot_ns, request, Body::Load(Box::new(load)));
    }

    /// Why a module belongs to a request, by the configuration of the installed modprobe.
    fn reason(&mut self, asked: &Text, module: &str) -> Option<Reason> {
        // Both the kernel and the resolution spell module names with underscores.
        match self.environment.resolve(asked) {
            Ok(resolution) => resolution.reason(module),
            // The configuration is unknown, but not the modules' own names and aliases.
            Err(_) if glob::normalize(asked.as_bytes()).is_some_and(|asked| asked == module.as_bytes()) => {
                Some(Reason::Asked)
            }
            Err(_) => self.environment.carries(asked, module).then_some(Reason::Alias),
        }
    }

    pub(super) fn on_init_done(&mut self, record: &wire::InitDone) {
        let request = request_id(&record.owner.request);
        let process = process_id(&record.header.process);
        let module = nul_text(&record.module);
        // The memory of the init functions is free now.
        self.environment.module_changed(from_utf8(module.as_bytes()).ok());
        if request.is_none() {
            let loader = self.loader_seen(process, record.header.boot_ns);
            loader.late_inits += usize::from(loader.in_init == 0 && record.ret >= 0);
            loader.in_init = loader.in_init.saturating_sub(1);
        }
        if record.ret < 0 {
            let failure = Failure { what: format!("the init of {}", module.field()), ret: record.ret };
            self.failed(request, process, record.header.boot_ns, failure);
            self.init_failed_after_load(request, process, &lossless(module.as_bytes()), record.header.boot_ns);
        }
        if record.ret >= 0 {
            // Only this record reports a successful load. A failed load is reported by its system call, with the file.
            self.files.over(thread(&record.header));
        }
        let effect = if record.ret < 0 { None } else { self.environment.effect(&module.field()) };
        let init = Init {
            module,
            pid: process.pid,
            start_ns: process.start_ns,
            ret: record.ret,
            duration_ns: record.duration_ns,
            effect,
        };
        self.emit(record.header.boot_ns, request, Body::Init(init));
    }

    /// A module that arrived did not stay.
    fn init_failed_after_load(&mut self, request: Option<RequestId>, process: ProcessId, module: &str, boot_ns: u64) {
        match request {
            Some(id) => self.requests.change_with_parents(id, |in_flight, is_parent| {
                let list = if is_parent { &mut in_flight.nested.loaded } else { &mut in_flight.loaded };
                list.retain(|loaded| loaded != module);
            }),
            None => {
                if let Some(loader) = self.loaders.get_mut(process) {
                    loader.loaded = loader.loaded.saturating_sub(1);
                }
            }
        }
        self.history.removed(module, boot_ns);
    }

    fn failed(&mut self, request: Option<RequestId>, process: ProcessId, boot_ns: u64, failure: Failure) {
        match request {
            Some(id) => self.requests.change_with_parents(id, |in_flight, is_parent| {
                if is_parent {
                    in_flight.nested.has_failed = true;
                } else {
                    in_flight.failures.push(failure.clone());
                }
            }),
            None => self.loader_seen(process, boot_ns).last_failure = Some(failure),
        }
    }

    pub(super) fn on_unload(&mut self, record: &wire::Unload) {
        let (process, ancestors, _) = self.process(&record.context, &record.owner);
        let unload = Unload { module: nul_text(&record.module), process, ancestors, init_failed: record.in_init != 0 };
        self.environment.module_changed(from_utf8(unload.module.as_bytes()).ok());
        self.history.removed(&lossless(unload.module.as_bytes()), record.header.boot_ns);
        let request = request_id(&record.owner.request);
        self.emit(record.header.boot_ns, request, Body::Unload(Box::new(unload)));
    }

    pub(super) fn on_load_exit(&mut self, record: &wire::LoadExit) {
        let file = match record.syscall {
            DELETE_MODULE.. => None,
            syscall => self.files.over(thread(&record.header)).filter(|_| syscall != INIT_MODULE),
        };
        let Ok(ret) = i32::try_from(record.ret) else { return };
        if ret >= 0 {
            return;
        }
        let (process, ancestors, _) = self.process(&record.context, &record.owner);
        let (request, origin, attribution) = origin_of(&record.owner, &process, &ancestors);
        let module = nul_text(&record.module);
        let module = (!module.is_empty()).then_some(module);
        let syscall = match record.syscall {
            INIT_MODULE => "init_module",
            DELETE_MODULE.. => "delete_module",
            _ => "finit_module",
        };
        let boot_ns = record.header.boot_ns;
        if record.syscall < DELETE_MODULE {
            let what = file.as_ref().map_or_else(|| syscall.to_owned(), Text::field);
            let known = request
                .and_then(|id| self.requests.get(id))
                .is_some_and(|in_flight| in_flight.failures.last().is_some_and(|last| last.ret == ret));
            // A failed init was reported already, with more detail. EEXIST: another load was faster.
            if !known && ret != -17 {
                self.failed(request, process.id(), boot_ns, Failure { what, ret });
            } else if request.is_none() {
                self.loader_seen(process.id(), boot_ns);
            }
            if let Some(loader) = self.loaders.get_mut(process.id()).filter(|_| request.is_none()) {
                loader.is_tool = is_tool(&process);
            }
        }
        let attempt = Attempt {
            syscall: syscall.to_owned(),
            ret,
            errno: errno_name(ret),
            module,
            file,
            origin,
            process,
            ancestors,
            attribution,
        };
        self.emit(boot_ns, request, Body::Attempt(Box::new(attempt)));
    }
}

/// The request and origin of a load.
fn origin_of(
    owner: &wire::Owner,
    process: &Process,
    ancestors: &[Ancestor],
) -> (Option<RequestId>, Origin, Attribution) {
    match request_id(&owner.request) {
        Some(id) => (Some(id), Origin::Request, Attribution::exact()),
        None => {
            let (origin, attribution) = origin::of_load(process, ancestors, wire::WalkEnd::of(owner.end));
            (None, origin, attribution)
        }
    }
}

/// Whether a process is a kmod tool.
fn is_tool(process: &Process) -> bool {
    is_kmod_tool(process.comm.as_bytes(), process.exe.as_ref().map(Text::as_bytes))
}

/// The acting thread.
const fn thread(header: &wire::Header) -> (ProcessId, u32) {
    (process_id(&header.process), header.tid)
}

/// The creator of the requesting kernel thread. Workqueue threads are excluded: their creator is not the origin of their
/// work.
fn behalf(record: &wire::Request, process: &Process) -> Option<Behalf> {
    let is_worker = process.kthread && process.comm.as_bytes().starts_with(b"kworker/");
    from_wire::behalf(&record.behalf, record.header.boot_ns).filter(|_| !is_worker)
}
