//! Requests by the thousand, each for a name of its own, as any user may make them.
//!
//! The kernel asks for `algif-NAME` when a socket of `AF_ALG` is bound to a type that it does not know
//! (`alg_bind`, crypto/af_alg.c): no rights are needed, and any name will do.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::address::bind_alg;

/// Asks once, for `algif-LETTERn`. It fails: there is no such module.
pub(super) fn once(letter: char, n: u32) -> Result<()> {
    match bind_alg(&format!("{letter}{n}"), b"none") {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => bail!("a request for algif-{letter}{n} ended oddly: {other:?}"),
    }
}

/// Asks as told by `LETTER THREADS COUNT SECONDS`, and says how often: until the count or the time is over.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [letter, threads, count, seconds] = arguments else { bail!("ask LETTER THREADS COUNT SECONDS") };
    let letter = letter.chars().next().context("no letter")?;
    let threads: u32 = threads.parse().context("odd number of threads")?;
    let count: u32 = count.parse().context("odd count")?;
    let deadline = Instant::now() + Duration::from_secs(seconds.parse().context("odd number of seconds")?);
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
