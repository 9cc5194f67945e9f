//! State between the hooks, the ring buffer, and the loss counters.
//!
//! State maps are LRU: entries that nothing ends (a throttled request has no exit hook) give way to
//! new ones. The kernel allows 50 requests at a time, far below their sizes; should an entry in use
//! be evicted all the same, the later stage that misses it counts it. Inits alone are not counted so: one that began before the
//! programs were attached is missing as well.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
use tracer_ebpf::wire::{Behalf, COUNTER_COUNT, MODULE_NAME_BYTES, RequestKey, SETTING_COUNT};

/// Records on their way to user space. User space sets its size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// One counter a `Counter`. User space reads counters from memory: while bpf(2) looks into a map, no kprobe program runs.
#[map]
pub(crate) static COUNTERS: Array<u64> = Array::with_max_entries(COUNTER_COUNT, BPF_F_MMAPABLE);

/// One word a `Setting`. User space writes it in memory, as it reads the counters.
#[map]
pub(crate) static SETTINGS: Array<u64> = Array::with_max_entries(SETTING_COUNT, BPF_F_MMAPABLE);

/// How far a request has come.
pub(crate) mod stage {
    /// The security hook saw it.
    pub(crate) const ASKED: u32 = 0;
    /// The tracepoint saw it.
    pub(crate) const ADMITTED: u32 = 1;
    /// It is with the usermode helper code.
    pub(crate) const HANDED_OVER: u32 = 2;
}

/// A request on its way through the kernel.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InFlight {
    pub(crate) request: RequestKey,
    /// When it was handed to the usermode helper code; 0 before.
    pub(crate) handover_ns: u64,
    pub(crate) sub_info: u64,
    pub(crate) stage: u32,
    pub(crate) wait: u32,
}

/// By asking thread: a thread has at most one request at a time.
#[map]
pub(crate) static IN_FLIGHT: LruHashMap<u32, InFlight> = LruHashMap::with_max_entries(16384, 0);

/// By `struct subprocess_info` pointer, from hand-over to the helper's birth. Addresses are reused at once.
#[map]
pub(crate) static HANDOVERS: LruHashMap<u64, RequestKey> = LruHashMap::with_max_entries(4096, 0);

/// A helper: which request it works for.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HelperOf {
    pub(crate) start_ns: u64,
    pub(crate) request: RequestKey,
}

/// By process id of the helper; the start time tells a reused id.
#[map]
pub(crate) static HELPERS: LruHashMap<u32, HelperOf> = LruHashMap::with_max_entries(8192, 0);

/// A module init in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InitOf {
    /// When the process of the thread was started: thread ids are reused, and an init that crashes never ends.
    pub(crate) start_ns: u64,
    pub(crate) module_ptr: u64,
    pub(crate) began_ns: u64,
    pub(crate) module: [u8; MODULE_NAME_BYTES],
}

/// By thread: a thread runs one module's init at a time.
#[map]
pub(crate) static INITS: LruHashMap<u32, InitOf> = LruHashMap::with_max_entries(1024, 0);

/// A kernel thread: who created it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KthreadOf {
    pub(crate) start_ns: u64,
    pub(crate) behalf: Behalf,
}

/// By thread id of the kernel thread.
#[map]
pub(crate) static KTHREADS: LruHashMap<u32, KthreadOf> = LruHashMap::with_max_entries(4096, 0);

/// Which losses were told, by name. User space's own: it is here to be pinned with the counters.
#[map]
pub(crate) static TOLD: HashMap<[u8; 32], u64> = HashMap::with_max_entries(256, 0);
