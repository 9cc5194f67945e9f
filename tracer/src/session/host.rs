//! What the tracker asks of the world, answered by this machine.
use super::knowledge::{Knowledge, Plan};
use crate::event::*;
use crate::kernel::{kallsyms::Kallsyms, process};
use tracer_ebpf::wire;

/// Facts about this machine, cached as long as they hold.
pub struct Host {
    sym: Option<Kallsyms>,
    stale: bool,
}
impl Host {
    pub(super) fn new(_root: &std::path::Path, sym: Option<Kallsyms>) -> Self {
        Self { sym, stale: false }
    }
}
fn t(b: &[u8]) -> Text {
    Text::from(super::format::until_nul(b))
}
fn segs(p: &wire::PathSegments) -> Text {
    let mut v: Vec<&[u8]> = p.bytes[..(p.len as usize).min(512)].split(|b| *b == 0).filter(|s| !s.is_empty()).collect();
    v.reverse();
    let mut o = vec![];
    for s in v {
        o.push(b'/');
        o.extend_from_slice(s);
    }
    Text::from(o.as_slice())
}
impl Knowledge for Host {
    fn process(&mut self, c: &wire::Context) -> (Process, Vec<Ancestor>, bool) {
        let p = Process {
            pid: c.process.pid,
            tid: c.tid,
            start_ns: c.process.start_ns,
            comm: t(&c.comm),
            uid: c.uid,
            euid: c.euid,
            gid: c.gid,
            kthread: c.have & wire::Have::KTHREAD != 0,
            exe: Some(segs(&c.exe)),
            cgroup: Some(segs(&c.cgroup)),
            caps: Some(format!("{:x} have {:x}", c.caps_effective, c.have)),
            argv: c.argv.bytes[..c.argv.len as usize]
                .split(|b| *b == 0)
                .filter(|s| !s.is_empty())
                .map(Text::from)
                .collect(),
            ns: Namespaces { pid: c.ns_pid, mnt: c.ns_mnt, net: c.ns_net, user: c.ns_user },
            ..Process::default()
        };
        let a = c.ancestors[..(c.ancestor_count as usize).min(8)]
            .iter()
            .map(|a| Ancestor {
                pid: a.process.pid,
                start_ns: a.process.start_ns,
                comm: t(&a.comm),
                exe: Some(t(&a.exe)),
                uid: a.uid,
                kthread: a.kthread != 0,
            })
            .collect();
        (p, a, c.have & wire::Have::ANCESTRY_WHOLE == 0)
    }
    fn syscall(&mut self, n: i32) -> Option<String> {
        Some(format!("syscall_{n}"))
    }
    fn kernel_stack(&mut self, s: &wire::Stack) -> Vec<Frame> {
        if self.stale {
            if let Some(k) = &mut self.sym {
                let _ = k.refresh(true);
            }
            self.stale = false;
        }
        s.frames[..(s.count as usize).min(32)]
            .iter()
            .map(|a| {
                let r = self.sym.as_ref().and_then(|k| k.resolve(*a));
                Frame {
                    address: format!("{a:x}"),
                    symbol: r.as_ref().map(|r| r.name.to_string()),
                    offset: r.as_ref().map(|r| r.offset),
                    module: r.as_ref().and_then(|r| r.module.map(str::to_string)),
                }
            })
            .collect()
    }
    fn user_stack(&mut self, _: &wire::Stack) -> Vec<Frame> {
        vec![]
    }
    fn path(&mut self, p: &wire::PathSegments) -> Option<Text> {
        Some(segs(p))
    }
    fn plan(&mut self, _: &Text) -> Option<Plan> {
        None
    }
    fn explain(&mut self, _: &Text) -> Option<String> {
        None
    }
    fn is_loaded(&mut self, m: &str) -> bool {
        std::path::Path::new("/sys/module").join(m).exists()
    }
    fn is_alive(&mut self, p: ProcessId) -> bool {
        process::is_alive(p)
    }
    fn modules_changed(&mut self) {
        self.stale = true;
    }
    fn taints(&mut self, b: u64) -> String {
        if b == 0 { String::new() } else { format!("{b:x}") }
    }
}
