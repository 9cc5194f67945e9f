//! Sections of manual pages that clap does not generate: examples, files, environment, related pages.

/// A term and its description.
type Item = (&'static str, &'static str);

/// The additional sections of a page.
#[derive(Debug)]
pub(super) struct Sections {
    /// The verb as typed: `run`, `policy learn`; empty for kmodtrace itself.
    verb: &'static str,
    /// Commands with their descriptions.
    pub(super) examples: &'static [Item],
    pub(super) files: &'static [Item],
    pub(super) environment: &'static [Item],
    /// Pages with their section.
    pub(super) see_also: &'static [&'static str],
}

/// The sections of a verb's page.
pub(super) fn of(verb: &str) -> Option<&'static Sections> {
    PAGES.iter().find(|page| page.verb == verb)
}

const BTF: Item = ("/sys/kernel/btf/vmlinux", "Type information of the running kernel, which tracing needs.");
const CAPTURES: Item = ("/var/log/kmodtrace", "Captures of the recorder service.");
const MODULES_LOADED: Item = ("/proc/modules, /sys/module", "The loaded modules, and when they were there.");
const KMSG: Item = ("/dev/kmsg", "The kernel's log.");
const MODPROBE_D: Item = ("/etc/modprobe.d", "Configuration of modprobe, see modprobe.d(5).");
const MODULES: Item = ("/lib/modules/$(uname -r)", "Module indexes of the running kernel.");
const PINS: Item = ("/sys/fs/bpf/kmodtrace", "Programs and maps that outlive the recorder (--pin, --arm).");
const JOURNAL: Item = ("/run/systemd/journal/socket", "Receives the hashes of seals (--anchor journald).");
const KEY: Item =
    ("KEY, KEY.pub", "Secret key (mode 0600) and public key of record --sign, 64 hexadecimal digits each.");

const NO_COLOR: Item = ("NO_COLOR", "If set and not empty, --color auto means never.");
const LOCALE: Item = ("LC_ALL, LC_CTYPE, LANG", "Without a UTF-8 locale, output is ASCII.");
const TZ: Item = ("TZ", "Time zone of displayed times, unless --utc is given.");
const TMPDIR: Item = ("TMPDIR", "Directory for temporary files while modprobe is tried (default: /tmp).");
const NOTIFY: Item = ("NOTIFY_SOCKET", "Socket of the service manager, see sd_notify(3).");

