//! State between the hooks, the ring buffer, and the loss counters.
//!
//! State maps are LRU: entries without an end (a throttled request has no exit hook) are evicted by new ones. The kernel
//! allows 50 requests at a time, far below the map sizes. If the entry of a request in use is evicted all the same, a later
//! stage counts the loss. Other missing entries are not counted, because what began before the programs were attached is missing
//! too: an init then has no result, a load below the helper is of unknown origin, and a kernel thread has no creator.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
use tracer_ebpf::wire::{ALIVE_COUNT, Behalf, COUNTER_COUNT, MODULE_NAME_BYTES, RequestKey, SETTING_COUNT};

/// The ring buffer. User space sets its size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// One value for each `Counter`. User space reads them through a mapping: during bpf(2) map calls no kprobe program runs.
#[map]
pub(crate) static COUNTERS: Array<u64> = Array::with_max_entries(COUNTER_COUNT, BPF_F_MMAPABLE);

/// How often each program of the self-test has run, by `Alive`. User space reads it through a mapping, for the same reason.
#[map]
pub(crate) static ALIVE: Array<u64> = Array::with_max_entries(ALIVE_COUNT, BPF_F_MMAPABLE);

/// One value for each `Setting`. User space writes them through a mapping, for the same reason.
#[map]
pub(crate) static SETTINGS: Array<u64> = Array::with_max_entries(SETTING_COUNT, BPF_F_MMAPABLE);

/// The stages of a request.
pub(crate) mod stage {
    /// It reached the security hook.
    pub(crate) const ASKED: u32 = 0;
    /// It reached the tracepoint.
    pub(crate) const ADMITTED: u32 = 1;
    /// It reached the usermode helper code.
    pub(crate) const HANDED_OVER: u32 = 2;
}

/// A request in flight.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InFlight {
    pub(crate) request: RequestKey,
    /// When it reached the usermode helper code; 0 before.
    pub(crate) handover_ns: u64,
    pub(crate) sub_info: u64,
    pub(crate) stage: u32,
    pub(crate) wait: u32,
    /// Distinguishes the requests of a thread id: a hash of the name and of the start time of the process. If the hooks that
    /// begin a request do not run, the entry is that of an earlier request.
    pub(crate) fingerprint: u64,
}

/// By requesting thread, which has at most one request at a time.
#[map]
pub(crate) static IN_FLIGHT: LruHashMap<u32, InFlight> = LruHashMap::with_max_entries(16384, 0);

/// By `struct subprocess_info` pointer, from the handover until the helper starts. The kernel reuses these addresses.
#[map]
pub(crate) static HANDOVERS: LruHashMap<u64, RequestKey> = LruHashMap::with_max_entries(4096, 0);

/// A helper and its request.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HelperOf {
    pub(crate) start_ns: u64,
    pub(crate) request: RequestKey,
}

/// By process id of the helper; the start time detects a reused id.
#[map]
pub(crate) static HELPERS: LruHashMap<u32, HelperOf> = LruHashMap::with_max_entries(8192, 0);

/// A module init in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InitOf {
    /// Start time of the thread's process: thread ids are reused, and an init that crashes never ends.
    pub(crate) start_ns: u64,
    pub(crate) module_ptr: u64,
    pub(crate) began_ns: u64,
    pub(crate) module: [u8; MODULE_NAME_BYTES],
}

/// By thread: a thread runs one module's init at a time.
#[map]
pub(crate) static INITS: LruHashMap<u32, InitOf> = LruHashMap::with_max_entries(1024, 0);

/// A kernel thread and its creator.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KthreadOf {
    pub(crate) start_ns: u64,
    pub(crate) behalf: Behalf,
}

/// By thread id of the kernel thread.
#[map]
pub(crate) static KTHREADS: LruHashMap<u32, KthreadOf> = LruHashMap::with_max_entries(4096, 0);

/// Totals of losses that user space has reported, by counter name. No program uses it; it is pinned with the counters.
#[map]
pub(crate) static REPORTED: HashMap<[u8; 32], u64> = HashMap::with_max_entries(256, 0);
