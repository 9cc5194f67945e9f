//! Generates events of any type from arbitrary bytes.

use crate::event::{
    Ancestor, Attempt, Attribution, Baseline, Behalf, Body, Certainty, Clock, Descent, Device, End, Event, Frame,
    Header, HeaderHook, Helper, Init, Load, Loss, LossStage, Namespaces, Origin, Outcome, Process, ProcessId, Reason,
    Request, RequestId, SCHEMA_VERSION, Seal, Status, Text, Unload,
};

/// A source of decisions; yields zeros when it is exhausted.
pub(super) struct Dice<'a>(pub(super) &'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn u64(&mut self) -> u64 {
        let bytes = std::array::from_fn(|_| self.byte());
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::from_le_bytes(bytes),
            _ => u64::from_le_bytes(bytes) % 1_000_000_000_000,
        }
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.u64() >> 32).unwrap()
    }

    fn i64(&mut self) -> i64 {
        self.u64().cast_signed()
    }

    fn i32(&mut self) -> i32 {
        self.u32().cast_signed()
    }

    fn text(&mut self) -> Text {
        const PIECES: [&[u8]; 14] = [
            b"mount",
            b"/usr/bin/mount",
            b"a",
            b"\xff",
            b"\xc3",
            b"\xc3\xa4",
            b"\xef\xbf\xbd",
            b"\0",
            b"\"",
            b"\\",
            b"\n",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x98\x80",
            b"-4.name,with:much{in[it",
        ];
        let length = self.below(5);
        Text::from((0..length).flat_map(|_| self.pick(&PIECES).to_vec()).collect::<Vec<_>>().as_slice())
    }

    fn string(&mut self) -> String {
        self.text().field()
    }

    fn option<T>(&mut self, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| of(self))
    }

    fn list<T>(&mut self, mut of: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(4);
        (0..length).map(|_| of(self)).collect()
    }

    fn request_id(&mut self) -> RequestId {
        RequestId { boot_ns: self.u64(), tid: self.u32() }
    }

    fn attribution(&mut self) -> Attribution {
        let attribution = self.pick(&[Certainty::Exact, Certainty::Inferred, Certainty::Unknown]);
        Attribution { attribution, rule: self.option(Self::string) }
    }

    fn frame(&mut self) -> Frame {
        Frame {
            address: self.string(),
            symbol: self.option(Self::string),
            offset: self.option(Self::u64),
            module: self.option(Self::string),
        }
    }

    fn process(&mut self) -> Process {
        Process {
            pid: self.u32(),
            tid: self.u32(),
            start_ns: self.u64(),
            comm: self.text(),
            thread_comm: self.option(Self::text),
            exe: self.option(Self::text),
            exe_truncated: self.flag(),
            exe_deleted: self.flag(),
            argv: self.list(Self::text),
            argv_truncated: self.flag(),
            kthread: self.flag(),
            io_worker: self.flag(),
            uid: self.u32(),
            euid: self.u32(),
            user: self.option(Self::text),
            gid: self.u32(),
            loginuid: self.option(Self::u32),
            no_login: self.flag(),
            login_user: self.option(Self::text),
            session: self.option(Self::u32),
            caps: self.option(Self::string),
            cgroup: self.option(Self::text),
            cgroup_id: self.option(Self::u64),
            cgroup_controller: self.option(Self::string),
            unit: self.option(Self::string),
            container: self.option(Self::string),
            pod: self.option(Self::string),
            ns: Namespaces { pid: self.u32(), mnt: self.u32(), net: self.u32(), user: self.u32() },
            parent_changed: self.flag(),
            in_command: self.flag(),
            generations: self.option(Self::u32),
            descent: self.option(|values| values.pick(&[Descent::Init, Descent::Kernel, Descent::Unknown])),
        }
    }

    fn ancestor(&mut self) -> Ancestor {
        Ancestor {
            pid: self.u32(),
            start_ns: self.u64(),
            comm: self.text(),
            exe: self.option(Self::text),
            script: self.option(Self::text),
            script_line: self.option(Self::u32),
            uid: self.u32(),
            kthread: self.flag(),
        }
    }

    fn behalf(&mut self) -> Behalf {
        Behalf {
            pid: self.u32(),
            tid: self.u32(),
            start_ns: self.u64(),
            comm: self.text(),
            thread_comm: self.option(Self::text),
            cgroup_id: self.option(Self::u64),
            in_command: self.flag(),
            age_ns: self.option(Self::u64),
            request: self.option(Self::request_id),
            attribution: self.attribution(),
        }
    }

    fn device(&mut self) -> Device {
        Device {
            devpath: self.option(Self::text),
            modalias: self.option(Self::text),
            subsystem: self.option(Self::text),
            action: self.option(Self::text),
            candidates: self.u32(),
            devpaths: self.list(Self::text),
            attribution: self.attribution(),
        }
    }

    fn header(&mut self) -> Header {
        Header {
            schema: SCHEMA_VERSION,
            tool: self.string(),
            kernel: self.string(),
            kernel_version: self.string(),
            arch: self.string(),
            hostname: self.string(),
            boot_id: self.string(),
            machine_id: self.option(Self::string),
            modprobe: self.string(),
            realtime_minus_boot_ns: self.i64(),
            clock_uncertainty_ns: self.u64(),
            boot_minus_monotonic_ns: self.option(Self::u64),
            modules_dep_sha256: self.option(Self::string),
            modules_alias_sha256: self.option(Self::string),
            recording: self.option(Self::string),
            segment: self.option(Self::u32),
            previous: self.option(Self::string),
            hooks: self.list(|dice| HeaderHook {
                hook: dice.string(),
                attached: dice.option(Self::string),
                target: dice.string(),
                missing: dice.option(Self::string),
            }),
            filters: self.list(Self::string),
        }
    }

    fn request(&mut self) -> Request {
        Request {
            name: self.text(),
            wait: self.option(Self::flag),
            process: self.process(),
            ancestors: self.list(Self::ancestor),
            ancestors_truncated: self.flag(),
            syscall: self.option(Self::string),
            syscall_abi: self.option(Self::string),
            stack: self.list(Self::frame),
            user_stack: self.list(Self::frame),
            parent_request: self.option(Self::request_id),
            parent_attribution: self.option(Self::attribution),
            in_init: self.option(Self::text),
            behalf: self.option(Self::behalf),
            explanation: self.option(Self::string),
            late: self.flag(),
            attribution: self.attribution(),
        }
    }

    fn load(&mut self) -> Load {
        const REASONS: [Reason; 4] = [Reason::Asked, Reason::Alias, Reason::Dependency, Reason::Softdep];
        Load {
            module: self.text(),
            origin: self.pick(&Origin::ALL),
            process: self.process(),
            ancestors: self.list(Self::ancestor),
            ancestors_truncated: self.flag(),
            helper_depth: self.option(Self::u32),
            file: self.option(Self::text),
            taints: self.string(),
            reason: self.option(|dice| dice.pick(&REASONS)),
            device: self.option(Self::device),
            attribution: self.attribution(),
        }
    }

    fn attempt(&mut self) -> Attempt {
        Attempt {
            syscall: self.string(),
            ret: self.i32(),
            errno: self.string(),
            module: self.option(Self::text),
            file: self.option(Self::text),
            origin: self.pick(&Origin::ALL),
            process: self.process(),
            ancestors: self.list(Self::ancestor),
            attribution: self.attribution(),
        }
    }

    fn outcome(&mut self) -> Outcome {
        Outcome {
            loader: self.option(|dice| ProcessId { pid: dice.u32(), start_ns: dice.u64() }),
            status: self.pick(&Status::ALL),
            code: self.option(Self::i32),
            errno: self.option(Self::string),
            duration_ns: self.option(Self::u64),
            detail: self.option(Self::string),
            incomplete: self.flag(),
            attribution: self.attribution(),
        }
    }

    fn body(&mut self) -> Body {
        match self.below(13) {
            0 => Body::Header(Box::new(self.header())),
            1 => Body::Baseline(Baseline { modules: self.list(Self::string) }),
            2 => Body::Request(Box::new(self.request())),
            3 => Body::Helper(Helper {
                pid: self.u32(),
                start_ns: self.u64(),
                path: self.text(),
                argv: self.list(Self::text),
                attribution: self.attribution(),
            }),
            4 => Body::Load(Box::new(self.load())),
            5 => Body::Init(Init {
                module: self.text(),
                pid: self.u32(),
                start_ns: self.u64(),
                ret: self.i32(),
                duration_ns: self.u64(),
                effect: self.option(Self::string),
            }),
            6 => Body::Unload(Box::new(Unload {
                module: self.text(),
                process: self.process(),
                ancestors: self.list(Self::ancestor),
                init_failed: self.flag(),
            })),
            7 => Body::Attempt(Box::new(self.attempt())),
            8 => Body::Result(self.outcome()),
            9 => Body::Loss(Loss {
                stage: self.pick(&[LossStage::Probe, LossStage::Missed, LossStage::Decode, LossStage::Write]),
                cause: self.string(),
                count: self.u64(),
            }),
            10 => Body::Clock(Clock {
                realtime_minus_boot_ns: self.i64(),
                boot_minus_monotonic_ns: self.u64(),
                clock_uncertainty_ns: self.u64(),
            }),
            11 => Body::Seal(Seal {
                first_seq: self.u64(),
                last_seq: self.u64(),
                previous: self.string(),
                sha256: self.string(),
                signature: self.option(Self::string),
            }),
            _ => Body::End(End { requests: self.u64(), loads: self.u64(), unloads: self.u64(), lost: self.u64() }),
        }
    }
}

/// Generates an event.
pub(super) fn event(dice: &mut Dice<'_>) -> Event {
    // The body comes first, since it needs most of the bytes.
    let body = dice.body();
    let time = jiff::Timestamp::new(dice.i64() % 200_000_000_000, dice.i32() % 1_000_000_000);
    Event {
        seq: dice.u64(),
        time: time.unwrap_or_default(),
        boot_ns: dice.u64(),
        request: dice.option(Dice::request_id),
        body,
    }
}
