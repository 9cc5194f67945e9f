//! The exact text of the tree.

use super::block;
use crate::{
    chain::samples,
    chain::{Chain, Item},
    event::{Attribution, Device, Text},
    output::{Colour, Style},
};

const PLAIN: Style = Style {
    colour: Colour::None,
    unicode: false,
    ascii: false,
    utc: true,
    names_zone: false,
    stacks: false,
    width: None,
};

fn shown(item: &Item, style: Style) -> String {
    block(item, style).expect("the item is shown")
}

fn chain_of(item: Item) -> Chain {
    match item {
        Item::Chain(chain) => *chain,
        Item::Event(event) => panic!("{event:?} is not a chain"),
    }
}

/// A request shows its requester, helper, modules, effects and result.
#[test]
fn tree_request_shows_requester_and_modules() {
    assert_eq!(
        shown(&samples::outage(), PLAIN),
        r#"12:04:31.201 iptables -t nat -L
  who      pid 557, root (0), logged in as alice (1000), /usr/sbin/xtables-legacy-multi
  from     bash(540) <- sshd(512) <- sshd(480) <- systemd(1)
  asked    the kernel for "iptable_nat" in getsockopt(), from xt_request_find_table_lock+0x4a [x_tables]
           iptables -t nat (IPv4 table)
  helper   /sbin/modprobe -q -- iptable_nat (pid 561)
  loaded   nf_defrag_ipv4  init   100 us  dependency
           nf_conntrack    init   1.2 ms  soft dependency
           iptable_nat     init   300 us  asked for
  effect   nf_conntrack: the table holds 65536 connections
  result   loaded; iptables was blocked for 38.0 ms
"#
    );
}

/// A device is shown above its modules; with several candidates none is named.
#[test]
fn tree_device_is_above_its_modules() {
    let mut chain = chain_of(samples::by_hand());
    let device = |devpath: Option<&str>, candidates| Device {
        devpath: devpath.map(Text::from),
        modalias: Some(Text::from("pci:v00008086d\n")),
        subsystem: None,
        action: Some(Text::from("add")),
        candidates,
        devpaths: (1..candidates).map(|number| Text::from(format!("/devices/{number}\u{1b}"))).collect(),
        attribution: devpath.map_or(Attribution::unknown(), |_| Attribution::inferred("uevent-modalias")),
    };
    chain.modules[0].load.device = Some(device(Some("/devices/pci0000:00"), 1));
    chain.modules[1].load.device = Some(device(None, 3));
    let text = shown(&Item::Chain(Box::new(chain)), PLAIN);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("device ") || line.contains("loaded ")).collect();
    assert_eq!(
        lines,
        [
            "  device   /devices/pci0000:00 (add, 'pci:v00008086d\\n') (inferred: uevent-modalias)",
            "  loaded   x_tables   init  50.0 us",
            "  device   one of 3 (add, 'pci:v00008086d\\n'): '/devices/1\\x1b', '/devices/2\\x1b', ...",
            "  loaded   ip_tables  init  40.0 us",
        ]
    );
}

/// Nested chains are shown below the module whose init requested them, and a failed module is shown once.
#[test]
fn tree_nested_request_is_below_its_module() {
    assert_eq!(
        shown(&samples::nested(), PLAIN),
        r#"12:04:31.201 cryptsetup open '/dev/sda 2' ''
  who      pid 700, root (0), no login, /usr/sbin/cryptsetup
  asked    the kernel for "dm-crypt"
  helper   /sbin/modprobe -q -- dm-crypt (pid 701)
  loaded   dm_crypt   init   2.0 ms  provides the alias
           `- modprobe(701) asked for "crypto-aes" in the init of dm_crypt
                helper   /sbin/modprobe -q -- crypto-aes (pid 710)
                loaded   aesni_intel  init   900 ns  provides the alias
                result   loaded; modprobe was blocked for 1.5 ms
  failed   dm_broken  init failed: ENODEV (-19)  dependency
  in turn  `- cryptomgr_probe(712) asked for "crypto-xts" on behalf of modprobe(701) (inferred: kthread-creator)
                result   not-found
                note     incomplete: 3 events were lost while it ran (ring_full)
  failed   finit_module of /lib/modules/6.1/unsigned.ko by modprobe(701): ENOKEY
  result   loaded; cryptsetup was blocked for 5.0 s
"#
    );
}

/// A nested request whose parent was already shown names its parent and its cause.
#[test]
fn tree_late_nested_request_names_its_parent() {
    let late = chain_of(samples::nested()).nested.remove(1);
    assert_eq!(
        shown(&Item::Chain(Box::new(late)), PLAIN),
        r#"12:04:31.201 modprobe(701) through the kernel thread cryptomgr_probe(712) (inferred: kthread-creator)
  who      pid 712, root (0), kernel thread
  asked    the kernel for "crypto-xts"
  part of  request 2000-700, shown separately (inferred: kthread-creator)
  result   not-found
  note     incomplete: 3 events were lost while it ran (ring_full)
"#
    );
}

