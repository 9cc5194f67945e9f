//! Policies and baselines on captures, without privileges, as in a CI job after the run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Command};

use common::kmodtrace;
use kmodtrace::event::{
    Ancestor, Attribution, Body, End, Event, Init, Load, Origin, Outcome, Process, Reason, Request, RequestId, Status,
    Text,
};

/// If this variable is set, the schema is written instead of compared.
const WRITE: &str = "KMODTRACE_WRITE_MANUAL";

const DOC: &str = include_str!("../../docs/ci.md");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The code block after the marker of a recipe in docs/ci.md.
fn recipe(name: &str) -> String {
    let (_, rest) = DOC.split_once(&format!("<!-- recipe: {name} -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn process(comm: &str, argv: &[&str]) -> Process {
    Process {
        pid: 100,
        tid: 100,
        start_ns: 5,
        comm: Text::from(comm),
        exe: Some(Text::from(format!("/usr/bin/{comm}"))),
        argv: argv.iter().copied().map(Text::from).collect(),
        ..Process::default()
    }
}

/// One request for `net-pf-30` by `nc`, run by net.sh, which loads the given module or nothing.
fn capture(module: Option<&str>) -> String {
    let id = RequestId { boot_ns: 10, tid: 100 };
    let helper = process("modprobe", &["/sbin/modprobe"]);
    let header = r#"{"type":"header","schema":1,"tool":"t","kernel":"6.1.0","kernel_version":"","arch":"","hostname":"",
        "boot_id":"","modprobe":"","realtime_minus_boot_ns":0,"clock_uncertainty_ns":0,"hooks":[
        {"hook":"request","attached":"kprobe","target":""},{"hook":"helper","attached":"kprobe","target":""},
        {"hook":"load","attached":"kprobe","target":""},{"hook":"init","attached":"fexit","target":""},
        {"hook":"result","attached":"fexit","target":""}]}"#;
    let request = Request {
        name: Text::from("net-pf-30"),
        wait: Some(true),
        process: process("nc", &["nc", "-T"]),
        ancestors: vec![Ancestor {
            comm: Text::from("net.sh"),
            exe: Some(Text::from("bash")),
            script: Some(Text::from("tests/net.sh")),
            ..Ancestor::default()
        }],
        ancestors_truncated: false,
        syscall: Some("socket".to_owned()),
        syscall_abi: None,
        stack: Vec::new(),
        user_stack: Vec::new(),
        parent_request: None,
        parent_attribution: None,
        in_init: None,
        behalf: None,
        explanation: Some("socket(AF_TIPC): no socket of this address family was ever opened".to_owned()),
        late: false,
        attribution: Attribution::exact(),
    };
    let mut bodies = vec![
        (None, serde_json::from_str(header).unwrap()),
        (None, serde_json::from_str(r#"{"type":"baseline","modules":[]}"#).unwrap()),
        (Some(id), Body::Request(Box::new(request))),
    ];
    if let Some(module) = module {
        let load: Load = serde_json::from_value(serde_json::json!({
            "module": module, "origin": Origin::Request, "process": helper, "ancestors": [], "taints": "",
            "reason": Reason::Alias, "attribution": "exact",
        }))
        .unwrap();
        bodies.push((Some(id), Body::Load(Box::new(load))));
        let init = Init { module: Text::from(module), pid: 100, start_ns: 5, ret: 0, duration_ns: 1, effect: None };
        bodies.push((Some(id), Body::Init(init)));
    }
    let status = if module.is_some() { Status::Loaded } else { Status::NotFound };
    bodies.push((Some(id), Body::Result(Outcome::new(status, Attribution::exact()))));
    let loads = u64::from(module.is_some());
    bodies.push((None, Body::End(End { requests: 1, loads, ..End::default() })));
    let time = "2026-03-01T00:00:00Z".parse().unwrap();
    let event = |(seq, (request, body))| Event { seq, time, boot_ns: seq, request, body };
    (0..).zip(bodies).map(event).map(|event| serde_json::to_string(&event).unwrap() + "\n").collect()
}

/// The policy in the documentation is valid, passes for its example, and has no warnings except those that depend on
/// the system.
#[test]
fn documented_policy_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let (_, rest) = DOC.split_once("```toml\n").unwrap();
    fs::write(directory.path().join("p.toml"), rest.split_once("```").unwrap().0).unwrap();
    fs::write(directory.path().join("base.toml"), "version = 1\n").unwrap();
    let output = kmodtrace(directory.path(), &["policy", "test", "p.toml"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "ok      ss may list sockets\n".to_owned()));
    let output = kmodtrace(directory.path(), &["policy", "check", "p.toml"]);
    assert!(!text(&output.stdout).contains("unreachable"), "{}", text(&output.stdout));
}

/// docs/policy.schema.json is the output of `kmodtrace policy schema` and contains the keys of a rule.
#[test]
fn stored_schema_matches_output() {
    let output = kmodtrace(Path::new("."), &["policy", "schema"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/policy.schema.json");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &output.stdout).unwrap();
    }
    let kept = fs::read(&path).unwrap();
    assert!(kept == output.stdout, "run `cargo xtask bless`");
    let schema: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    let rule = &schema["$defs"]["RuleEntry"];
    for key in ["name", "action", "module", "user_namespace", "expires", "skip"] {
        assert!(rule["properties"].get(key).is_some(), "{key}");
    }
    assert_eq!((&rule["additionalProperties"], &schema["additionalProperties"]), (&false.into(), &false.into()));
}

/// A violation names the requester, for a file and for standard input.
#[test]
fn check_violation_names_the_requester() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("cap.jsonl", &capture(Some("tipc")));
    write("p.toml", "version = 1\n[[rule]]\naction = 'deny'\nmodule = 'tipc'\n");
    let output = kmodtrace(directory.path(), &["check", "-p", "p.toml", "--ktap", "-", "cap.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let blame = "`nc -T` run by tests/net.sh loaded tipc (asked for \"net-pf-30\"; socket(AF_TIPC): no socket";
    assert!(text(&output.stderr).contains(blame), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(blame));
    write("allow.toml", "version = 1\n[[rule]]\naction = 'allow'\nexe = 'nc'\n");
    assert_eq!(kmodtrace(directory.path(), &["check", "-p", "allow.toml", "cap.jsonl"]).status.code(), Some(0));
    for arguments in
        [&["check", "cap.jsonl"][..], &["check", "-p", "no.toml", "cap.jsonl"], &["check", "-p", "p.toml", "p.toml"]]
    {
        assert_eq!(kmodtrace(directory.path(), arguments).status.code(), Some(125), "{arguments:?}");
    }
}

/// A pattern that can never match is an error with its position, in `policy check` and when a capture is checked.
#[test]
fn pattern_that_never_matches_is_error() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("cap.jsonl", &capture(Some("tipc")));
    let rule = |key: &str| format!("[[rule]]\naction = 'deny'\n{key}\n");
    write("p.toml", &format!("version = 1\ndefault = 'allow'\n{}{}", rule("module = 'tipc '"), rule("uid = '00'")));
    let output = kmodtrace(directory.path(), &["policy", "check", "p.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    assert!(
        lines.starts_with("p.toml:5:10: never-matches: invalid module pattern \"tipc \", which can never match"),
        "{lines}"
    );
    assert!(
        lines.contains("\np.toml:8:7: never-matches: invalid uid pattern \"00\", which can never match: expected"),
        "{lines}"
    );
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for arguments in [&["check", "-p", "p.toml", "cap.jsonl"][..], &["policy", "test", "p.toml"]] {
        let output = kmodtrace(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(text(&output.stderr).contains("p.toml:5:10: "), "{}", text(&output.stderr));
    }
}

/// A rule on the path of an ancestor's executable, of which only the last component is known, is an error.
#[test]
fn rule_on_partly_known_path_is_error() {
    let capture =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/captures/outage-6.1.jsonl");
    let directory = tempfile::tempdir().unwrap();
    let rule = "version = 1\ndefault = 'allow'\n[[rule]]\naction = 'deny'\norigin = 'explicit'\n";
    for (exe, code) in [("/usr/bin/dash", 125), ("dash", 1), ("*/dash", 1), ("/usr/bin/no-such", 0)] {
        fs::write(directory.path().join("p.toml"), format!("{rule}exe = '{exe}'\n")).unwrap();
        let output = kmodtrace(directory.path(), &["check", "-p", "p.toml", capture.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{exe}: {}", text(&output.stderr));
    }
}

/// Generated files escape every character that hides or reorders text and can be read back; `-o` writes the same as
/// standard output; and a forged snapshot does not reach the terminal.
#[test]
fn generated_files_escape_hidden_characters() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let hostile = "x\u{202e}y\u{9b}31m\u{feff}";
    let capture = capture(Some("tipc")).replace("/usr/bin/nc", &format!("/usr/bin/{hostile}"));
    write("cap.jsonl", &capture.replace("no socket of this", &format!("no {hostile} of this")));
    let is_hidden = |text: &str| text.contains(['\u{202e}', '\u{9b}', '\u{feff}']);
    for verb in [&["policy", "learn"][..], &["snapshot"]] {
        let run = |more: &[&str]| kmodtrace(directory.path(), &[verb, more].concat());
        let printed = run(&["cap.jsonl"]);
        assert!(printed.status.success());
        let printed = text(&printed.stdout);
        assert!(printed.contains("\\u202e") && !is_hidden(&printed), "{printed}");
        assert!(run(&["-o", "out", "cap.jsonl"]).status.success());
        assert_eq!(read("out"), printed);
        assert_eq!(run(&["-o", "cap.jsonl", "cap.jsonl"]).status.code(), Some(125), "it is an input");
    }
    write("learned.toml", &text(&kmodtrace(directory.path(), &["policy", "learn", "cap.jsonl"]).stdout));
    let output = kmodtrace(directory.path(), &["check", "--json", "-p", "learned.toml", "cap.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!is_hidden(&text(&output.stdout)));
    let good = read("out");
    write("forged.json", &good.replace("\"loaded\"", "\"loaded\\u001b]0;OWNED\\u0007\""));
    let output = kmodtrace(directory.path(), &["diff", "out", "forged.json"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(output.stdout.is_empty() && !text(&output.stderr).contains('\u{1b}'), "{}", text(&output.stderr));
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The documented `git bisect` example finds the commit that stops loading the module, and skips an untestable one.
#[test]
fn documented_git_bisect_finds_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let run = |line: &str| {
        let path = std::env::var("PATH").unwrap();
        let bin = Path::new(env!("CARGO_BIN_EXE_kmodtrace")).parent().unwrap().display().to_string();
        let output = Command::new("sh")
            .current_dir(at)
            .args(["-ec", line])
            .env("PATH", format!("{bin}:{path}"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(at, &["init", "-q"]);
    // The behaviour of the kernel of each commit; one of them does not boot.
    let good = capture(Some("tipc"));
    let cut: String = good.lines().take(3).map(|line| format!("{line}\n")).collect();
    for (number, behaviour) in [&good, &good, &good, &cut, &capture(None), &capture(None)].into_iter().enumerate() {
        fs::write(at.join("behaviour.jsonl"), behaviour).unwrap();
        fs::write(at.join("source.c"), format!("{number}\n")).unwrap();
        git(at, &["add", "-A"]);
        git(at, &["commit", "-q", "-m", &format!("commit {number}")]);
        if number == 0 {
            git(at, &["tag", "good"]);
        }
    }
    for (name, script) in
        [("bisect.sh", recipe("bisect")), ("capture.sh", "#!/bin/sh\ncp behaviour.jsonl $1\n".to_owned())]
    {
        fs::write(at.join(name), script).unwrap();
    }
    fs::write(at.join("good.jsonl"), &good).unwrap();
    run("chmod +x bisect.sh capture.sh; kmodtrace snapshot -o good.json good.jsonl");
    let found = Command::new("sh")
        .current_dir(at)
        .args(["-c", &recipe("bisect-run")])
        .env(
            "PATH",
            format!(
                "{}:{}",
                Path::new(env!("CARGO_BIN_EXE_kmodtrace")).parent().unwrap().display(),
                std::env::var("PATH").unwrap()
            ),
        )
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&found.stdout).into_owned() + &String::from_utf8_lossy(&found.stderr);
    // The untestable commit precedes the bad one, so git reports both.
    assert!(said.contains("commit 4") || said.contains(&git(at, &["rev-parse", "main~1"]).trim().to_owned()), "{said}");
    assert!(
        said.contains(
            "now.jsonl no longer auto-loads tipc on socket(AF_TIPC) (\"net-pf-30\") by /usr/bin/nc (`nc -T` run by \
             tests/net.sh): was loaded, now not-found"
        ),
        "{said}"
    );
}

/// A policy check without the kernel's module list reports that names were not checked.
#[test]
fn unchecked_names_are_reported() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("p.toml"), "version = 1\n[[rule]]\naction = 'deny'\nmodule = 'no_such_module'\n")
        .unwrap();
    let output = kmodtrace(scratch.path(), &["policy", "check", "p.toml"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    // This system may or may not have the modules of its kernel.
    assert_eq!(
        out.contains("unknown-module"),
        !err.contains("cannot check the names of modules and aliases"),
        "{out}{err}"
    );
    assert!(err.contains("1 rule, "), "{err}");
}
