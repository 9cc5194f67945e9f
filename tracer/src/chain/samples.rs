//! Sample chains for the tests of output formats.

use jiff::Timestamp;

use crate::{
    chain::{Chain, ChainKey, Item, Module, Part},
    event::{
        Ancestor, Attempt, Attribution, Behalf, Body, Event, Frame, Helper, Init, Load, Loss, LossStage, Origin,
        Outcome, Process, ProcessId, Reason, Request, RequestId, Status, Text, Unload,
    },
};

fn time() -> Timestamp {
    "2026-03-01T12:04:31.201Z".parse().unwrap()
}

fn process(pid: u32, comm: &str, exe: &str, argv: &[&str]) -> Process {
    Process {
        no_login: true,
        pid,
        tid: pid,
        start_ns: u64::from(pid),
        comm: Text::from(comm),
        exe: Some(Text::from(exe)),
        argv: argv.iter().copied().map(Text::from).collect(),
        user: Some(Text::from("root")),
        ..Process::default()
    }
}

fn modprobe(pid: u32, argv: &[&str]) -> Process {
    process(pid, "modprobe", "/usr/bin/kmod", argv)
}

fn ancestors(names: &[(&str, u32)]) -> Vec<Ancestor> {
    let ancestor = |(name, pid): &(&str, u32)| Ancestor {
        pid: *pid,
        start_ns: u64::from(*pid),
        comm: Text::from(*name),
        exe: Some(Text::from(*name)),
        ..Ancestor::default()
    };
    names.iter().map(ancestor).collect()
}

fn request(name: &str, process: Process) -> Request {
    Request {
        name: Text::from(name),
        wait: Some(true),
        process,
        ancestors: Vec::new(),
        ancestors_truncated: false,
        syscall: None,
        syscall_abi: None,
        stack: Vec::new(),
        user_stack: Vec::new(),
        parent_request: None,
        parent_attribution: None,
        in_init: None,
        behalf: None,
        explanation: None,
        late: false,
        attribution: Attribution::exact(),
    }
}

fn frame(symbol: &str, module: Option<&str>) -> Frame {
    Frame {
        address: "0xffffffffc0a01234".to_owned(),
        symbol: Some(symbol.to_owned()),
        offset: Some(0x4a),
        module: module.map(str::to_owned),
    }
}

fn helper(pid: u32, name: &str) -> Helper {
    Helper {
        pid,
        start_ns: u64::from(pid),
        path: Text::from("/sbin/modprobe"),
        argv: ["/sbin/modprobe", "-q", "--", name].map(Text::from).to_vec(),
        attribution: Attribution::exact(),
    }
}

/// A module that `process` loaded; `end` is the return value and duration of its init.
fn module(name: &str, process: &Process, reason: Option<Reason>, boot_ns: u64, end: Option<(i32, u64)>) -> Module {
    let load = Load {
        device: None,
        module: Text::from(name),
        origin: if reason.is_some() { Origin::Request } else { Origin::Explicit },
        process: process.clone(),
        ancestors: Vec::new(),
        ancestors_truncated: false,
        helper_depth: reason.map(|_| 0),
        file: None,
        taints: String::new(),
        reason,
        attribution: Attribution::exact(),
    };
    let init = end.map(|(ret, duration_ns)| Init {
        module: Text::from(name),
        pid: process.pid,
        start_ns: process.start_ns,
        ret,
        duration_ns,
        effect: (name == "nf_conntrack").then(|| "nf_conntrack: the table holds 65536 connections".to_owned()),
    });
    Module { load, boot_ns, init }
}

fn chain(boot_ns: u64, request: Option<Request>, status: Status) -> Chain {
    let tid = request.as_ref().map_or(1, |request| request.process.tid);
    Chain {
        key: ChainKey::Request(RequestId { boot_ns, tid }),
        time: time(),
        boot_ns,
        part: Part::Whole,
        request,
        helper: None,
        modules: Vec::new(),
        attempts: Vec::new(),
        result: Some(Outcome::new(status, Attribution::exact())),
        nested: Vec::new(),
        incomplete: Vec::new(),
    }
}

fn blocked(mut chain: Chain, ns: u64) -> Chain {
    chain.result.as_mut().unwrap().duration_ns = Some(ns);
    chain
}

fn item(chain: Chain) -> Item {
    Item::Chain(Box::new(chain))
}

