//! Tests of the symbol table.

use proptest::prelude::*;

use super::{Kallsyms, KallsymsError, Symbol};

const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t free_modprobe_argv
ffffffff81000200 T __request_module
ffffffff82000000 D modprobe_path
ffffffff82000040 d local_data
ffffffffc0200000 t helper\t[nf_tables]
ffffffffc0200100 T nft_init\t[nf_tables]
ffffffffc0100000 t ctnetlink_init\t[nf_conntrack_netlink]
ffffffffc0400000 t bpf_prog_6deef7357e7b4530_request\t[bpf]
ffffffffc0400100 t bpf_trampoline_6442505566\t[bpf]
";

const fn symbol<'a>(name: &'a str, offset: u64, module: Option<&'a str>) -> Option<Symbol<'a>> {
    Some(Symbol { name, offset, module })
}

/// An address belongs to the symbol before it; of several at one address, to the first.
#[test]
fn address_belongs_to_symbol_before_it() {
    let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(symbols.resolve(0xffff_ffff_8100_0000), symbol("_stext", 0, None));
    assert_eq!(symbols.resolve(0xffff_ffff_8100_0010), symbol("_stext", 0x10, None));
    assert_eq!(symbols.resolve(0xffff_ffff_8100_02ff), symbol("__request_module", 0xff, None));
    assert_eq!(symbols.resolve(0xffff_ffff_c020_0011), symbol("helper", 0x11, Some("nf_tables")));
    assert_eq!(symbols.resolve(0xffff_ffff_c010_0001), symbol("ctnetlink_init", 1, Some("nf_conntrack_netlink")));
    let trampoline = symbol("bpf_trampoline_6442505566", 0x20, Some("bpf"));
    assert_eq!(symbols.resolve(0xffff_ffff_c040_0120), trampoline);
}

/// An address far behind a symbol belongs to none: it may be memory of a module that is gone.
#[test]
fn address_in_a_gap_has_no_symbol() {
    let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
    for address in [0, 0xffff_ffff_80ff_ffff, 0xffff_ffff_8150_0000, 0xffff_ffff_c020_1100, 0xffff_ffff_c010_2000] {
        assert_eq!(symbols.resolve(address), None, "{address:#x}");
    }
}

/// Functions and global variables of the kernel are found by name; per-CPU offsets and symbols of modules are not.
#[test]
fn only_names_of_the_kernel_itself_have_addresses() {
    let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(
        symbols.addresses_of(["modprobe_path", "free_modprobe_argv", "fixed_percpu_data", "nft_init"]),
        [Some(0xffff_ffff_8200_0000), Some(0xffff_ffff_8100_0100), None, None]
    );
}

/// Hidden addresses are an error that names the setting and the fix.
#[test]
fn hidden_addresses_are_an_error() {
    let root = tempfile::tempdir().unwrap();
    let proc = root.path().join("proc/sys/kernel");
    std::fs::create_dir_all(&proc).unwrap();
    std::fs::write(proc.join("kptr_restrict"), "2\n").unwrap();
    std::fs::write(root.path().join("proc/kallsyms"), "0000000000000000 T _text\n").unwrap();
    let error = Kallsyms::load_from(root.path()).unwrap_err();
    assert!(matches!(&error, KallsymsError::Hidden { kptr_restrict } if kptr_restrict == "2"));
    assert!(error.to_string().contains("CAP_SYSLOG"), "{error}");
}

/// The symbols of new modules are read when they are read again; on error the old ones stay.
#[test]
fn symbols_are_read_again() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    let file = root.path().join("proc/kallsyms");
    std::fs::write(&file, "ffffffff81000000 T _text\n").unwrap();
    let mut symbols = Kallsyms::load_from(root.path()).unwrap();
    std::fs::write(&file, "ffffffff81000000 T _text\nffffffffc0000000 t init\t[can]\n").unwrap();
    assert_eq!(symbols.len(), 1);
    symbols.reload().unwrap();
    std::fs::write(&file, "invalid\n").unwrap();
    assert!(symbols.reload().is_err());
    assert_eq!(symbols.resolve(0xffff_ffff_c000_0000), symbol("init", 0, Some("can")));
}

/// A text that is not of this form is an error with the number of its first invalid line.
#[test]
fn invalid_line_is_reported_with_its_number() {
    for bad in ["ffff T", "zzzz T x", "ffff TT x", "ffff T x nf_tables"] {
        let text = format!("ffffffff81000000 T _text\n{bad}\n");
        let error = Kallsyms::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, KallsymsError::Malformed { line: 2, .. }), "{bad}: {error}");
    }
}

