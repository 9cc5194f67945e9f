//! Arbitrary text as the output of `modprobe --showconfig`: the index of aliases, and lookups in it.
#![no_main]

use kmodtrace::modprobe::Config;
use libfuzzer_sys::fuzz_target;

/// What stands between the configuration and the indexes.
const END: &str = "\n# End of configuration files. Dumping indexes now:\n\n";

fuzz_target!(|text: (&str, &str, &str)| {
    let _ = Config::parse(text.0);
    let Some(config) = Config::parse(&[text.0, END, text.1].concat()) else { return };
    for name in config.plain_aliases().take(64) {
        let _ = config.plain_aliases_of(name);
    }
    let _ = config.plain_aliases_of(text.2);
});
