use std::path::Path;

use proptest::prelude::*;

use super::{Btf, BtfError, Member, Prototype, builder::Builder, read::Kind};

/// A blob with one of every kind that lookups read.
fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    let int = b.int("int", 4, 32);
    let char = b.int("char", 1, 8);
    let odd = b.int("odd", 4, 3);
    let void_ptr = b.ptr(0);
    let comm = b.array(char, 16);
    let grid = b.array(comm, 2);
    let list = b.structure("list_head", 16, &[("next", void_ptr, 0, 0), ("prev", void_ptr, 64, 0)]);
    let pid_t = b.alias(Kind::Typedef, "pid_t", int);
    let const_pid = b.alias(Kind::Const, "", pid_t);
    let volatile_pid = b.alias(Kind::Volatile, "", const_pid);
    let innermost = b.union("", 16, &[("deep", volatile_pid, 0, 0), ("links", list, 0, 0)]);
    let inner = b.structure("", 24, &[("", innermost, 64, 0), ("flag", int, 0, 1)]);
    let const_inner = b.alias(Kind::Const, "", inner);
    b.structure(
        "task_struct",
        128,
        &[
            ("pid", pid_t, 0, 0),
            ("in_execve", int, 32, 1),
            ("comm", comm, 64, 0),
            ("grid", grid, 192, 0),
            ("", const_inner, 512, 0),
            ("next", void_ptr, 704, 0),
            ("odd", odd, 768, 0),
            ("missing", 999, 800, 0),
        ],
    );
    let anonymous = b.structure("", 4, &[("val", int, 0, 0)]);
    b.alias(Kind::Typedef, "kuid_t", anonymous);
    b.structure("twice", 8, &[("a", int, 0, 0), ("b", int, 32, 0)]);
    b.structure("twice", 8, &[("a", int, 0, 0), ("b", int, 0, 0)]);
    b.enumeration("kernel_read_file_id", false, &[("READING_UNKNOWN", 0), ("READING_MODULE", 2)]);
    b.enumeration("signed", true, &[("MINUS", -1)]);
    let wide = (b.string("WIDE"), b.string("WIDER"));
    b.raw(19, false, "wide", 8, &[[wide.0, 5, 1], [wide.1, 6, 2]]);
    b.func("__request_module", &[int, void_ptr], true);
    b.func("do_init_module", &[void_ptr], false);
    b.bytes()
}

fn place(offset_bytes: u32, size_bytes: u32) -> Option<Member> {
    Some(Member { offset_bytes, size_bytes })
}

/// Members are found: plain, arrays, through typedefs and qualifiers, in nested anonymous members, embedded.
#[test]
fn member_of_each_kind_is_found() {
    let btf = Btf::parse(&sample()).unwrap();
    assert_eq!(btf.offset(&["task_struct", "pid"]), place(0, 4));
    assert_eq!(btf.offset(&["task_struct", "comm"]), place(8, 16));
    assert_eq!(btf.offset(&["task_struct", "grid"]), place(24, 32));
    assert_eq!(btf.offset(&["task_struct", "deep"]), place(72, 4));
    assert_eq!(btf.offset(&["task_struct", "links", "prev"]), place(80, 8));
    assert_eq!(btf.offset(&["task_struct", "next"]), place(88, 8));
    assert_eq!(btf.offset(&["kuid_t", "val"]), place(0, 4));
    assert_eq!(btf.struct_size("task_struct"), Some(128));
}

/// Ambiguous lookups return nothing: bitfields, pointers, broken types, structs of one name that disagree.
#[test]
fn ambiguous_lookup_returns_nothing() {
    let btf = Btf::parse(&sample()).unwrap();
    let refused: [&[&str]; 9] = [
        &["task_struct", "in_execve"],
        &["task_struct", "flag"],
        &["task_struct", "odd"],
        &["task_struct", "missing"],
        &["task_struct", "next", "prev"],
        &["task_struct", "absent"],
        &["absent", "pid"],
        &["task_struct"],
        &["twice", "b"],
    ];
    for path in refused {
        assert_eq!(btf.offset(path), None, "{path:?}");
    }
    assert_eq!(btf.offset(&["twice", "a"]), place(0, 4), "twins that agree are fine");
    assert_eq!(btf.offset(&[]), None);
}

/// Enumerators keep their sign and width.
#[test]
fn enumerator_keeps_sign_and_width() {
    let btf = Btf::parse(&sample()).unwrap();
    assert_eq!(btf.enum_value("kernel_read_file_id", "READING_MODULE"), Some(2));
    assert_eq!(btf.enum_value("signed", "MINUS"), Some(-1));
    assert_eq!(btf.enum_value("wide", "WIDE"), Some((1 << 32) + 5));
    assert_eq!(btf.enum_value("wide", "WIDER"), Some((2 << 32) + 6));
    assert_eq!(btf.enum_value("kernel_read_file_id", "READING_POLICY"), None);
}

/// Functions are distinguished from structs, and variadic functions from others.
#[test]
fn variadic_function_is_distinguished() {
    let btf = Btf::parse(&sample()).unwrap();
    assert!(btf.has_func("do_init_module"));
    assert!(!btf.has_func("task_struct"));
    assert_eq!(btf.func("__request_module"), Some(Prototype { params: 2, variadic: true }));
    assert_eq!(btf.func_param_count("do_init_module"), Some(1));
    assert_eq!(btf.func("absent"), None);
}

