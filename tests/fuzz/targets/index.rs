//! Arbitrary text as modules.dep, modules.builtin and modules.builtin.modinfo.
#![no_main]

use kmodtrace::modprobe::ModuleIndex;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: (&str, &str, &str)| {
    let index = ModuleIndex::parse(text.0, text.1, text.2);
    for name in index.names().take(64) {
        let _ = index.file(name);
        let _ = index.is_builtin(name);
        let _ = index.users_of(name);
    }
});
