//! Memory use of chains and events, for the byte limit of the reorder buffer.

use std::mem::size_of;

use crate::{
    chain::{Chain, Module},
    event::{Ancestor, Attempt, Body, Device, Event, Frame, Helper, Outcome, Process, Request, Text},
};

/// Bytes of a chain, including nested chains.
pub(super) fn of_chain(chain: &Chain) -> usize {
    let own = size_of::<Chain>()
        + chain.request.as_ref().map_or(0, request)
        + chain.helper.as_ref().map_or(0, helper)
        + chain.result.as_ref().map_or(0, outcome);
    let parts = [
        chain.modules.iter().map(module).sum::<usize>(),
        chain.attempts.iter().map(attempt).sum(),
        chain.incomplete.iter().map(|note| size_of::<String>() + note.len()).sum(),
        chain.nested.iter().map(of_chain).sum(),
    ];
    own + parts.iter().sum::<usize>()
}

/// Bytes of an event that belongs to no chain.
pub(super) fn of_event(event: &Event) -> usize {
    let body = match &event.body {
        Body::Unload(unload) => text(&unload.module) + process(&unload.process) + ancestors(&unload.ancestors),
        Body::Attempt(failed) => attempt(failed),
        Body::Loss(loss) => loss.cause.len(),
        _ => 0,
    };
    size_of::<Event>() + body
}

fn text(text: &Text) -> usize {
    text.as_bytes().len()
}

fn optional(value: Option<&Text>) -> usize {
    value.map_or(0, text)
}

fn optional_str(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn texts(list: &[Text]) -> usize {
    list.iter().map(|one| size_of::<Text>() + text(one)).sum()
}

fn frames(frames: &[Frame]) -> usize {
    let texts =
        |frame: &Frame| frame.address.len() + optional_str(frame.symbol.as_ref()) + optional_str(frame.module.as_ref());
    frames.iter().map(|frame| size_of::<Frame>() + texts(frame)).sum()
}

fn process(process: &Process) -> usize {
    let named = [&process.exe, &process.user, &process.login_user, &process.cgroup];
    let written = [&process.caps, &process.cgroup_controller, &process.unit, &process.container, &process.pod];
    text(&process.comm)
        + texts(&process.argv)
        + named.iter().map(|name| optional(name.as_ref())).sum::<usize>()
        + written.iter().map(|name| optional_str(name.as_ref())).sum::<usize>()
}

fn ancestors(ancestors: &[Ancestor]) -> usize {
    let names = |one: &Ancestor| text(&one.comm) + optional(one.exe.as_ref()) + optional(one.script.as_ref());
    ancestors.iter().map(|one| size_of::<Ancestor>() + names(one)).sum()
}

fn request(request: &Request) -> usize {
    text(&request.name)
        + process(&request.process)
        + ancestors(&request.ancestors)
        + frames(&request.stack)
        + frames(&request.user_stack)
        + optional(request.in_init.as_ref())
        + request.behalf.as_ref().map_or(0, |behalf| text(&behalf.comm))
        + optional_str(request.syscall.as_ref())
        + optional_str(request.syscall_abi.as_ref())
        + optional_str(request.explanation.as_ref())
}

fn helper(helper: &Helper) -> usize {
    text(&helper.path) + texts(&helper.argv)
}

fn outcome(outcome: &Outcome) -> usize {
    optional_str(outcome.errno.as_ref()) + optional_str(outcome.detail.as_ref())
}

fn device(device: &Device) -> usize {
    let named = [&device.devpath, &device.modalias, &device.subsystem, &device.action];
    let paths = device.devpaths.iter().map(|path| size_of::<Text>() + text(path)).sum::<usize>();
    paths + named.iter().map(|name| optional(name.as_ref())).sum::<usize>()
}

fn module(module: &Module) -> usize {
    let load = &module.load;
    let init = module.init.as_ref().map_or(0, |init| text(&init.module) + optional_str(init.effect.as_ref()));
    size_of::<Module>()
        + text(&load.module)
        + process(&load.process)
        + ancestors(&load.ancestors)
        + optional(load.file.as_ref())
        + load.taints.len()
        + load.device.as_ref().map_or(0, device)
        + init
}

fn attempt(attempt: &Attempt) -> usize {
    size_of::<Attempt>()
        + attempt.syscall.len()
        + attempt.errno.len()
        + optional(attempt.module.as_ref())
        + optional(attempt.file.as_ref())
        + process(&attempt.process)
        + ancestors(&attempt.ancestors)
}

#[cfg(test)]
mod tests {
    use super::{of_chain, of_event};
    use crate::{
        chain::{Chain, Item, samples},
        event::Text,
    };

    /// The footprint of a chain grows by the size of any part that grows.
    #[test]
    fn footprint_of_grown_part_grows_by_its_size() {
        const MORE: usize = 1 << 20;
        let Item::Chain(chain) = samples::nested() else { unreachable!("it is a chain") };
        let before = of_chain(&chain);
        let ways: [fn(&mut Chain, Text); 7] = [
            |chain, long| chain.request.as_mut().unwrap().process.argv.push(long),
            |chain, long| chain.request.as_mut().unwrap().name = long,
            |chain, long| chain.nested[0].request.as_mut().unwrap().name = long,
            |chain, long| chain.modules[0].load.file = Some(long),
            |chain, long| chain.modules[0].load.process.cgroup = Some(long),
            |chain, long| chain.result.as_mut().unwrap().detail = Some(long.field()),
            |chain, long| chain.incomplete.push(long.field()),
        ];
        for grow in ways {
            let mut grown = chain.clone();
            grow(&mut grown, Text::from("x".repeat(MORE)));
            assert!((MORE - 1000..MORE + 1000).contains(&(of_chain(&grown) - before)));
        }
        let Item::Event(unload) = samples::unload() else { unreachable!("it is an event") };
        assert!(of_event(&unload) > 100);
    }
}
