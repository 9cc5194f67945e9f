//! Thousands of requests, each for a different name, made without privileges.
//!
//! The kernel requests `algif-NAME` when a socket of `AF_ALG` is bound to an unknown type (`alg_bind`, crypto/af_alg.c).
//! This needs no privileges, and any name is possible.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::address::bind_alg;

/// Makes one request for `algif-LETTERn`. It fails, because there is no such module.
pub(super) fn once(letter: char, n: u32) -> Result<()> {
    match bind_alg(&format!("{letter}{n}"), b"none") {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => bail!("unexpected result of a request for algif-{letter}{n}: {other:?}"),
    }
}

/// Makes requests until COUNT or SECONDS is reached, and prints their number. Arguments: `LETTER THREADS COUNT SECONDS`.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [letter, threads, count, seconds] = arguments else {
        bail!("invalid arguments: expected LETTER THREADS COUNT SECONDS")
    };
    let letter = letter.chars().next().context("no letter")?;
    let threads: u32 = threads.parse().context("invalid number of threads")?;
    let count: u32 = count.parse().context("invalid count")?;
    let deadline = Instant::now() + Duration::from_secs(seconds.parse().context("invalid number of seconds")?);
    let each = count / threads.max(1);
    let asked = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || -> Result<u32> {
                    let mut asked = 0;
                    while asked < each && Instant::now() < deadline {
                        once(letter, thread * each + asked)?;
                        asked += 1;
                    }
                    Ok(asked)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
            .sum::<Result<u32>>()
    })?;
    println!("{asked}");
    Ok(ExitCode::SUCCESS)
}
