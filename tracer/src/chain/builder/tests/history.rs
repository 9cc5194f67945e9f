//! Generates histories that the kernel can produce, and their events in any order that keeps causes before effects.

use jiff::Timestamp;
use proptest::prelude::*;

use crate::{
    chain::ChainKey,
    event::{
        Attempt, Attribution, Behalf, Body, End, Event, Helper, Init, Load, Origin, Outcome, Process, ProcessId,
        Request, RequestId, Status, Text,
    },
};

/// A request whose helper loads modules, with some failing system calls.
#[derive(Clone, Debug)]
pub(super) struct RequestScenario {
    name: u8,
    helper: bool,
    modules: Vec<ModuleScenario>,
    attempts: u8,
}

/// A module that arrives; its init may make more requests.
#[derive(Clone, Debug)]
pub(super) struct ModuleScenario {
    name: u8,
    asks: Vec<(Way, RequestScenario)>,
}

/// How an init makes a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The init waits for it.
    Waits,
    /// The init continues.
    GoesOn,
    /// A kernel thread makes it when it runs.
    Thread,
    /// The same, and the event has both the parent request and the task on whose behalf it is made.
    ThreadNamed,
}

/// The actions of a process.
#[derive(Clone, Debug)]
pub(super) enum Scenario {
    Request(RequestScenario),
    /// A process that loads modules explicitly, in several chains.
    Loader(Vec<Vec<ModuleScenario>>),
}

/// The requester of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    None,
    /// A request.
    Chain(usize),
    /// A process that loads explicitly, in any of its chains.
    Process(ProcessId),
}

/// The plan of a chain. Its index is its tag.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The process of an explicit load.
    pub(super) loader: Option<ProcessId>,
    pub(super) parent: Parent,
}

/// An event and the tag of its chain.
#[derive(Clone, Debug)]
pub(super) struct TaggedEvent {
    pub(super) tag: usize,
    pub(super) event: Event,
}

/// A history: the plans of chains by tag, and the events in order.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) plans: Vec<Plan>,
    pub(super) events: Vec<TaggedEvent>,
}

impl History {
    /// The key of each chain: the id of a request is created with its event.
    pub(super) fn key(&self, tag: usize) -> ChainKey {
        self.plans[tag].loader.map_or_else(|| ChainKey::Request(id_of(&self.events, tag)), ChainKey::Loader)
    }
}

fn id_of(tagged: &[TaggedEvent], tag: usize) -> RequestId {
    tagged.iter().find(|tagged| tagged.tag == tag).and_then(|tagged| tagged.event.request).expect("it has an event")
}

fn module(depth: u32) -> BoxedStrategy<ModuleScenario> {
    let way = prop_oneof![Just(Way::Waits), Just(Way::GoesOn), Just(Way::Thread), Just(Way::ThreadNamed)];
    let asks = match depth {
        0 => Just(Vec::new()).boxed(),
        _ => proptest::collection::vec((way, request(depth - 1)), 0..3).boxed(),
    };
    (0..3u8, asks).prop_map(|(name, asks)| ModuleScenario { name, asks }).boxed()
}

fn request(depth: u32) -> BoxedStrategy<RequestScenario> {
    (0..2u8, any::<bool>(), proptest::collection::vec(module(depth), 0..3), 0..2u8)
        .prop_map(|(name, helper, modules, attempts)| RequestScenario { name, helper, modules, attempts })
        .boxed()
}

/// Many concurrent tasks.
pub(super) fn scenarios() -> impl Strategy<Value = Vec<Scenario>> {
    let loader = proptest::collection::vec(proptest::collection::vec(module(1), 1..3), 1..3);
    let scenario = prop_oneof![3 => request(2).prop_map(Scenario::Request), 1 => loader.prop_map(Scenario::Loader)];
    proptest::collection::vec(scenario, 1..8)
}

/// Requests for one name, each by a separate task.
pub(super) fn storm(size: usize) -> Vec<Scenario> {
    let module = ModuleScenario { name: 0, asks: Vec::new() };
    let request = RequestScenario { name: 0, helper: true, modules: vec![module], attempts: 1 };
    vec![Scenario::Request(request); size]
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        tag: usize,
        by: ProcessId,
        name: u8,
        in_init: Option<u8>,
        behalf: Option<(ProcessId, bool)>,
    },
    Helper {
        tag: usize,
    },
    Load {
        tag: usize,
        by: ProcessId,
        name: u8,
        mark: u64,
    },
    Init {
        tag: usize,
        by: ProcessId,
        name: u8,
        mark: u64,
    },
    Attempt {
        tag: usize,
        by: ProcessId,
    },
    Result {
        tag: usize,
    },
    /// Another thread of the history may run from now on.
    Start {
        strand: usize,
    },
}