const PAGES: &[Sections] = &[
    Sections {
        verb: "",
        examples: &[
            ("kmodtrace run -- iptables -t nat -L", "Show which modules a command makes the kernel load."),
            ("kmodtrace watch --module nf_conntrack", "Show each load of a module on this host, until Ctrl-C."),
            ("kmodtrace report /var/log/kmodtrace", "Show which process loaded which module, from captures."),
            ("kmodtrace block --write iptable_nat", "Prevent a module from being loaded by modprobe."),
        ],
        files: &[BTF, CAPTURES, MODPROBE_D, PINS],
        environment: &[NO_COLOR, LOCALE, TZ],
        see_also: &["modprobe(8)", "modprobe.d(5)", "lsmod(8)", "bpf(2)", "capabilities(7)"],
    },
    Sections {
        verb: "watch",
        examples: &[
            ("kmodtrace watch", "Print a line for each request and explicit load, until Ctrl-C."),
            ("kmodtrace watch --tree --result '!loaded'", "Show every request that did not load a module, in full."),
            (
                "kmodtrace watch --exit-on module=nf_conntrack --duration 1h",
                "Wait up to one hour for a module to be loaded.",
            ),
            ("kmodtrace watch --json -o events.jsonl", "Write all events as JSON Lines."),
        ],
        files: &[BTF],
        environment: &[NO_COLOR, LOCALE, TZ],
        see_also: &["kmodtrace-run(1)", "kmodtrace-record(1)", "kmodtrace-check(1)"],
    },
    Sections {
        verb: "run",
        examples: &[
            ("kmodtrace run -- iptables -t nat -L", "Show which modules a command makes the kernel load."),
            ("kmodtrace run --user alice -- ss -tlnp", "Trace as root; run the command as an unprivileged user."),
            (
                "kmodtrace run --policy autoload.toml --junit out.xml -- ./run-tests.sh",
                "Fail if the tests load a module that the policy does not allow.",
            ),
            ("kmodtrace run --json -o suite.jsonl -- ./suite.sh", "Capture a test suite for later use."),
        ],
        files: &[BTF],
        environment: &[NO_COLOR, LOCALE, TZ],
        see_also: &["kmodtrace-watch(1)", "kmodtrace-check(1)", "kmodtrace-policy(1)", "kmodtrace-snapshot(1)"],
    },
    Sections {
        verb: "record",
        examples: &[
            ("kmodtrace record -o /var/log/kmodtrace", "Record this host until Ctrl-C."),
            (
                "kmodtrace record --pin -o /var/log/kmodtrace --max-size 64M --max-age 24h --keep 100",
                "Record with rotated files, and miss nothing while the recorder restarts.",
            ),
            ("kmodtrace record -o boot.zst --sign /etc/kmodtrace.key", "Record into one file and sign its seals."),
            ("kmodtrace record --unpin", "Detach the programs that --pin or --arm left attached."),
        ],
        files: &[BTF, CAPTURES, PINS, JOURNAL, KEY],
        environment: &[NOTIFY],
        see_also: &["kmodtrace-report(1)", "kmodtrace-verify(1)", "kmodtrace-recover(1)", "kmodtrace-impact(1)"],
    },
    Sections {
        verb: "report",
        examples: &[
            ("kmodtrace report", "List modules, requesters and times, from the captures of the service."),
            ("kmodtrace report --boot --since 1h", "The same for the last hour of this boot."),
            ("kmodtrace report --by exe --top 10 /var/log/kmodtrace", "List the ten most frequent requesters."),
            ("kmodtrace report --new-since yesterday /var/log/kmodtrace", "List what occurred for the first time."),
            ("kmodtrace report --tree --module nf_conntrack capture.zst", "Show every chain that loaded a module."),
            ("kmodtrace report --html report.html capture.zst", "Write a page that can be opened offline."),
        ],
        files: &[CAPTURES],
        environment: &[NO_COLOR, LOCALE, TZ],
        see_also: &["kmodtrace-record(1)", "kmodtrace-verify(1)", "kmodtrace-impact(1)"],
    },
    Sections {
        verb: "verify",
        examples: &[
            ("kmodtrace verify /var/log/kmodtrace", "Check all captures in a directory."),
            ("kmodtrace verify --key key.pub --ended capture.zst", "Require signatures and a complete recording."),
        ],
        files: &[CAPTURES, KEY],
        environment: &[],
        see_also: &["kmodtrace-record(1)", "kmodtrace-recover(1)"],
    },
    Sections {
        verb: "recover",
        examples: &[("kmodtrace recover damaged.zst recovered.zst", "Copy the intact frames of a damaged capture.")],
        files: &[CAPTURES],
        environment: &[],
        see_also: &["kmodtrace-verify(1)", "zstd(1)"],
    },
    Sections {
        verb: "snapshot",
        examples: &[
            ("kmodtrace snapshot -o good.json good.jsonl", "Save a baseline of a workload."),
            ("kmodtrace run --json -o good.jsonl -- ./suite.sh", "Capture the workload first."),
        ],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-diff(1)", "kmodtrace-run(1)"],
    },
    Sections {
        verb: "diff",
        examples: &[
            ("kmodtrace diff good.json now.jsonl", "Compare a capture with a baseline."),
            ("git bisect run sh -c './capture.sh && kmodtrace diff good.json now.jsonl'", "Find the commit."),
        ],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-snapshot(1)", "git-bisect(1)"],
    },
    Sections {
        verb: "check",
        examples: &[
            ("kmodtrace check -p autoload.toml capture.jsonl", "Evaluate a policy on a capture."),
            (
                "kmodtrace check -p autoload.toml --junit out.xml /var/log/kmodtrace",
                "Write the verdict for a CI server.",
            ),
        ],
        files: &[CAPTURES, MODULES],
        environment: &[],
        see_also: &["kmodtrace-policy(1)", "kmodtrace-run(1)"],
    },
    Sections {
        verb: "policy",
        examples: &[
            ("kmodtrace policy learn good.jsonl > autoload.toml", "Write the smallest policy that allows a capture."),
            ("kmodtrace policy check autoload.toml", "Find rules that cannot take effect."),
        ],
        files: &[MODULES],
        environment: &[],
        see_also: &["kmodtrace-check(1)", "kmodtrace-run(1)"],
    },
    Sections {
        verb: "policy check",
        examples: &[("kmodtrace policy check autoload.toml", "Find rules that cannot take effect.")],
        files: &[MODULES],
        environment: &[],
        see_also: &["kmodtrace-policy(1)", "kmodtrace-policy-test(1)"],
    },
    Sections {
        verb: "policy test",
        examples: &[("kmodtrace policy test autoload.toml", "Run each [[case]] of a policy.")],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-policy(1)", "kmodtrace-policy-check(1)"],
    },
    Sections {
        verb: "policy learn",
        examples: &[
            ("kmodtrace policy learn -o autoload.toml good.jsonl", "Allow what a capture contains, deny all else."),
            ("kmodtrace policy learn --expect good.jsonl", "Also require that each module is loaded again."),
        ],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-policy(1)", "kmodtrace-check(1)"],
    },
    Sections {
        verb: "policy schema",
        examples: &[("kmodtrace policy schema > policy.schema.json", "Save the schema for an editor.")],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-policy(1)", "kmodtrace-schema(1)"],
    },
    Sections {
        verb: "explain",
        examples: &[
            ("kmodtrace explain net-pf-30", "Explain an alias that the kernel requests."),
            ("kmodtrace explain --json nf_conntrack", "Explain a module, as JSON."),
        ],
        files: &[MODULES, MODPROBE_D],
        environment: &[LOCALE],
        see_also: &["kmodtrace-impact(1)", "kmodtrace-block(1)", "modinfo(8)"],
    },
    Sections {
        verb: "why",
        examples: &[
            ("kmodtrace why nf_conntrack", "Show why a module is loaded, who holds it, and how to keep it out."),
            ("kmodtrace why --json fs-xfs", "The same for an alias, as JSON (docs/schema/why.json)."),
        ],
        files: &[CAPTURES, MODULES_LOADED, KMSG, MODULES, MODPROBE_D],
        environment: &[LOCALE, TZ],
        see_also: &["kmodtrace-report(1)", "kmodtrace-explain(1)", "kmodtrace-block(1)", "journalctl(1)", "dmesg(1)"],
    },
    Sections {
        verb: "impact",
        examples: &[
            ("kmodtrace impact nf_conntrack", "Show which programs used a module, from the service's captures."),
            ("kmodtrace impact sctp tipc a.zst b.zst", "The same for two modules and given captures."),
        ],
        files: &[CAPTURES, MODULES],
        environment: &[],
        see_also: &["kmodtrace-explain(1)", "kmodtrace-block(1)", "kmodtrace-record(1)"],
    },
    Sections {
        verb: "surface",
        examples: &[
            ("kmodtrace surface", "List the modules that unprivileged users can make the kernel load."),
            ("kmodtrace surface --block /var/log/kmodtrace", "Print modprobe.d rules for the unused ones."),
        ],
        files: &[CAPTURES, MODULES, MODPROBE_D],
        environment: &[LOCALE, TMPDIR],
        see_also: &["kmodtrace-block(1)", "kmodtrace-impact(1)", "modprobe.d(5)"],
    },
    Sections {
        verb: "block",
        examples: &[
            ("kmodtrace block iptable_nat", "Print rules that prevent a module from being loaded."),
            ("kmodtrace block --write net-pf-30", "Install the rules for an alias."),
        ],
        files: &[MODPROBE_D, MODULES],
        environment: &[TMPDIR],
        see_also: &["kmodtrace-explain(1)", "kmodtrace-impact(1)", "modprobe.d(5)"],
    },
    Sections {
        verb: "doctor",
        examples: &[
            ("kmodtrace doctor", "Check whether this system can be traced."),
            ("kmodtrace doctor --json", "The same as one JSON object."),
        ],
        files: &[BTF, MODULES],
        environment: &[],
        see_also: &["kmodtrace(1)", "capabilities(7)", "kernel_lockdown(7)"],
    },
    Sections {
        verb: "schema",
        examples: &[("kmodtrace schema > event.schema.json", "Save the schema of events.")],
        files: &[],
        environment: &[],
        see_also: &["kmodtrace-watch(1)", "kmodtrace-record(1)", "kmodtrace-policy(1)"],
    },
    Sections {
        verb: "completions",
        examples: &[(
            "kmodtrace completions bash > /usr/share/bash-completion/completions/kmodtrace",
            "Install the completions for bash.",
        )],
        files: &[("/usr/share/bash-completion/completions", "Completions for bash.")],
        environment: &[],
        see_also: &["kmodtrace(1)", "bash(1)", "zsh(1)", "fish(1)"],
    },
    Sections {
        verb: "man",
        examples: &[
            ("kmodtrace man run | man -l -", "Read the page of a verb."),
            ("kmodtrace man --dir /usr/local/share/man/man1", "Install all pages."),
        ],
        files: &[("/usr/local/share/man/man1", "Manual pages of locally installed commands.")],
        environment: &[],
        see_also: &["kmodtrace(1)", "man(1)"],
    },
];
