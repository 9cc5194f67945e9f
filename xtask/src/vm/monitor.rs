//! The monitor of a guest: commands of the QEMU Machine Protocol over a socket.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::qemu::MONITOR;

/// The interval at which QEMU is polled.
const POLL: Duration = Duration::from_millis(20);

/// Time limit for one step: QEMU's start, an answer, storing or restoring a state.
const LIMIT: Duration = Duration::from_secs(120);

/// No limit of bandwidth in practice: the state is written to, or read from, a local file.
const BANDWIDTH_BYTES_PER_S: u64 = 1 << 40;

/// A connection to a monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the guest that runs in this directory.
    pub(super) fn connect(dir: &Path) -> Result<Self> {
        let opened = File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
        // Shorter than the maximum length of a socket's path, whatever the directory.
        let path = format!("/proc/self/fd/{}/{MONITOR}", opened.as_raw_fd());
        let begun = Instant::now();
        let socket = loop {
            match UnixStream::connect(&path) {
                Ok(socket) => break socket,
                Err(error) if begun.elapsed() >= LIMIT => {
                    return Err(error).context("cannot connect to the monitor of QEMU");
                }
                Err(_) => thread::sleep(POLL),
            }
        };
        socket.set_read_timeout(Some(LIMIT)).context("cannot limit the time of the monitor")?;
        let mut monitor = Self { socket: BufReader::new(socket) };
        monitor.read()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        monitor.execute("migrate-set-parameters", &json!({ "max-bandwidth": BANDWIDTH_BYTES_PER_S }))?;
        Ok(monitor)
    }

    /// Stores the guest's state in `file` of its directory. The guest stands still afterwards.
    pub(super) fn store(&mut self, file: &str) -> Result<()> {
        self.execute("migrate", &json!({ "uri": format!("exec:cat > {file}") }))?;
        self.wait_for_migration()
    }

    /// Restores the state in `file` of the guest's directory. The guest stands still until it is resumed.
    pub(super) fn restore(&mut self, file: &str) -> Result<()> {
        self.execute("migrate-incoming", &json!({ "uri": format!("exec:cat {file}") }))?;
        self.wait_for_migration()
    }

    /// Lets a restored guest run.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.execute("cont", &json!({})).map(drop)
    }

    fn wait_for_migration(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let answer = self.execute("query-migrate", &json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("QEMU cannot store or restore the state: {answer}"),
                _ => thread::sleep(POLL),
            }
        }
        bail!("QEMU was still storing or restoring the state after {} s", LIMIT.as_secs())
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.socket.get_mut().write_all(line.as_bytes()).context("cannot write to the monitor")?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {error}");
            }
            // Events come in between.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let bytes = self.socket.read_line(&mut line).context("cannot read from the monitor")?;
        if bytes == 0 {
            bail!("QEMU closed its monitor");
        }
        serde_json::from_str(&line).with_context(|| format!("unexpected answer of the monitor: {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(answers: &'static [&'static str]) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(MONITOR)).unwrap();
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut socket = BufReader::new(socket);
            socket.get_mut().write_all(b"{\"QMP\":{}}\n").unwrap();
            for answer in ["{\"return\":{}}", "{\"return\":{}}"].iter().chain(answers) {
                let mut line = String::new();
                socket.read_line(&mut line).unwrap();
                socket.get_mut().write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        });
        let result = Monitor::connect(dir.path()).and_then(|mut monitor| monitor.store("state"));
        server.join().unwrap();
        result
    }

    /// A state is stored when QEMU reports it; events are skipped; errors are reported.
    #[test]
    fn store_ends_with_the_answer_of_qemu() {
        const STARTED: &str = "{\"event\":\"STOP\"}\n{\"return\":{}}";
        const ACTIVE: &str = "{\"return\":{\"status\":\"active\"}}";
        const DONE: &str = "{\"return\":{\"status\":\"completed\"}}";
        const FAILED: &str = "{\"return\":{\"status\":\"failed\",\"error-desc\":\"no space\"}}";
        answered(&[STARTED, ACTIVE, DONE]).unwrap();
        let error = answered(&[STARTED, FAILED]).unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
        let error = answered(&["{\"error\":{\"desc\":\"busy\"}}"]).unwrap_err();
        assert!(error.to_string().contains("QEMU refused migrate"), "{error}");
        assert!(answered(&["not JSON"]).is_err());
    }
}
