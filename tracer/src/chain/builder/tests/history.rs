//! Histories that the kernel can produce, as stories; and their telling, in any order that keeps causes
//! before effects.

use jiff::Timestamp;
use proptest::prelude::*;

use crate::{
    chain::ChainKey,
    event::{
        Attempt, Attribution, Behalf, Body, End, Event, Helper, Init, Load, Origin, Outcome, Process, ProcessId,
        Request, RequestId, Status, Text,
    },
};

/// A request: its helper loads modules, and some system calls fail.
#[derive(Clone, Debug)]
pub(super) struct RequestStory {
    name: u8,
    helper: bool,
    modules: Vec<ModuleStory>,
    attempts: u8,
}

/// A module that arrives; its init may ask for more.
#[derive(Clone, Debug)]
pub(super) struct ModuleStory {
    name: u8,
    asks: Vec<(Way, RequestStory)>,
}

/// How a request comes out of an init.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The init waits for it.
    Waits,
    /// The init goes on.
    GoesOn,
    /// A kernel thread asks, whenever it runs.
    Thread,
    /// The same, and the event names the parent beside the one on whose behalf it asks.
    ThreadNamed,
}

/// What somebody does.
#[derive(Clone, Debug)]
pub(super) enum Story {
    Request(RequestStory),
    /// A process that loads modules by itself, in pieces of work.
    Loader(Vec<Vec<ModuleStory>>),
}

/// Who is behind a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    None,
    /// A request.
    Chain(usize),
    /// A process that loads by itself, in whatever piece of work it is.
    Process(ProcessId),
}

/// What is known of a chain before it is told. Its index is its tag.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// The process, for a loader.
    pub(super) loader: Option<ProcessId>,
    pub(super) parent: Parent,
}

/// An event of the telling, and the tag of its chain.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) tag: usize,
    pub(super) event: Event,
}

/// A telling: the plots by tag, and the events in order.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub(super) plots: Vec<Plot>,
    pub(super) told: Vec<Told>,
}

impl Telling {
    /// The key of each chain: a request's id is made when it is told.
    pub(super) fn key(&self, tag: usize) -> ChainKey {
        self.plots[tag].loader.map_or_else(|| ChainKey::Request(id_of(&self.told, tag)), ChainKey::Loader)
    }
}

fn id_of(told: &[Told], tag: usize) -> RequestId {
    told.iter().find(|told| told.tag == tag).and_then(|told| told.event.request).expect("it was told")
}

fn module(depth: u32) -> BoxedStrategy<ModuleStory> {
    let way = prop_oneof![Just(Way::Waits), Just(Way::GoesOn), Just(Way::Thread), Just(Way::ThreadNamed)];
    let asks = match depth {
        0 => Just(Vec::new()).boxed(),
        _ => proptest::collection::vec((way, request(depth - 1)), 0..3).boxed(),
    };
    (0..3u8, asks).prop_map(|(name, asks)| ModuleStory { name, asks }).boxed()
}

fn request(depth: u32) -> BoxedStrategy<RequestStory> {
    (0..2u8, any::<bool>(), proptest::collection::vec(module(depth), 0..3), 0..2u8)
        .prop_map(|(name, helper, modules, attempts)| RequestStory { name, helper, modules, attempts })
        .boxed()
}

/// Many tasks at once.
pub(super) fn stories() -> impl Strategy<Value = Vec<Story>> {
    let loader = proptest::collection::vec(proptest::collection::vec(module(1), 1..3), 1..3);
    let story = prop_oneof![3 => request(2).prop_map(Story::Request), 1 => loader.prop_map(Story::Loader)];
    proptest::collection::vec(story, 1..8)
}

/// Requests for one name, each by a task of its own.
pub(super) fn storm(size: usize) -> Vec<Story> {
    let module = ModuleStory { name: 0, asks: Vec::new() };
    let request = RequestStory { name: 0, helper: true, modules: vec![module], attempts: 1 };
    vec![Story::Request(request); size]
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
    /// Another thread of the story may run from now on.
    Start {
        strand: usize,
    },
}

/// Who asks, in the init of which module, and on whose behalf (and whether the event names the parent too).
type Asker = (ProcessId, Option<u8>, Option<(ProcessId, bool)>);

/// Stories as strands of steps: each strand is one thread of execution.
#[derive(Debug, Default)]
struct Script {
    plots: Vec<Plot>,
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
    fn plot(&mut self, loader: Option<ProcessId>, parent: Parent) -> usize {
        self.plots.push(Plot { loader, parent });
        self.plots.len() - 1
    }

    fn strand(&mut self, steps: Vec<Step>) -> usize {
        self.strands.push(steps);
        self.strands.len() - 1
    }

    fn request(&mut self, steps: &mut Vec<Step>, story: &RequestStory, parent: Parent, asker: Option<Asker>) {
        let tag = self.plot(None, parent);
        let (by, in_init, behalf) = asker.unwrap_or((process(2 * tag), None, None));
        steps.push(Step::Ask { tag, by, name: story.name, in_init, behalf });
        if story.helper {
            steps.push(Step::Helper { tag });
            let helper = process(2 * tag + 1);
            for module in &story.modules {
                self.module(steps, module, tag, helper, Parent::Chain(tag));
            }
            for _ in 0..story.attempts {
                steps.push(Step::Attempt { tag, by: helper });
            }
        }
        steps.push(Step::Result { tag });
    }