/// The requester, the module whose init it is in, and the task on whose behalf it acts (and whether the event has the
/// parent request, too).
type Asker = (ProcessId, Option<u8>, Option<(ProcessId, bool)>);

/// Histories as threads of steps.
#[derive(Debug, Default)]
struct Script {
    plans: Vec<Plan>,
    strands: Vec<Vec<Step>>,
    marks: u64,
}

fn process(number: usize) -> ProcessId {
    let number: u32 = small(number);
    ProcessId { pid: 1000 + number, start_ns: 1 + u64::from(number) }
}

fn small<Wide, Narrow: TryFrom<Wide, Error: std::fmt::Debug>>(number: Wide) -> Narrow {
    Narrow::try_from(number).expect("histories are short")
}

impl Script {
    fn plan(&mut self, loader: Option<ProcessId>, parent: Parent) -> usize {
        self.plans.push(Plan { loader, parent });
        self.plans.len() - 1
    }

    fn strand(&mut self, steps: Vec<Step>) -> usize {
        self.strands.push(steps);
        self.strands.len() - 1
    }

    fn request(&mut self, steps: &mut Vec<Step>, scenario: &RequestScenario, parent: Parent, asker: Option<Asker>) {
        let tag = self.plan(None, parent);
        let (by, in_init, behalf) = asker.unwrap_or((process(2 * tag), None, None));
        steps.push(Step::Ask { tag, by, name: scenario.name, in_init, behalf });
        if scenario.helper {
            steps.push(Step::Helper { tag });
            let helper = process(2 * tag + 1);
            for module in &scenario.modules {
                self.module(steps, module, tag, helper, Parent::Chain(tag));
            }
            for _ in 0..scenario.attempts {
                steps.push(Step::Attempt { tag, by: helper });
            }
        }
        steps.push(Step::Result { tag });
    }

    fn module(&mut self, steps: &mut Vec<Step>, scenario: &ModuleScenario, tag: usize, by: ProcessId, parent: Parent) {
        self.marks += 1;
        let mark = self.marks;
        let name = scenario.name;
        steps.push(Step::Load { tag, by, name, mark });
        for (way, request) in &scenario.asks {
            match way {
                Way::Waits => self.request(steps, request, parent, Some((by, Some(name), None))),
                Way::GoesOn => {
                    let mut inner = Vec::new();
                    self.request(&mut inner, request, parent, Some((by, Some(name), None)));
                    // The init itself makes the request; the rest happens concurrently.
                    steps.push(inner.remove(0));
                    let strand = self.strand(inner);
                    steps.push(Step::Start { strand });
                }
                Way::Thread | Way::ThreadNamed => {
                    let mut inner = Vec::new();
                    let thread = process(100_000 + self.plans.len());
                    let named = matches!(way, Way::ThreadNamed);
                    self.request(&mut inner, request, parent, Some((thread, None, Some((by, named)))));
                    let strand = self.strand(inner);
                    steps.push(Step::Start { strand });
                }
            }
        }
        steps.push(Step::Init { tag, by, name, mark });
    }

    fn scenario(&mut self, scenario: &Scenario) -> usize {
        let mut steps = Vec::new();
        match scenario {
            Scenario::Request(scenario) => self.request(&mut steps, scenario, Parent::None, None),
            Scenario::Loader(pieces) => {
                let by = process(50_000 + self.plans.len());
                for modules in pieces {
                    let tag = self.plan(Some(by), Parent::None);
                    for module in modules {
                        self.module(&mut steps, module, tag, by, Parent::Process(by));
                    }
                    steps.push(Step::Result { tag });
                }
            }
        }
        self.strand(steps)
    }
}

/// Generates the events of histories; `choices` selects the next thread, cyclically.
pub(super) fn generate(scenarios: &[Scenario], choices: &[u8]) -> History {
    let mut script = Script::default();
    let mut runnable: Vec<usize> = scenarios.iter().map(|scenario| script.scenario(scenario)).collect();
    let Script { plans, strands, .. } = script;
    let mut strands: Vec<std::vec::IntoIter<Step>> = strands.into_iter().map(Vec::into_iter).collect();
    let mut tagged = Vec::new();
    let mut choices = choices.iter().cycle();
    while !runnable.is_empty() {
        let at = usize::from(*choices.next().unwrap_or(&0)) % runnable.len();
        match strands[runnable[at]].next() {
            None => drop(runnable.swap_remove(at)),
            Some(Step::Start { strand }) => runnable.push(strand),
            Some(step) => {
                let event = event(&plans, &tagged, &step);
                tagged.push(event);
            }
        }
    }
    let seq = tagged.len() as u64;
    let (time, boot_ns) = moment(seq);
    tagged.push(TaggedEvent {
        tag: usize::MAX,
        event: Event { seq, time, boot_ns, request: None, body: Body::End(End::default()) },
    });
    History { plans, events: tagged }
}

