//! The functions that trampolines attach to, as aya looks them up.
//!
//! aya finds a function by its place among all types of the kernel, of which there are a hundred thousand and more: it copies
//! them, and goes through them for each program. The places are known already, so aya gets types that say nothing, with the
//! functions at their own places among them.

use aya::Btf as Types;
use aya_obj::btf::{BtfType, Func, FuncLinkage};

use super::hooks::{HOOKS, How};
use crate::kernel::btf::Btf;

/// What aya needs of the kernel's types for the programs of all hooks. A function that this kernel lacks is not among them.
pub(super) fn targets(btf: &Btf) -> Types {
    let programs = HOOKS.iter().flat_map(|hook| hook.ways).copied().flatten();
    let by_type = programs.filter(|program| matches!(program.how, How::FEntry | How::FExit));
    let mut found: Vec<(u32, &str)> =
        by_type.filter_map(|program| Some((btf.func_id(program.target)?, program.target))).collect();
    found.sort_unstable();
    found.dedup();
    let mut types = Types::new();
    // The first that is added is type 1: type 0, void, is there by itself.
    let mut next = 1;
    for (id, name) in found {
        for _ in next..id {
            types.add_type(BtfType::Unknown);
        }
        let name = types.add_string(name);
        types.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
        next = id + 1;
    }
    types
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::{Btf, targets};
    use crate::kernel::btf::builder::Builder;

    /// Check that aya finds each function under the id that the kernel's own types give it, the first of two, and none that
    /// nobody attaches to.
    #[test]
    fn functions_keep_their_ids() {
        let mut blob = Builder::new();
        let int = blob.int("int", 4, 32);
        let other = blob.func("do_exit", &[int], false);
        let init = blob.func("do_init_module", &[int], false);
        blob.structure("call_usermodehelper_exec", 8, &[("a", int, 0, 0)]);
        let exec = blob.func("call_usermodehelper_exec", &[int], false);
        blob.func("call_usermodehelper_exec", &[int, int], false);
        let btf = Btf::parse(&blob.bytes()).unwrap();
        let types = targets(&btf);
        let found = |name| types.id_by_type_name_kind(name, BtfKind::Func).ok();
        assert_eq!(found("do_init_module"), Some(init));
        assert_eq!(found("call_usermodehelper_exec"), Some(exec));
        assert_eq!((btf.func_id("do_exit"), found("do_exit")), (Some(other), None));
        assert_eq!(found("security_kernel_module_request"), None);
    }
}
