# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kmodtrace_global_optspecs
    string join \n v/verbose h/help V/version
end

function __fish_kmodtrace_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kmodtrace_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kmodtrace_using_subcommand
    set -l cmd (__fish_kmodtrace_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "watch" -d 'Show what makes the kernel load modules, as it happens, until Ctrl-C'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "run" -d 'Run a command and show what it makes the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "record" -d 'Record what makes the kernel load modules into files that last'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "verify" -d 'Verify the integrity of captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "recover" -d 'Recover the intact parts of a damaged capture'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "check" -d 'Judge captures by a policy'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "policy" -d 'Lint, learn and test policies'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "snapshot" -d 'Put what captures hold into a form that two kernels can be compared by'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "diff" -d 'Say what another kernel does otherwise with the same workload'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "report" -d 'Tell who loaded what, when and why, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "explain" -d 'Say what asks for a module or alias, what would load here, and what is in the way'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "impact" -d 'Show which programs used a module, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "surface" -d 'List what users without privileges can make the kernel load here, and by what'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "block" -d 'Print lines for modprobe.d that keep modules out, tried with the installed modprobe'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "doctor" -d 'Say what works here, what does not, and how to mend it'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "schema" -d 'Print the JSON Schema of events: of the lines of `--json` and of captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "completions" -d 'Write a completion script for a shell'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "man" -d 'Write the manual: a page to standard output, or all pages into a directory'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s o -l output -d 'Write to FILE instead of the standard stream' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l ring-kib -d 'Size of the ring buffer between kernel and tool, in KiB (a power of two, 64 to 1048576)' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l attach -d 'How to attach the probes' -r -f -a "auto\t'The best way that works here'
kprobe\t'Kprobes alone, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints wherever there is a choice, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l module -d 'Chains that a module is part of' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l alias -d 'Aliases as the kernel asks for them: net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l family -d 'Families of aliases, as `kmodtrace explain` names them: \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l comm -d 'Name of the process that asked or loaded, or that is behind it' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l exe -d 'Its executable: a path, or the last component alone' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l pid -d 'Its process id, or that of one of its ancestors' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l uid -d 'Its real user: number or name' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l cgroup -d 'Path of its cgroup' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l container -d 'Its container: runtime:id, the id, or its first 12 digits' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l unit -d 'Its systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l result -d 'How it ended: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l origin -d 'What made the modules load: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l duration -d 'Stop after this time: 90s, 10m, 1h30m' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l count -d 'Stop after N requests and loads by hand' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l exit-on -d 'Stop at the first request or load that fits FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack; the fields are those of the filters. Repeated: or. When --duration ends first, the exit code is 124' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l policy -d 'Judge by this policy, and say at once what is against it. Exit code: 0 it holds, 1 it is violated, 125 it cannot be said' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l junit -d 'Write the verdict as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l ktap -d 'Write the verdict as KTAP, a test for each rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l verdict -d 'Write the verdict as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l json -d 'Write events as JSON Lines, one object a line. With filters, those of a chain come when it has ended'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l tree -d 'Show each chain in full: who, from where, what was asked, each module, the result'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l lines -d 'Show a line for each chain; storms of the same are one line with a count'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l stacks -d 'Show the kernel stack of each request. Implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l user-symbols -d 'Give the frames of user stacks names, from the symbol tables of the requester\'s files. Implies --stacks'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l utc -d 'Show times in UTC instead of local time'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l github -d 'Print annotations for GitHub Actions on standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s o -l output -d 'Write to FILE instead of the standard stream' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l ring-kib -d 'Size of the ring buffer between kernel and tool, in KiB (a power of two, 64 to 1048576)' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l attach -d 'How to attach the probes' -r -f -a "auto\t'The best way that works here'
kprobe\t'Kprobes alone, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints wherever there is a choice, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l module -d 'Chains that a module is part of' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l alias -d 'Aliases as the kernel asks for them: net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l family -d 'Families of aliases, as `kmodtrace explain` names them: \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l comm -d 'Name of the process that asked or loaded, or that is behind it' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l exe -d 'Its executable: a path, or the last component alone' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l pid -d 'Its process id, or that of one of its ancestors' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l uid -d 'Its real user: number or name' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l cgroup -d 'Path of its cgroup' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l container -d 'Its container: runtime:id, the id, or its first 12 digits' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l unit -d 'Its systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l result -d 'How it ended: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l origin -d 'What made the modules load: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l user -d 'Run the command as this user (name or id), without privileges; tracing itself keeps its own' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l policy -d 'Judge by this policy. Exit code: 0 it holds, 1 it is violated, 125 it cannot be said' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l timeout -d 'End the command after this time (90s, 10m, 1h30m) with SIGTERM, and 5 s later with SIGKILL; the exit code is 124' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l junit -d 'Write the verdict as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l ktap -d 'Write the verdict as KTAP, a test for each rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l verdict -d 'Write the verdict as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l json -d 'Write events as JSON Lines, one object a line. With filters, those of a chain come when it has ended'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l tree -d 'Show each chain in full: who, from where, what was asked, each module, the result'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l lines -d 'Show a line for each chain; storms of the same are one line with a count'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l stacks -d 'Show the kernel stack of each request. Implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l user-symbols -d 'Give the frames of user stacks names, from the symbol tables of the requester\'s files. Implies --stacks'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l utc -d 'Show times in UTC instead of local time'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l host -d 'Show what the whole machine makes the kernel load meanwhile, not the command alone'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l propagate -d 'Where the policy holds, end with the command\'s own exit code'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l skip-if-unsupported -d 'Where tracing is not possible, do not run the command and end with 4 (kselftest\'s skip) instead of 125'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l github -d 'Print annotations for GitHub Actions on standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s o -l output -d 'Where captures go: a directory, in which a new file is begun each time, or a file whose name ends with .zst' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l max-size -d 'Begin a new file when one has this size: 64M, 1G' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l max-age -d 'Begin a new file when one is this old: 12h, 24h' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l keep -d 'Keep so many files, and remove older ones' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l min-free -d 'Leave so much space of the disk alone' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l on-full -d 'What to do when the disk is full or fails' -r -f -a "drop\t'Go on, count what cannot be written, and write again when the disk does'
rotate\t'Remove the oldest captures in the directory until there is room'
stop\t'Write nothing more, and go on counting'
exit\t'End with an error'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l flush -d 'When what is written is made to outlast a crash of the machine' -r -f -a "none\t'When the kernel likes'
incremental\t'Once a second'
data\t'At once'
sync\t'At once, with all metadata'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l sign -d 'Sign each seal with this key: a file of 64 hexadecimal digits that only its owner reads. Its public half, for `verify --key`, is written to KEY.pub' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l anchor -d 'What vouches for seals outside the capture' -r -f -a "journald\t'Tell the journal the hash of a seal each minute'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l duration -d 'Stop after this time: 90s, 10m, 1h30m' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l count -d 'Stop after N requests and loads by hand' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l exit-on -d 'Stop at the first request or load that fits FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack; the fields are those of the filters. Repeated: or. When --duration ends first, the exit code is 124' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l ring-kib -d 'Size of the ring buffer between kernel and tool, in KiB (a power of two, 64 to 1048576)' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l attach -d 'How to attach the probes' -r -f -a "auto\t'The best way that works here'
kprobe\t'Kprobes alone, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints wherever there is a choice, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l pin -d 'Keep the programs attached while no recorder runs: nothing is missed when this one is killed, restarted or upgraded. What happens meanwhile waits in the kernel'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l arm -d 'Attach the programs as with --pin and end: what happens from now on waits for a `record --pin`. For early boot'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l unpin -d 'Detach what --pin or --arm has left, and end'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l key -d 'Each seal must be signed by the key with this public half (KEY.pub of record --sign KEY)' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l ended -d 'Require the end of every recording: without one its recorder was killed, still runs, or the end was removed. Requires the beginning as well'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l begun -d 'Require the beginning of every recording: segment 0'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l json -d 'Write one JSON object for each file'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s p -l policy -d 'The policy' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l key -d 'Each seal must be signed by the key with this public half (KEY.pub of record --sign KEY)' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l junit -d 'Write the verdict as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l ktap -d 'Write the verdict as KTAP, a test for each rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l verdict -d 'Write the verdict as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l json -d 'Write the verdict as one JSON object on standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l github -d 'Print annotations for GitHub Actions on standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "check" -d 'Say what is wrong or doubtful in a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "test" -d 'Run the cases that a policy brings along'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "learn" -d 'Write the smallest policy that holds for what was captured'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "schema" -d 'Print the JSON Schema of policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s o -l output -d 'Write to FILE instead of standard output' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -l expect -d 'Also expect each module: a policy that is violated when one is not loaded any more'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say what is wrong or doubtful in a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "test" -d 'Run the cases that a policy brings along'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "learn" -d 'Write the smallest policy that holds for what was captured'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema of policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s o -l output -d 'Write to FILE instead of standard output' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l slower -d 'Requests that block FACTOR times as long count as a difference, too. Without it they are only told, from 2 on' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l json -d 'Write the differences as JSON, one object a line'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l requests -d 'Requests that load nothing, and are asked on one side alone, count as a difference, too. Without it they are counted, but not told'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l by -d 'Roll the table up by one of its columns' -r -f -a "module\t'Module, or alias where none came'
exe\t'Executable of the requester'
user\t'User'
unit\t'Systemd unit'
container\t'Container'
host\t'Machine'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l sort -d 'The order of the table: by first time, or with --top by count, unless ORDER is given' -r -f -a "first\t'Earliest first time first'
last\t'Latest last time first'
count\t'Most often first'
blocked\t'Longest blocked first'
name\t'By name'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l top -d 'Show at most N rows of the table: the most frequent ones, unless --sort gives another order' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l html -d 'Write one page that holds everything and opens offline' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l perfetto -d 'Write trace events for ui.perfetto.dev: a track for each requester, a slice for each request and init' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s o -l output -d 'Write to FILE instead of standard output' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l since -d 'Only what was asked for at TIME or later' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l until -d 'Only what was asked for before TIME' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l new-since -d 'Only what came for the first time at TIME or later: modules, and requesters of modules. What was before is taken from the same captures' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l module -d 'Chains that a module is part of' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l alias -d 'Aliases as the kernel asks for them: net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l family -d 'Families of aliases, as `kmodtrace explain` names them: \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l comm -d 'Name of the process that asked or loaded, or that is behind it' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l exe -d 'Its executable: a path, or the last component alone' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l pid -d 'Its process id, or that of one of its ancestors' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l uid -d 'Its real user: number or name' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l cgroup -d 'Path of its cgroup' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l container -d 'Its container: runtime:id, the id, or its first 12 digits' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l unit -d 'Its systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l result -d 'How it ended: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l origin -d 'What made the modules load: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l tree -d 'Show chains as trees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l lines -d 'Show chains, a line each'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l json -d 'Write JSON Lines: chains, or with --by rows of the table'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l csv -d 'Write CSV: the table, or with --lines a record for each module and request'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l follow -d 'Go on reading what is being recorded, until Ctrl-C'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l stacks -d 'Show the kernel stack of each request. Implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l utc -d 'Take and show times in UTC instead of local time'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -l json -d 'Write one JSON object a line, one for each name'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -l json -d 'Write one JSON object a line, one for each name'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l dir -d 'Where --write puts it' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l json -d 'Write one JSON object a line, one for each module'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l all -d 'Show what is loaded already and what is forbidden, too'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l block -d 'Write one file for modprobe.d that keeps out what was never needed in the captures, tried with the installed modprobe, instead of the list'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l force -d 'With --block: go on although the captures are incomplete, of other hosts, or cover less than a day'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l write -d 'With --block: put the file in place; what was there is kept as FILE.bak1, .bak2, ...'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -l dir -d 'Where --write puts them' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -l write -d 'Put the lines in place, a file for each name; what was there is kept as FILE.bak1, .bak2, ...'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -l json -d 'Write one JSON object instead of the table'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -l dir -d 'Write every page into this directory, as kmodtrace.1, kmodtrace-run.1, ...' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s v -l verbose -d 'Say more: -v what the tool does, -vv also what each probe sees'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "watch" -d 'Show what makes the kernel load modules, as it happens, until Ctrl-C'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "run" -d 'Run a command and show what it makes the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "record" -d 'Record what makes the kernel load modules into files that last'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "verify" -d 'Verify the integrity of captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "recover" -d 'Recover the intact parts of a damaged capture'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "check" -d 'Judge captures by a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "policy" -d 'Lint, learn and test policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "snapshot" -d 'Put what captures hold into a form that two kernels can be compared by'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "diff" -d 'Say what another kernel does otherwise with the same workload'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "report" -d 'Tell who loaded what, when and why, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "explain" -d 'Say what asks for a module or alias, what would load here, and what is in the way'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "impact" -d 'Show which programs used a module, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "surface" -d 'List what users without privileges can make the kernel load here, and by what'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "block" -d 'Print lines for modprobe.d that keep modules out, tried with the installed modprobe'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "doctor" -d 'Say what works here, what does not, and how to mend it'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "schema" -d 'Print the JSON Schema of events: of the lines of `--json` and of captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "completions" -d 'Write a completion script for a shell'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "man" -d 'Write the manual: a page to standard output, or all pages into a directory'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record verify recover check policy snapshot diff report explain impact surface block doctor schema completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "check" -d 'Say what is wrong or doubtful in a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "test" -d 'Run the cases that a policy brings along'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "learn" -d 'Write the smallest policy that holds for what was captured'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "schema" -d 'Print the JSON Schema of policies'