/// A module whose name has a newline costs its own symbols: no other symbol takes their addresses, and the rest of the name
/// is no symbol of the kernel.
#[test]
fn odd_module_name_costs_its_own_symbols() {
    let odd = "ffffffffc0200200 t init\t[d\x1b\nffffffff82000000 D modprobe_path\ny,]\n";
    let symbols = Kallsyms::parse(format!("{TEXT}{odd}ffffffffc0300000 t late\t[dummy]\n").as_bytes()).unwrap();
    assert_eq!(symbols.resolve(0xffff_ffff_c020_0201), None);
    assert_eq!(symbols.resolve(0xffff_ffff_c020_0101), symbol("nft_init", 1, Some("nf_tables")));
    assert_eq!(symbols.resolve(0xffff_ffff_c030_0001), symbol("late", 1, Some("dummy")));
    assert_eq!(symbols.addresses_of(["modprobe_path"]), [Some(0xffff_ffff_8200_0000)]);
    assert!(symbols.note().unwrap().starts_with("3 lines of /proc/kallsyms skipped"));
    assert_eq!(Kallsyms::parse(TEXT.as_bytes()).unwrap().note(), None);
}

proptest! {
    /// Whatever the bytes of one module's name, all other symbols are found.
    #[test]
    fn any_module_name_leaves_the_other_symbols(name in proptest::collection::vec(1_u8.., 1..56)) {
        let mut text = TEXT.as_bytes().to_vec();
        text.extend(b"ffffffffc0300000 t init\t[");
        text.extend(&name);
        text.extend(b"]\nffffffffc0500000 t late\t[dummy]\n");
        let symbols = Kallsyms::parse(&text).unwrap();
        prop_assert_eq!(symbols.resolve(0xffff_ffff_c050_0001), symbol("late", 1, Some("dummy")));
        prop_assert_eq!(symbols.resolve(0xffff_ffff_8100_0200), symbol("__request_module", 0, None));
        prop_assert_eq!(symbols.addresses_of(["free_modprobe_argv"]), [Some(0xffff_ffff_8100_0100)]);
    }

    /// Any text is read or refused, and any address is answered.
    #[test]
    fn any_text_is_read_or_refused(text in "([0-9a-f]{1,17} [tTdDa] [a-z]{1,8}(\t\\[[a-z]{1,4}\\])?\n){0,20}", address in any::<u64>()) {
        if let Ok(symbols) = Kallsyms::parse(text.as_bytes()) {
            let _ = symbols.resolve(address);
        }
    }

    /// Lookups find the same symbol as a search through all lines, whatever their order.
    #[test]
    fn lookup_equals_linear_search(
        mut addresses in proptest::collection::vec(1_u64..60, 1..40),
        asked in proptest::collection::vec(0_u64..70, 1..20),
    ) {
        // A low address is of the kernel itself, a high one of a module: two of their symbols never share an address.
        // The kernel lists its own symbols first.
        addresses.sort_by_key(|address| *address >= 30);
        let module = |address: u64| if address < 30 { "" } else { "\t[can]" };
        let text: String =
            addresses.iter().enumerate().map(|(n, it)| format!("{it:x} t f{n}{}\n", module(*it))).collect();
        let symbols = Kallsyms::parse(text.as_bytes()).unwrap();
        for address in asked {
            let start = addresses.iter().copied().filter(|start| *start <= address).max();
            let wanted = start.map(|start| {
                let first = addresses.iter().position(|it| *it == start).unwrap();
                (format!("f{first}"), address - start, (start >= 30).then_some("can"))
            });
            let found = symbols.resolve(address).map(|it| (it.name.to_owned(), it.offset, it.module));
            prop_assert_eq!(found, wanted);
        }
        let last = addresses.len() - 1;
        let wanted = (addresses[last] < 30).then_some(addresses[last]);
        prop_assert_eq!(symbols.addresses_of([&format!("f{last}"), "none"]), [wanted, None]);
    }
}

/// The symbols of the running kernel are read, or refused because they are hidden.
#[test]
fn running_kernel_is_read() {
    let symbols = match Kallsyms::load() {
        Ok(symbols) => symbols,
        // Without CAP_SYSLOG.
        Err(error) => return assert!(matches!(error, KallsymsError::Hidden { .. }), "{error}"),
    };
    let [address] = symbols.addresses_of(["do_exit"]).map(Option::unwrap);
    assert_eq!(symbols.resolve(address + 1).map(|symbol| symbol.offset), Some(1));
}
