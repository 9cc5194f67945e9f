//! Arbitrary text as a policy: an error with a position, or a policy whose lints and cases can be evaluated.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match kmodtrace::policy::parse(text, "fuzz.toml") {
        Ok(policy) => {
            let today = "2026-11-23".parse().expect("a date");
            let _ = kmodtrace::policy::lint(&policy, today, &kmodtrace::policy::UnknownKernel("fuzz".to_owned()));
        }
        Err(error) => drop(error.to_string()),
    }
});
