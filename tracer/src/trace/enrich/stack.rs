//! Converts stacks to frames with symbols.

use crate::{event::Frame, kernel::kallsyms::Symbol};

/// Every request passes through this function; its caller is the first frame of interest.
const REQUEST_MODULE: &str = "__request_module";

/// Prefixes of functions at the top of a stack that come from tracing.
const OWN: [&str; 12] = [
    "bpf_get_stack",
    "bpf_trampoline_",
    "bpf_prog_",
    "bpf_lsm_",
    "__bpf_",
    "security_kernel_module_request",
    "trace_call_bpf",
    "kprobe_",
    "kretprobe_",
    "arch_rethook_trampoline",
    "rethook_trampoline_handler",
    "ftrace_",
];

/// Full names of functions at the top of a stack that come from tracing.
const OWN_WHOLE: [&str; 8] = [
    "aggr_pre_handler",
    "opt_pre_handler",
    "optimized_callback",
    "exc_int3",
    "asm_exc_int3",
    "do_int3",
    "fprobe_handler",
    "__fprobe_handler",
];

/// The kernel stack of a request, innermost first, from the caller of `request_module()` on. `resolve` returns the symbol that
/// contains an address. Without symbols, all addresses are kept.
#[must_use]
pub fn kernel_frames<'a>(resolve: impl Fn(u64) -> Option<Symbol<'a>>, addresses: &[u64]) -> Vec<Frame> {
    let resolved: Vec<(u64, Option<Symbol<'_>>)> = addresses
        .iter()
        .filter(|address| **address != 0)
        .map(|address| (*address, resolve_return(&resolve, *address)))
        .collect();
    let request =
        resolved.iter().position(|(_, symbol)| symbol.as_ref().is_some_and(|it| base(it.name) == REQUEST_MODULE));
    let own = request.map_or_else(
        || resolved.iter().take_while(|(_, symbol)| symbol.as_ref().is_some_and(is_own)).count(),
        |index| index + 1,
    );
    resolved.into_iter().skip(own).map(|(address, symbol)| frame(address, symbol)).collect()
}

/// The addresses of a request's kernel stack that are below `request_module()`: not those of the programs that observe it.
#[must_use]
pub fn callers<'a, 'b>(resolve: impl Fn(u64) -> Option<Symbol<'b>>, addresses: &'a [u64]) -> &'a [u64] {
    let is_request =
        |address: &u64| resolve_return(&resolve, *address).is_some_and(|symbol| base(symbol.name) == REQUEST_MODULE);
    let below = addresses.iter().position(is_request).and_then(|index| addresses.get(index + 1..));
    below.unwrap_or(addresses)
}

/// A user stack without symbols: the process may have exited.
#[must_use]
pub fn user_frames(addresses: &[u64]) -> Vec<Frame> {
    addresses.iter().filter(|address| **address != 0).map(|address| frame(*address, None)).collect()
}

/// A return address is after the call, which may be the last instruction of its function: the byte before it is always
/// inside.
pub(super) const fn inside(return_address: u64) -> Option<u64> {
    return_address.checked_sub(1)
}

/// The symbol of a return address.
fn resolve_return<'a>(resolve: impl Fn(u64) -> Option<Symbol<'a>>, address: u64) -> Option<Symbol<'a>> {
    let symbol = resolve(inside(address)?)?;
    Some(Symbol { offset: symbol.offset + 1, ..symbol })
}

fn frame(address: u64, symbol: Option<Symbol<'_>>) -> Frame {
    Frame {
        address: format!("{address:#x}"),
        symbol: symbol.map(|symbol| symbol.name.to_owned()),
        offset: symbol.map(|symbol| symbol.offset),
        module: symbol.and_then(|symbol| symbol.module).map(str::to_owned),
    }
}

fn is_own(symbol: &Symbol<'_>) -> bool {
    let name = base(symbol.name);
    OWN.iter().any(|prefix| name.starts_with(prefix)) || OWN_WHOLE.contains(&name)
}