/// Listing the firewall rules enables connection tracking.
pub(crate) fn outage() -> Item {
    let mut process = process(557, "iptables", "/usr/sbin/xtables-legacy-multi", &["iptables", "-t", "nat", "-L"]);
    process.loginuid = Some(1000);
    process.login_user = Some(Text::from("alice"));
    let request = Request {
        ancestors: ancestors(&[("bash", 540), ("sshd", 512), ("sshd", 480), ("systemd", 1)]),
        syscall: Some("getsockopt".to_owned()),
        stack: vec![frame("xt_request_find_table_lock", Some("x_tables")), frame("get_info", Some("ip_tables"))],
        explanation: Some("iptables -t nat (IPv4 table)".to_owned()),
        ..request("iptable_nat", process)
    };
    let by = modprobe(561, &[]);
    let mut chain = blocked(chain(1_000, Some(request), Status::Loaded), 38_000_000);
    chain.helper = Some(helper(561, "iptable_nat"));
    chain.modules = vec![
        module("nf_defrag_ipv4", &by, Some(Reason::Dependency), 1_100, Some((0, 100_000))),
        module("nf_conntrack", &by, Some(Reason::Softdep), 1_200, Some((0, 1_200_000))),
        module("iptable_nat", &by, Some(Reason::Asked), 1_300, Some((0, 300_000))),
    ];
    item(chain)
}

/// The code of a table: iptables ran modprobe itself.
pub(crate) fn by_hand() -> Item {
    let tool = modprobe(558, &["/sbin/modprobe", "ip_tables"]);
    let mut chain = chain(900, None, Status::Loaded);
    chain.key = ChainKey::Loader(tool.id());
    let mut first = module("x_tables", &tool, None, 910, Some((0, 50_000)));
    first.load.ancestors = ancestors(&[("iptables", 557), ("bash", 540), ("systemd", 1)]);
    chain.modules = vec![first, module("ip_tables", &tool, None, 920, Some((0, 40_000)))];
    item(chain)
}

/// A kernel thread makes a request on behalf of the previous requester, and an init makes another.
pub(crate) fn nested() -> Item {
    let process = process(700, "cryptsetup", "/usr/sbin/cryptsetup", &["cryptsetup", "open", "/dev/sda 2", ""]);
    let mut root = blocked(chain(2_000, Some(request("dm-crypt", process)), Status::Loaded), 5_020_000_000);
    let by = modprobe(701, &[]);
    root.helper = Some(helper(701, "dm-crypt"));
    root.modules = vec![
        module("dm_crypt", &by, Some(Reason::Alias), 2_100, Some((0, 2_000_000))),
        module("dm_broken", &by, Some(Reason::Dependency), 2_500, Some((-19, 10))),
    ];
    root.attempts = vec![
        Attempt {
            syscall: "finit_module".to_owned(),
            ret: -19,
            errno: "ENODEV".to_owned(),
            module: Some(Text::from("dm_broken")),
            file: None,
            origin: Origin::Request,
            process: by.clone(),
            ancestors: Vec::new(),
            attribution: Attribution::exact(),
        },
        Attempt {
            syscall: "finit_module".to_owned(),
            ret: -126,
            errno: "ENOKEY".to_owned(),
            module: None,
            file: Some(Text::from("/lib/modules/6.1/unsigned.ko")),
            origin: Origin::Request,
            process: by.clone(),
            ancestors: Vec::new(),
            attribution: Attribution::exact(),
        },
    ];
    let ChainKey::Request(parent) = root.key else { unreachable!("it is a request") };

    let mut in_init = request("crypto-aes", by);
    in_init.parent_request = Some(parent);
    in_init.parent_attribution = Some(Attribution::exact());
    in_init.in_init = Some(Text::from("dm_crypt"));
    let mut in_init = blocked(chain(2_200, Some(in_init), Status::Loaded), 1_500_000);
    in_init.helper = Some(helper(710, "crypto-aes"));
    in_init.modules = vec![module("aesni_intel", &modprobe(710, &[]), Some(Reason::Alias), 2_250, Some((0, 900)))];

    let thread = Process { kthread: true, exe: None, ..process_of_kernel(712, "cryptomgr_probe") };
    let mut probe = request("crypto-xts", thread);
    probe.parent_request = Some(parent);
    probe.parent_attribution = Some(Attribution::inferred("kthread-creator"));
    probe.behalf = Some(Behalf {
        pid: 701,
        tid: 701,
        start_ns: 701,
        comm: Text::from("modprobe"),
        thread_comm: None,
        cgroup_id: None,
        in_command: false,
        age_ns: None,
        request: Some(parent),
        attribution: Attribution::inferred("kthread-creator"),
    });
    let mut probe = chain(2_300, Some(probe), Status::NotFound);
    probe.incomplete = vec!["3 events were lost while it ran (ring_full)".to_owned()];
    root.nested = vec![in_init, probe];
    item(root)
}

fn process_of_kernel(pid: u32, comm: &str) -> Process {
    process(pid, comm, "", &[])
}