fn moment(seq: u64) -> (Timestamp, u64) {
    let boot_ns = 1_000_000_000 + seq * 1000;
    (Timestamp::from_nanosecond(i128::from(boot_ns) + 1_700_000_000_000_000_000).expect("in range"), boot_ns)
}

fn event(plans: &[Plan], tagged: &[TaggedEvent], step: &Step) -> TaggedEvent {
    let seq = tagged.len() as u64;
    let (time, boot_ns) = moment(seq);
    let name = |name: u8| Text::from(format!("module{name}"));
    let who = |id: ProcessId| Process { pid: id.pid, tid: id.pid, start_ns: id.start_ns, ..Process::default() };
    let (tag, body) = match step.clone() {
        Step::Ask { tag, by, name: asked, in_init, behalf } => {
            let parent = match plans[tag].parent {
                Parent::Chain(parent) => Some(id_of(tagged, parent)),
                Parent::None | Parent::Process(_) => None,
            };
            let named = behalf.is_none_or(|(_, named)| named);
            let behalf = behalf.map(|(by, _)| Behalf {
                pid: by.pid,
                tid: by.pid,
                start_ns: by.start_ns,
                comm: Text::default(),
                thread_comm: None,
                cgroup_id: None,
                in_command: false,
                age_ns: None,
                request: parent,
                attribution: Attribution::inferred("kthread-creator"),
            });
            let body = Body::Request(Box::new(Request {
                name: Text::from(format!("alias{asked}")),
                wait: None,
                process: Process { tid: 5_000_000 + small::<_, u32>(tag), ..who(by) },
                ancestors: Vec::new(),
                ancestors_truncated: false,
                syscall: None,
                syscall_abi: None,
                stack: Vec::new(),
                user_stack: Vec::new(),
                parent_request: parent.filter(|_| named),
                parent_attribution: None,
                in_init: in_init.map(name),
                behalf,
                explanation: None,
                late: false,
                attribution: Attribution::exact(),
            }));
            let id = RequestId { boot_ns, tid: 5_000_000 + small::<_, u32>(tag) };
            return TaggedEvent { tag, event: Event { seq, time, boot_ns, request: Some(id), body } };
        }
        Step::Helper { tag } => (tag, {
            let ProcessId { pid, start_ns } = process(2 * tag + 1);
            Body::Helper(Helper {
                pid,
                start_ns,
                path: Text::default(),
                argv: Vec::new(),
                attribution: Attribution::exact(),
            })
        }),
        Step::Load { tag, by, name: module, mark } => (
            tag,
            Body::Load(Box::new(Load {
                device: None,
                module: name(module),
                origin: Origin::Request,
                process: who(by),
                ancestors: Vec::new(),
                ancestors_truncated: false,
                helper_depth: None,
                // The model identifies the load by this.
                file: Some(Text::from(mark.to_string())),
                taints: String::new(),
                reason: None,
                attribution: Attribution::exact(),
            })),
        ),
        Step::Init { tag, by, name: module, mark } => (
            tag,
            // The model identifies the init by its duration.
            Body::Init(Init {
                module: name(module),
                pid: by.pid,
                start_ns: by.start_ns,
                ret: 0,
                duration_ns: mark,
                effect: None,
            }),
        ),
        Step::Attempt { tag, by } => (
            tag,
            Body::Attempt(Box::new(Attempt {
                syscall: "finit_module".to_owned(),
                ret: -small::<_, i32>(seq),
                errno: String::new(),
                module: None,
                file: None,
                origin: Origin::Request,
                process: who(by),
                ancestors: Vec::new(),
                attribution: Attribution::exact(),
            })),
        ),
        Step::Result { tag } => (
            tag,
            Body::Result(Outcome {
                loader: plans[tag].loader,
                code: Some(small(seq)),
                ..Outcome::new(Status::Loaded, Attribution::exact())
            }),
        ),
        Step::Start { .. } => unreachable!("it is no event"),
    };
    let request = if plans[tag].loader.is_none() { Some(id_of(tagged, tag)) } else { None };
    TaggedEvent { tag, event: Event { seq, time, boot_ns, request, body } }
}