/// A name without compiler suffixes: `.isra.0`, `.constprop.0`, `.part.0`.
fn base(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{callers, kernel_frames, user_frames};
    use crate::kernel::kallsyms::Kallsyms;

    const KALLSYMS: &str = "\
ffffffff81000000 T __sock_create
ffffffff81000100 T __request_module.constprop.0
ffffffff81000200 T security_kernel_module_request
ffffffff81000300 T __sys_socket
ffffffff81000400 T do_syscall_64
ffffffff81000500 t kprobe_ftrace_handler
ffffffffc0000000 t xt_request_find_table\t[x_tables]
ffffffffc0100000 t bpf_prog_0123456789abcdef_request\t[bpf]
ffffffffc0100100 t bpf_trampoline_6442\t[bpf]
";

    fn shown(addresses: &[u64]) -> Vec<String> {
        let kallsyms = Kallsyms::parse(KALLSYMS.as_bytes()).unwrap();
        kernel_frames(|address| kallsyms.resolve(address), addresses).iter().map(ToString::to_string).collect()
    }

    /// The first frame is the caller of `request_module()`, whatever frames of the tracer precede it.
    #[test]
    fn kernel_stack_begins_at_the_caller() {
        let stack = [
            0xffff_ffff_c010_0010,
            0xffff_ffff_c010_0150,
            0xffff_ffff_8100_0210,
            0xffff_ffff_8100_0150,
            0xffff_ffff_8100_0050,
            0xffff_ffff_8100_0350,
            0,
        ];
        assert_eq!(shown(&stack), ["__sock_create+0x50", "__sys_socket+0x50"]);
    }

    /// The callers of a request do not contain the programs that observe it, whose addresses are new with each trace.
    #[test]
    fn callers_are_below_the_request() {
        let kallsyms = Kallsyms::parse(KALLSYMS.as_bytes()).unwrap();
        let stack = [0xffff_ffff_c020_0010, 0xffff_ffff_8100_0150, 0xffff_ffff_8100_0050, 0];
        assert_eq!(callers(|address| kallsyms.resolve(address), &stack), &stack[2..]);
        assert_eq!(callers(|address| kallsyms.resolve(address), &stack[2..]), &stack[2..]);
        assert!(callers(|address| kallsyms.resolve(address), &stack[..2]).is_empty());
    }

    /// Without `__request_module`, only the tracer's frames at the top are removed; functions with these names further
    /// down stay.
    #[test]
    fn tracer_frames_are_removed_only_at_the_top() {
        let stack = [0xffff_ffff_8100_0510, 0xffff_ffff_8100_0350, 0xffff_ffff_8100_0510];
        assert_eq!(shown(&stack), ["__sys_socket+0x50", "kprobe_ftrace_handler+0x10"]);
    }

    /// A call at the end of a function is resolved to that function, and the module is named.
    #[test]
    fn return_address_after_last_call_is_inside_the_function() {
        assert_eq!(shown(&[0xffff_ffff_8100_0400]), ["__sys_socket+0x100"]);
        assert_eq!(shown(&[0xffff_ffff_c000_0020]), ["xt_request_find_table+0x20 [x_tables]"]);
    }

    /// Without symbols, and in user stacks, frames are addresses.
    #[test]
    fn frame_without_symbol_keeps_its_address() {
        assert_eq!(kernel_frames(|_| None, &[0xffff_ffff_8100_0210])[0].to_string(), "0xffffffff81000210");
        assert_eq!(user_frames(&[0x55d0_0000_1000, 0])[0].address, "0x55d000001000");
        assert_eq!(user_frames(&[0x55d0_0000_1000, 0]).len(), 1);
    }

    proptest! {
        /// Any addresses are accepted, and no frames are added.
        #[test]
        fn any_addresses_give_no_extra_frames(addresses in proptest::collection::vec(any::<u64>(), 0..40)) {
            prop_assert!(shown(&addresses).len() <= addresses.len());
        }
    }
}