/// An alias without a module.
pub(crate) fn not_found() -> Item {
    let mut process = process(800, "mount", "/usr/bin/mount", &["mount", "-t", "nosuchfs", "none", "/mnt"]);
    process.uid = 1000;
    process.user = None;
    let request = Request { syscall: Some("mount".to_owned()), ..request("fs-nosuchfs", process) };
    let mut chain = blocked(chain(3_000, Some(request), Status::NotFound), 4_000_000);
    chain.helper = Some(helper(801, "fs-nosuchfs"));
    let result = chain.result.as_mut().unwrap();
    result.detail = Some("no module provides it".to_owned());
    result.attribution = Attribution::inferred("modprobe-config");
    item(chain)
}

/// Names that try to mislead the reader.
pub(crate) fn hostile() -> Item {
    let evil = "x\n12:00:00.000 innocent";
    let process = process(900, "a\u{1b}[2Jb", "/tmp/\u{202e}txt.exe", &["a b", "", "it's", "\\n", evil, "\u{200b}"]);
    let mut request = request("net-pf-1\u{7}", process);
    request.name = Text::from(&b"net\xff\npf"[..]);
    request.syscall = Some("socket\n".to_owned());
    request.explanation = Some("\u{1b}]0;title\u{7}".to_owned());
    request.stack = vec![frame("evil\u{1b}[1m", Some("mod\rule"))];
    let by = modprobe(901, &[]);
    let mut loaded = module("mod\u{9b}ule", &by, Some(Reason::Alias), 4_100, None);
    loaded.load.taints = "O\u{8}".to_owned();
    let mut chain = chain(4_000, Some(request), Status::Failed);
    chain.modules = vec![loaded];
    chain.result.as_mut().unwrap().detail = Some("line\u{2028}break".to_owned());
    chain.incomplete = vec!["the init of \u{1b}c ended, but its load was not seen".to_owned()];
    item(chain)
}

/// A module is unloaded explicitly.
pub(crate) fn unload() -> Item {
    let body = Body::Unload(Box::new(Unload {
        module: Text::from("nf_conntrack"),
        process: process(950, "rmmod", "/usr/bin/kmod", &["rmmod", "nf_conntrack"]),
        ancestors: ancestors(&[("bash", 540), ("sshd", 512)]),
        init_failed: false,
    }));
    Item::Event(Box::new(Event { seq: 1, time: time(), boot_ns: 5_000, request: None, body }))
}

/// Unloading a module that is in use fails.
pub(crate) fn failed_unload() -> Item {
    let body = Body::Attempt(Box::new(Attempt {
        syscall: "delete_module".to_owned(),
        ret: -16,
        errno: "EBUSY".to_owned(),
        module: Some(Text::from("nf_conntrack")),
        file: None,
        origin: Origin::Explicit,
        process: process(951, "rmmod", "/usr/bin/kmod", &["rmmod", "nf_conntrack"]),
        ancestors: ancestors(&[("bash", 540), ("sshd", 512)]),
        attribution: Attribution::exact(),
    }));
    Item::Event(Box::new(Event { seq: 3, time: time(), boot_ns: 5_500, request: None, body }))
}

/// The ring buffer was full.
pub(crate) fn loss() -> Item {
    let body = Body::Loss(Loss { stage: LossStage::Probe, cause: "ring_full".to_owned(), count: 3 });
    Item::Event(Box::new(Event { seq: 2, time: time(), boot_ns: 6_000, request: None, body }))
}

/// Events of several kinds, including hostile names.
pub(crate) fn events() -> Vec<Event> {
    let mut bodies = Vec::new();
    for item in [outage(), nested(), by_hand(), hostile(), unload(), failed_unload(), loss()] {
        match item {
            Item::Event(event) => bodies.push(event.body),
            Item::Chain(chain) => {
                let Chain { request, helper, modules, attempts, result, .. } = *chain;
                bodies.extend(request.map(|request| Body::Request(Box::new(request))));
                bodies.extend(helper.map(Body::Helper));
                for Module { load, init, .. } in modules {
                    bodies.push(Body::Load(Box::new(load)));
                    bodies.extend(init.map(Body::Init));
                }
                bodies.extend(attempts.into_iter().map(|attempt| Body::Attempt(Box::new(attempt))));
                let loader = Some(ProcessId { pid: 7, start_ns: 8 });
                bodies.extend(result.map(|result| Body::Result(Outcome { loader, ..result })));
            }
        }
    }
    let id = RequestId { boot_ns: 9, tid: 10 };
    let event = |(seq, body)| Event { seq, time: time(), boot_ns: seq * 1000, request: Some(id), body };
    (0..).zip(bodies).map(event).collect()
}