    fn module(&mut self, steps: &mut Vec<Step>, story: &ModuleStory, tag: usize, by: ProcessId, parent: Parent) {
        self.marks += 1;
        let mark = self.marks;
        let name = story.name;
        steps.push(Step::Load { tag, by, name, mark });
        for (way, request) in &story.asks {
            match way {
                Way::Waits => self.request(steps, request, parent, Some((by, Some(name), None))),
                Way::GoesOn => {
                    let mut inner = Vec::new();
                    self.request(&mut inner, request, parent, Some((by, Some(name), None)));
                    // The init itself asks; the rest happens beside it.
                    steps.push(inner.remove(0));
                    let strand = self.strand(inner);
                    steps.push(Step::Start { strand });
                }
                Way::Thread | Way::ThreadNamed => {
                    let mut inner = Vec::new();
                    let thread = process(100_000 + self.plots.len());
                    let named = matches!(way, Way::ThreadNamed);
                    self.request(&mut inner, request, parent, Some((thread, None, Some((by, named)))));
                    let strand = self.strand(inner);
                    steps.push(Step::Start { strand });
                }
            }
        }
        steps.push(Step::Init { tag, by, name, mark });
    }

    fn story(&mut self, story: &Story) -> usize {
        let mut steps = Vec::new();
        match story {
            Story::Request(story) => self.request(&mut steps, story, Parent::None, None),
            Story::Loader(pieces) => {
                let by = process(50_000 + self.plots.len());
                for modules in pieces {
                    let tag = self.plot(Some(by), Parent::None);
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

/// Tells stories: which strand comes next is chosen by `choices`, over and over.
pub(super) fn tell(stories: &[Story], choices: &[u8]) -> Telling {
    let mut script = Script::default();
    let mut runnable: Vec<usize> = stories.iter().map(|story| script.story(story)).collect();
    let Script { plots, strands, .. } = script;
    let mut strands: Vec<std::vec::IntoIter<Step>> = strands.into_iter().map(Vec::into_iter).collect();
    let mut told = Vec::new();
    let mut choices = choices.iter().cycle();
    while !runnable.is_empty() {
        let at = usize::from(*choices.next().unwrap_or(&0)) % runnable.len();
        match strands[runnable[at]].next() {
            None => drop(runnable.swap_remove(at)),
            Some(Step::Start { strand }) => runnable.push(strand),
            Some(step) => {
                let event = event(&plots, &told, &step);
                told.push(event);
            }
        }
    }
    let seq = told.len() as u64;
    let (time, boot_ns) = moment(seq);
    told.push(Told {
        tag: usize::MAX,
        event: Event { seq, time, boot_ns, request: None, body: Body::End(End::default()) },
    });
    Telling { plots, told }
}

fn moment(seq: u64) -> (Timestamp, u64) {
    let boot_ns = 1_000_000_000 + seq * 1000;
    (Timestamp::from_nanosecond(i128::from(boot_ns) + 1_700_000_000_000_000_000).expect("in range"), boot_ns)
}

fn event(plots: &[Plot], told: &[Told], step: &Step) -> Told {
    let seq = told.len() as u64;
    let (time, boot_ns) = moment(seq);
    let name = |name: u8| Text::from(format!("module{name}"));
    let who = |id: ProcessId| Process { pid: id.pid, tid: id.pid, start_ns: id.start_ns, ..Process::default() };
    let (tag, body) = match step.clone() {
        Step::Ask { tag, by, name: asked, in_init, behalf } => {
            let parent = match plots[tag].parent {
                Parent::Chain(parent) => Some(id_of(told, parent)),
                Parent::None | Parent::Process(_) => None,
            };
            let named = behalf.is_none_or(|(_, named)| named);
            let behalf = behalf.map(|(by, _)| Behalf {
                pid: by.pid,
                tid: by.pid,
                start_ns: by.start_ns,
                comm: Text::default(),
                cgroup_id: None,
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
                stack: Vec::new(),
                user_stack: Vec::new(),
                parent_request: parent.filter(|_| named),
                parent_attribution: None,
                in_init: in_init.map(name),
                behalf,
                explanation: None,
                attribution: Attribution::exact(),
            }));
            let id = RequestId { boot_ns, tid: 5_000_000 + small::<_, u32>(tag) };
            return Told { tag, event: Event { seq, time, boot_ns, request: Some(id), body } };
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
                // What the model knows the load by.
                file: Some(Text::from(mark.to_string())),
                taints: String::new(),
                reason: None,
                attribution: Attribution::exact(),
            })),
        ),
        Step::Init { tag, by, name: module, mark } => (
            tag,
            // What the model knows the init by is its duration.
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
                loader: plots[tag].loader,
                code: Some(small(seq)),
                ..Outcome::new(Status::Loaded, Attribution::exact())
            }),
        ),
        Step::Start { .. } => unreachable!("it is no event"),
    };
    let request = if plots[tag].loader.is_none() { Some(id_of(told, tag)) } else { None };
    Told { tag, event: Event { seq, time, boot_ns, request, body } }
}
