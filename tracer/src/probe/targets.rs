//! BTF for aya with nothing but the functions that trampolines attach to.
//!
//! aya looks up the type id of a function in the BTF that it is given. The BTF of a kernel has more than a hundred thousand
//! types, which aya would copy, and search for each program. The ids are known already, so aya gets placeholders with the
//! functions at their ids. See `load.rs` for what that saves.

use aya::Btf as Types;
use aya_obj::btf::{BtfType, Func, FuncLinkage};

use super::hooks::{HOOKS, How, SELF_TESTS};
use crate::kernel::btf::Btf;

/// The functions that the programs of all hooks attach to, if this kernel has them.
pub(super) fn targets(btf: &Btf) -> Types {
    let programs = HOOKS.iter().chain(&SELF_TESTS).flat_map(|hook| hook.methods).copied().flatten();
    let by_type = programs.filter(|program| matches!(program.how, How::FEntry | How::FExit));
    let mut found: Vec<(u32, &str)> =
        by_type.filter_map(|program| Some((btf.func_id(program.target)?, program.target))).collect();
    found.sort_unstable();
    found.dedup();
    let mut types = Types::new();
    // The first added type has id 1: type 0, void, always exists.
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

    /// aya finds each function by its id in the kernel's BTF, the first of two, and no function without a program.
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
