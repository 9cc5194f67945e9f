//! Causes of losses in the programs, with one counter each, shared by all processors.

/// A cause of loss, and its index in the array of counters.
///
/// A number means the same in every build of one [`super::ABI_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// The ring buffer had no room: a `request` record is lost.
    RingRequest = 0,
    /// The ring buffer had no room: a record that belongs to a request (admitted, helper, result, ...) is lost.
    RingStage = 1,
    /// The ring buffer had no room: a module load, init, file or unload record is lost.
    RingModule = 2,
    /// The map of requests in flight was full: the later stages of this request cannot be linked to it.
    MapInFlight = 3,
    /// The map of `subprocess_info` pointers was full, or lost an entry: the helper of this request cannot be linked to it.
    MapHandover = 4,
    /// The map of helpers was full: loads of this helper cannot be linked to their request.
    MapHelpers = 5,
    /// The map of module inits in progress was full: this init has no result.
    MapInits = 6,
    /// The map of kernel threads was full: the cause of requests of this thread is unknown.
    MapKthreads = 7,
    /// A request ended that was not in the map: it began before the tracer, or its record was lost.
    ResultWithoutRequest = 8,
    /// A process has more than [`super::GENERATIONS`] generations: whether a helper of the kernel is further up is unknown.
    WalkCut = 9,
    /// A request reached the tracepoint, but no hook before it ran: it was recorded there. A denial would have been missed.
    RequestLate = 10,
}

/// Number of counters.
pub const COUNTER_COUNT: u32 = 11;

impl Counter {
    /// Every counter, in index order.
    pub const ALL: [Self; COUNTER_COUNT as usize] = [
        Self::RingRequest,
        Self::RingStage,
        Self::RingModule,
        Self::MapInFlight,
        Self::MapHandover,
        Self::MapHelpers,
        Self::MapInits,
        Self::MapKthreads,
        Self::ResultWithoutRequest,
        Self::WalkCut,
        Self::RequestLate,
    ];

    /// The counter's public name, as it appears in `loss` records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingRequest => "ring-request",
            Self::RingStage => "ring-stage",
            Self::RingModule => "ring-module",
            Self::MapInFlight => "map-in-flight",
            Self::MapHandover => "map-handover",
            Self::MapHelpers => "map-helpers",
            Self::MapInits => "map-inits",
            Self::MapKthreads => "map-kthreads",
            Self::ResultWithoutRequest => "result-without-request",
            Self::WalkCut => "walk-cut",
            Self::RequestLate => "request-late",
        }
    }
}

const _: () = {
    let mut index = 0;
    while index < Counter::ALL.len() {
        assert!(Counter::ALL[index] as usize == index, "ALL is in index order");
        index += 1;
    }
};
