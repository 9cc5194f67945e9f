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

complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "watch" -d 'Show module requests and loads of this host as they happen'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "run" -d 'Run a command and show the modules that it makes the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "record" -d 'Record module requests and loads of this host into captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "report" -d 'Show which process loaded which module, when and why, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "verify" -d 'Verify the integrity of captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "recover" -d 'Recover the intact parts of a damaged capture'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "snapshot" -d 'Create a snapshot for comparing kernels'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "diff" -d 'Compare two snapshots or captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "check" -d 'Evaluate a policy on captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "policy" -d 'Lint, learn and test policies'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "explain" -d 'Show what requests a module or alias, what would be loaded, and what prevents it'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "why" -d 'Show why a module is loaded and what holds it, also if nothing was recording'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "impact" -d 'Show which programs used a module, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "surface" -d 'List the modules that unprivileged users can make the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "block" -d 'Print modprobe.d rules that block modules, after a dry run with modprobe'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "doctor" -d 'Check this system and suggest fixes'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "schema" -d 'Print the JSON Schema of events'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "man" -d 'Print a manual page, or write all pages into a directory'
complete -c kmodtrace -n "__fish_kmodtrace_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l duration -d 'Stop after TIME, e.g. 90s, 10m, 1h30m [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l count -d 'Stop after N requests and explicit loads [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l exit-on -d 'Stop at the first chain that matches FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack (fields as the filters of watch; repeated: OR; exit code 124 if --duration ends first)' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s o -l output -d 'Write to FILE [default: standard output for watch, standard error for run]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l color -d 'Use colour' -r -f -a "auto\t'If output is a terminal and NO_COLOR is not set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l ring-kib -d 'Size of the ring buffer in KiB, a power of two from 64 to 1048576' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l attach -d 'Attach method of the probes' -r -f -a "auto\t'The first method that this kernel supports'
kprobe\t'Kprobes only, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints where possible, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l btf -d 'Read the kernel\'s type information from FILE, which must be made for exactly this kernel; for kernels built without CONFIG_DEBUG_INFO_BTF' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l module -d 'Select chains by module' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l alias -d 'Select requests by alias, e.g. net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l family -d 'Select requests by alias family as shown by `kmodtrace explain`, e.g. \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l comm -d 'Select by name (comm) of the requester or loader, or of its thread' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l exe -d 'Select by executable: path or last component' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s p -l pid -d 'Select by process id, ancestors included' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l uid -d 'Select by real user: name or number' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l login -d 'Select by the user who logged in: name, number, or none' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l cgroup -d 'Select by cgroup path' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l container -d 'Select by container: runtime:id, id, or the first 12 digits of the id' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l unit -d 'Select by systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l result -d 'Select by outcome: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l origin -d 'Select by origin: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l policy -d 'Evaluate a policy and report each violation immediately; its verdict decides the exit code' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l junit -d 'Write the verdict to FILE as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l ktap -d 'Write the verdict to FILE as KTAP, with one test per rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l verdict -d 'Write the verdict to FILE as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l json -d 'Write events as JSON Lines; with filters, the events of a chain are written when it ends'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l tree -d 'Show each chain in full: requester, ancestors, request, modules, result [default for run]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l lines -d 'Show one line per chain; repeated requests are collapsed into one line with a count [default for watch]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l stacks -d 'Show the kernel stack of each request; implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l user-symbols -d 'Resolve user stacks with the symbol tables of the requester\'s files; implies --stacks'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l utc -d 'Show times in UTC [default: local time]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -l github -d 'Print annotations for GitHub Actions to standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand watch" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l user -d 'Run the command as USER (name or id), without privileges [default: the current user]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l grace -d 'After the command has ended, wait at most TIME for its requests and loads that are in flight, e.g. 90s, 10m' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s o -l output -d 'Write to FILE [default: standard output for watch, standard error for run]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l color -d 'Use colour' -r -f -a "auto\t'If output is a terminal and NO_COLOR is not set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l ring-kib -d 'Size of the ring buffer in KiB, a power of two from 64 to 1048576' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l attach -d 'Attach method of the probes' -r -f -a "auto\t'The first method that this kernel supports'
kprobe\t'Kprobes only, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints where possible, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l btf -d 'Read the kernel\'s type information from FILE, which must be made for exactly this kernel; for kernels built without CONFIG_DEBUG_INFO_BTF' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l module -d 'Select chains by module' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l alias -d 'Select requests by alias, e.g. net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l family -d 'Select requests by alias family as shown by `kmodtrace explain`, e.g. \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l comm -d 'Select by name (comm) of the requester or loader, or of its thread' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l exe -d 'Select by executable: path or last component' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s p -l pid -d 'Select by process id, ancestors included' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l uid -d 'Select by real user: name or number' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l login -d 'Select by the user who logged in: name, number, or none' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l cgroup -d 'Select by cgroup path' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l container -d 'Select by container: runtime:id, id, or the first 12 digits of the id' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l unit -d 'Select by systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l result -d 'Select by outcome: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l origin -d 'Select by origin: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l policy -d 'Evaluate a policy; its verdict decides the exit code' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l timeout -d 'Send SIGTERM after TIME, e.g. 90s, 10m, and SIGKILL 5 s later; exit code 124 [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l junit -d 'Write the verdict to FILE as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l ktap -d 'Write the verdict to FILE as KTAP, with one test per rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l verdict -d 'Write the verdict to FILE as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l host -d 'Show the requests and loads of all processes on this host, not only those of the command'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l json -d 'Write events as JSON Lines; with filters, the events of a chain are written when it ends'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l tree -d 'Show each chain in full: requester, ancestors, request, modules, result [default for run]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l lines -d 'Show one line per chain; repeated requests are collapsed into one line with a count [default for watch]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l stacks -d 'Show the kernel stack of each request; implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l user-symbols -d 'Resolve user stacks with the symbol tables of the requester\'s files; implies --stacks'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l utc -d 'Show times in UTC [default: local time]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l propagate -d 'If the policy holds, exit with the exit code of the command'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l skip-if-unsupported -d 'If tracing is not possible, exit with 4 (kselftest skip) instead of 125, without running the command'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -l github -d 'Print annotations for GitHub Actions to standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand run" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s o -l output -d 'Write to a new file in a directory, or to a file whose name ends with .zst' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l max-size -d 'Start a new file at SIZE bytes, e.g. 64M, 1G [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l max-age -d 'Start a new file after TIME, e.g. 12h, 24h [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l keep -d 'Keep at most N files and remove the oldest [default: keep all]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l min-free -d 'Keep SIZE bytes of the disk free, e.g. 256M [default: 0]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l on-full -d 'Action when the disk is full or fails' -r -f -a "drop\t'Count unwritten events, and resume writing when the disk recovers'
rotate\t'Remove the oldest captures in the directory until there is space'
stop\t'Stop writing, and count all further events'
exit\t'Exit with an error'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l flush -d 'Flush policy' -r -f -a "none\t'Leave write-back to the kernel'
incremental\t'Flush data once a second'
data\t'Flush data after each write'
sync\t'Flush data and metadata after each write'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l sign -d 'Sign each seal with KEY, a file of 64 hexadecimal digits and mode 0600; the public key is written to KEY.pub' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l anchor -d 'External anchor for seals [default: none]' -r -f -a "journald\t'Log the hash of a seal to the journal once a minute'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l duration -d 'Stop after TIME, e.g. 90s, 10m, 1h30m [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l count -d 'Stop after N requests and explicit loads [default: no limit]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l exit-on -d 'Stop at the first chain that matches FIELD=GLOB[,FIELD=GLOB...], e.g. module=nf_conntrack (fields as the filters of watch; repeated: OR; exit code 124 if --duration ends first)' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l ring-kib -d 'Size of the ring buffer in KiB, a power of two from 64 to 1048576' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l attach -d 'Attach method of the probes' -r -f -a "auto\t'The first method that this kernel supports'
kprobe\t'Kprobes only, as on kernels without BPF trampolines'
trampoline\t'BPF trampolines and tracepoints where possible, as on kernels without kprobes'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l btf -d 'Read the kernel\'s type information from FILE, which must be made for exactly this kernel; for kernels built without CONFIG_DEBUG_INFO_BTF' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l pin -d 'Keep the programs attached when the recorder exits: events wait in the kernel for the next `record --pin`'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l arm -d 'Attach the programs as with --pin and exit, for early boot: events wait for `record --pin`'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -l unpin -d 'Detach the programs that --pin or --arm left attached, and exit'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand record" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l by -d 'Group the table by a column [default: no grouping]' -r -f -a "module\t'Module, or the alias if none was loaded'
exe\t'Executable of the requester'
user\t'User'
login\t'User who logged in, kept across su and sudo'
unit\t'Systemd unit'
container\t'Container'
host\t'Host'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l sort -d 'Sort the table [default: first, with --top: count]' -r -f -a "first\t'First occurrence, earliest first'
last\t'Last occurrence, latest first'
count\t'Count, highest first'
blocked\t'Time blocked, longest first'
name\t'Name'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l top -d 'Show at most N rows of the table [default: all]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l html -d 'Write a self-contained HTML page to FILE; - is standard output' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l perfetto -d 'Write trace events for ui.perfetto.dev to FILE; - is standard output' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s o -l output -d 'Write to FILE [default: standard output]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s b -l boot -d 'Use only what was recorded in one boot of this machine: 0 the present one, -1 the one before, ..., or a boot id [default: all boots; without N: 0]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l since -d 'Show chains from TIME on [default: all]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l until -d 'Show chains before TIME [default: all]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l new-since -d 'Show modules, and requesters of modules, that first occur in the captures at TIME or later [default: all]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l color -d 'Use colour' -r -f -a "auto\t'If output is a terminal and NO_COLOR is not set'
always\t'Always'
never\t'Never'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l module -d 'Select chains by module' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l alias -d 'Select requests by alias, e.g. net-pf-*, fs-xfs' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l family -d 'Select requests by alias family as shown by `kmodtrace explain`, e.g. \'crypto*\'' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l comm -d 'Select by name (comm) of the requester or loader, or of its thread' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l exe -d 'Select by executable: path or last component' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s p -l pid -d 'Select by process id, ancestors included' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l uid -d 'Select by real user: name or number' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l login -d 'Select by the user who logged in: name, number, or none' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l cgroup -d 'Select by cgroup path' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l container -d 'Select by container: runtime:id, id, or the first 12 digits of the id' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l unit -d 'Select by systemd unit' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l result -d 'Select by outcome: loaded, not-found, blocklisted, denied, failed, ...' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l origin -d 'Select by origin: request, explicit, udev, unknown' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l tree -d 'Show each chain in full'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l lines -d 'Show one line per chain'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l json -d 'Write JSON Lines: chains, or with --by the rows of the table'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l csv -d 'Write CSV: the table, or with --lines one record per module and request'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l follow -d 'Keep reading captures that are being recorded, until Ctrl-C'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l stacks -d 'Show the kernel stack of each request; implies --tree'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -l utc -d 'Read and show times in UTC [default: local time]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand report" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l key -d 'Require each seal to be signed; FILE is the public key (KEY.pub of record --sign KEY) [default: not checked]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l ended -d 'Require the beginning and end of each recording: the recorder has stopped and nothing was removed'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l begun -d 'Require the beginning of each recording (segment 0)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -l json -d 'Write one JSON object per file'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand verify" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand recover" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s o -l output -d 'Write to FILE [default: standard output]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s b -l boot -d 'Use only what was recorded in one boot of this machine: 0 the present one, -1 the one before, ..., or a boot id [default: all boots; without N: 0]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand snapshot" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l slower -d 'Treat requests that block at least FACTOR times as long as differences [default: list them, from 2 on]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l json -d 'Write JSON Lines, one difference per line'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -l requests -d 'Report requests that load nothing and occur on one side only [default: print their number]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand diff" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s p -l policy -d 'Policy to evaluate' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l key -d 'Require each seal to be signed; FILE is the public key (KEY.pub of record --sign KEY) [default: not checked]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s b -l boot -d 'Use only what was recorded in one boot of this machine: 0 the present one, -1 the one before, ..., or a boot id [default: all boots; without N: 0]' -r
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l junit -d 'Write the verdict to FILE as JUnit XML' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l ktap -d 'Write the verdict to FILE as KTAP, with one test per rule' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l verdict -d 'Write the verdict to FILE as JSON' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l json -d 'Write the verdict to standard output as one JSON object'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -l github -d 'Print annotations for GitHub Actions to standard output'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand check" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "check" -d 'Find rules that have no effect'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "test" -d 'Run the test cases of a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "learn" -d 'Generate the smallest policy that holds for captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "schema" -d 'Print the JSON Schema of policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and not __fish_seen_subcommand_from check test learn schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from test" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s o -l output -d 'Write to FILE [default: standard output]' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -l expect -d 'Also expect each module, so that the policy is violated if one is no longer loaded'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from learn" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from schema" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "check" -d 'Find rules that have no effect'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "test" -d 'Run the test cases of a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "learn" -d 'Generate the smallest policy that holds for captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema of policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -l json -d 'Write JSON Lines, one object per name'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand explain" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand why" -l json -d 'Write JSON Lines, one object per name'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand why" -l utc -d 'Show times in UTC [default: local time]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand why" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand why" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand why" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -l by -d 'Show the hosts that used each module, one per line, instead of the programs' -r -f -a "host\t'A host'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -l json -d 'Write JSON Lines, one object per name'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand impact" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l by -d 'Show the hosts of the captures that used each module, one per line' -r -f -a "host\t'A host'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l format -d 'With --block: the form to print; modulejail is the list of modules to keep' -r -f -a "modprobe\t'A file for modprobe.d'
ansible\t'A task of Ansible that installs the file'
nix\t'A module of NixOS with the lines'
modulejail\t'The list of modules that modulejail must keep'"
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l dir -d 'Directory for --write' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l json -d 'Write JSON Lines, one object per module'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l all -d 'Include modules that are loaded or blocked [default: reachable modules only]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l block -d 'Print one modprobe.d file that blocks the modules unused in the captures, after a dry run with modprobe'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l force -d 'With --block: accept captures that are incomplete, from other hosts, or cover less than a day'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -l write -d 'With --block: install the file; an old file is kept as FILE.bak1, .bak2, ... [default: print it]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand surface" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -l dir -d 'Directory for --write' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -l write -d 'Install the rules, one file per name; old files are kept as FILE.bak1, .bak2, ... [default: print them]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand block" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -l json -d 'Write one JSON object [default: a table]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand schema" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand completions" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -l dir -d 'Write all pages into this directory, as kmodtrace.1, kmodtrace-run.1, ...' -r -F
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s v -l verbose -d 'Increase verbosity (-v: info, -vv: probe debug log) [default: warnings]'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s h -l help -d 'Print help'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand man" -s V -l version -d 'Print version'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "watch" -d 'Show module requests and loads of this host as they happen'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "run" -d 'Run a command and show the modules that it makes the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "record" -d 'Record module requests and loads of this host into captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "report" -d 'Show which process loaded which module, when and why, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "verify" -d 'Verify the integrity of captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "recover" -d 'Recover the intact parts of a damaged capture'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "snapshot" -d 'Create a snapshot for comparing kernels'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "diff" -d 'Compare two snapshots or captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "check" -d 'Evaluate a policy on captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "policy" -d 'Lint, learn and test policies'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "explain" -d 'Show what requests a module or alias, what would be loaded, and what prevents it'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "why" -d 'Show why a module is loaded and what holds it, also if nothing was recording'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "impact" -d 'Show which programs used a module, from captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "surface" -d 'List the modules that unprivileged users can make the kernel load'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "block" -d 'Print modprobe.d rules that block modules, after a dry run with modprobe'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "doctor" -d 'Check this system and suggest fixes'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "schema" -d 'Print the JSON Schema of events'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "man" -d 'Print a manual page, or write all pages into a directory'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and not __fish_seen_subcommand_from watch run record report verify recover snapshot diff check policy explain why impact surface block doctor schema completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "check" -d 'Find rules that have no effect'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "test" -d 'Run the test cases of a policy'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "learn" -d 'Generate the smallest policy that holds for captures'
complete -c kmodtrace -n "__fish_kmodtrace_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "schema" -d 'Print the JSON Schema of policies'