/// An inferred outcome shows the rule it was inferred by.
#[test]
fn tree_inferred_outcome_shows_its_rule() {
    assert_eq!(
        shown(&samples::not_found(), PLAIN),
        r#"12:04:31.201 mount -t nosuchfs none /mnt
  who      pid 800, uid 1000, effective uid 0, no login, /usr/bin/mount
  asked    the kernel for "fs-nosuchfs" in mount()
  helper   /sbin/modprobe -q -- fs-nosuchfs (pid 801)
  result   not-found: no module provides it (inferred: modprobe-config); mount was blocked for 4.0 ms
"#
    );
}

/// Loads by modprobe and unloads by rmmod are attributed to the program that ran them.
#[test]
fn tree_modprobe_and_rmmod_are_attributed_to_their_parent() {
    assert_eq!(
        shown(&samples::by_hand(), PLAIN),
        r#"12:04:31.201 iptables(557) ran: /sbin/modprobe ip_tables
  who      pid 558, root (0), no login, /usr/bin/kmod
  from     iptables(557) <- bash(540) <- systemd(1)
  asked    no request: explicit load by this process
  loaded   x_tables   init  50.0 us
           ip_tables  init  40.0 us
  result   loaded
"#
    );
    assert_eq!(
        shown(&samples::unload(), PLAIN),
        r#"12:04:31.201 bash(540) ran: rmmod nf_conntrack
  who      pid 950, root (0), no login, /usr/bin/kmod
  from     bash(540) <- sshd(512)
  unloaded nf_conntrack
"#
    );
    assert_eq!(
        shown(&samples::failed_unload(), PLAIN),
        r#"12:04:31.201 bash(540) ran: rmmod nf_conntrack
  who      pid 951, root (0), no login, /usr/bin/kmod
  from     bash(540) <- sshd(512)
  failed   delete_module of nf_conntrack by rmmod(951): EBUSY
"#
    );
}

/// Hostile names are escaped in all fields, widths and colours.
#[test]
fn tree_hostile_names_are_escaped() {
    let hostile = samples::hostile();
    assert_eq!(
        shown(&hostile, PLAIN),
        r#"12:04:31.201 'a b' '' 'it\x27s' '\\n' 'x\n12:00:00.000 innocent' \u{200b}
  who      pid 900, root (0), no login, /tmp/\u{202e}txt.exe
  asked    the kernel for "net\xff\npf" in socket\n(), from evil\x1b[1m+0x4a [mod\rule]
           \x1b]0;title\x07
  loaded   mod\u{9b}ule  init not seen  provides the alias  taints O\x08
  result   failed: line\u{2028}break
  note     incomplete: the init of \x1bc ended, but its load was not seen
"#
    );
    let coloured = shown(&hostile, Style { colour: Colour::Ansi, stacks: true, width: Some(40), ..PLAIN });
    let bare = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"]
        .iter()
        .fold(coloured.clone(), |text, code| text.replace(code, ""));
    assert!(bare.lines().all(|line| !line.contains(char::is_control)), "{bare:?}");
    assert!(bare.len() < coloured.len() && bare.lines().all(|line| line.chars().count() <= 40), "{bare}");
}

/// Stacks are shown if requested, and an incomplete chain shows what is missing.
#[test]
fn tree_incomplete_chain_shows_what_is_missing() {
    let mut outage = chain_of(samples::outage());
    let with_stacks = shown(&Item::Chain(Box::new(outage.clone())), Style { stacks: true, ..PLAIN });
    let stack = "  stack    xt_request_find_table_lock+0x4a [x_tables]\n           get_info+0x4a [ip_tables]\n";
    assert!(with_stacks.contains(stack), "{with_stacks}");

    outage.request = None;
    outage.result = None;
    outage.modules.clear();
    outage.incomplete = vec!["its request was not seen: unknown requester".to_owned()];
    assert_eq!(
        shown(&Item::Chain(Box::new(outage)), PLAIN),
        r#"12:04:31.201 a request whose beginning was not seen
  who      not seen: request 1000-557
  helper   /sbin/modprobe -q -- iptable_nat (pid 561)
  result   not seen
  note     incomplete: its request was not seen: unknown requester
"#
    );
}

/// Loads by a helper without its request have an unknown cause.
#[test]
fn tree_helper_without_request_has_unknown_cause() {
    let mut outage = chain_of(samples::outage());
    outage.request = None;
    let text = shown(&Item::Chain(Box::new(outage)), PLAIN);
    assert!(text.starts_with("12:04:31.201 the kernel ran: [modprobe]\n  who      pid 561, "), "{text}");
    assert!(text.contains("\n  asked    a helper of the kernel whose request was not seen: unknown cause\n"));
}