/// Lookups in cyclic typedefs and anonymous structs terminate.
#[test]
fn lookup_in_cyclic_types_terminates() {
    let mut b = Builder::new();
    b.alias(Kind::Typedef, "loop", 1);
    b.structure("ring", 8, &[("", 2, 0, 0), ("self", 3, 0, 0)]);
    b.array(3, 2);
    let fan: Vec<_> = (0..64).map(|_| ("", 4, 0, 0)).collect();
    b.structure("fan", 8, &fan);
    let btf = Btf::parse(&b.bytes()).unwrap();
    assert_eq!(btf.offset(&["loop", "x"]), None);
    assert_eq!(btf.offset(&["ring", "x"]), None);
    assert_eq!(btf.offset(&["ring", "self"]), None);
    assert_eq!(btf.offset(&["fan", "x"]), None);
}

/// Each kind of invalid BTF has its own error.
#[test]
fn invalid_btf_error_names_the_reason() {
    let whole = sample();
    assert!(matches!(Btf::parse(&[]), Err(BtfError::Truncated { what: "the magic number", .. })));
    assert!(matches!(Btf::parse(b"\x7fELF"), Err(BtfError::Magic { found: 0x457f })));
    let mut other_version = whole.clone();
    other_version[2] = 2;
    assert!(matches!(Btf::parse(&other_version), Err(BtfError::Version { found: 2 })));
    let missing = Btf::load_from(Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(missing.contains("CONFIG_DEBUG_INFO_BTF=y"), "{missing}");
}

/// Types before one of an unknown kind are found; that others are missing is known.
#[test]
fn types_before_an_unknown_kind_are_found() {
    let mut b = Builder::new();
    let int = b.int("int", 4, 32);
    b.structure("task_struct", 8, &[("pid", int, 0, 0)]);
    b.raw(31, false, "future", 0, &[[1, 2, 3]]);
    b.structure("file", 8, &[("f_path", int, 0, 0)]);
    let btf = Btf::parse(&b.bytes()).unwrap();
    assert_eq!(btf.offset(&["task_struct", "pid"]), place(0, 4));
    assert_eq!(btf.offset(&["file", "f_path"]), None);
    assert!(matches!(btf.unread(), Some(BtfError::UnknownKind { id: 3, kind: 31 })));
    assert!(Btf::parse(&sample()).unwrap().unread().is_none());
}

/// Performs every kind of lookup; only panics and endless loops matter.
fn ask(btf: &Btf) {
    for path in [["task_struct", "deep"], ["task_struct", "comm"], ["twice", "a"], ["ring", "x"]] {
        let _ = btf.offset(&path);
    }
    let _ = (btf.struct_size("task_struct"), btf.func("__request_module"), btf.enum_value("wide", "WIDE"));
}

/// A truncated blob is rejected at every length.
#[test]
fn truncated_blob_is_rejected() {
    let whole = sample();
    for len in 0..whole.len() {
        assert!(Btf::parse(&whole[..len]).is_err(), "{len} of {} bytes were accepted", whole.len());
    }
}

proptest! {
    /// A damaged blob is rejected or can be searched, without a panic or an endless loop.
    #[test]
    fn damaged_blob_does_not_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = sample();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            ask(&btf);
        }
    }

    /// Any bytes after a valid header are rejected or can be searched, without a panic or an endless loop.
    #[test]
    fn any_bytes_after_header_do_not_panic(noise in proptest::collection::vec(any::<u8>(), 0..512), split in any::<prop::sample::Index>()) {
        let mut bytes = Builder::new().bytes();
        bytes.truncate(24);
        let split = u32::try_from(split.index(noise.len() + 1)).unwrap();
        bytes[12..16].copy_from_slice(&split.to_ne_bytes());
        bytes[16..20].copy_from_slice(&split.to_ne_bytes());
        let rest = u32::try_from(noise.len()).unwrap() - split;
        bytes[20..24].copy_from_slice(&rest.to_ne_bytes());
        bytes.extend_from_slice(&noise);
        if let Ok(btf) = Btf::parse(&bytes) {
            ask(&btf);
        }
    }
}

/// The blob of the running kernel has the members that the probes read, and is rejected if truncated.
#[test]
fn running_kernel_has_the_members_of_the_probes() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let bytes = std::fs::read(path).expect("these tests need a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.offset(&["task_struct", "comm"]).unwrap().size_bytes, 16);
    assert_eq!(btf.offset(&["task_struct", "pid"]).unwrap().size_bytes, 4);
    assert_eq!(btf.offset(&["pid_namespace", "ns", "inum"]).unwrap().size_bytes, 4);
    assert_eq!(btf.offset(&["list_head", "prev"]), place(8, 8));
    assert!(btf.struct_size("pt_regs").unwrap() >= 21 * 8);
    assert!(btf.has_func("do_exit"));
    for len in (0..bytes.len()).step_by(bytes.len() / 50) {
        assert!(Btf::parse(&bytes[..len]).is_err(), "{len}");
    }
}
