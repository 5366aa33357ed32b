//! What runs: `.dev/pids`, one line a part. A process is recognised by its id *and* its start time, so that an id
//! which the kernel has given to somebody else is never signalled.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rateguard_tests::stack::process::run;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The name of the process that answers for all others.
pub(crate) const SUPERVISOR: &str = "supervisor";

/// One process of the running stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name of the part.
    pub(crate) name: String,
    pid: i32,
    started: String,
    /// Where it listens, if it does.
    pub(crate) address: Option<SocketAddr>,
}

impl Entry {
    /// The entry of a running process.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn of(name: &str, pid: u32, address: Option<SocketAddr>) -> Result<Self> {
        let pid = i32::try_from(pid)?;
        let started = start_time(pid).with_context(|| format!("{name} (process {pid}) has ended"))?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            started,
            address,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        let there = Pid::from_raw(self.pid).is_some_and(|pid| test_kill_process(pid).is_ok());
        there && start_time(self.pid).as_deref() == Some(&self.started)
    }

    /// Signals that very process; does nothing when it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.is_alive(), Pid::from_raw(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        Some(Self {
            name: fields.next()?.to_owned(),
            pid: fields.next()?.parse().ok()?,
            started: fields.next()?.to_owned(),
            address: fields.next().and_then(|address| address.parse().ok()),
        })
    }

    fn line(&self) -> String {
        let Self {
            name,
            pid,
            started,
            address,
        } = self;
        let address = address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        format!("{name}\t{pid}\t{started}\t{address}\n")
    }
}

/// The recorded processes, the supervisor first; none when there is no record.
pub(crate) fn read(home: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(path(home)).unwrap_or_default();
    text.lines().filter_map(Entry::parse).collect()
}

/// Replaces the record.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(home: &Path, entries: &[Entry]) -> Result<()> {
    let staged = home.join("pids.new");
    fs::write(&staged, entries.iter().map(Entry::line).collect::<String>())?;
    fs::rename(&staged, path(home)).with_context(|| format!("writing {}", path(home).display()))
}

/// Removes the record.
pub(crate) fn remove(home: &Path) {
    let _ = fs::remove_file(path(home));
}

fn path(home: &Path) -> std::path::PathBuf {
    home.join("pids")
}

/// When a process started, in whatever words the system has for it. A zombie counts as ended.
fn start_time(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc(5): the name (field 2) may hold anything, so count after its closing bracket: state is field 3,
        // start time field 22.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = *fields.first()?;
        return if state == "Z" {
            None
        } else {
            fields.get(19).map(|ticks| (*ticks).to_owned())
        };
    }
    let mut ps = Command::new("ps");
    let printed = run("ps", ps.args(["-o", "lstart=", "-p", &pid.to_string()])).ok()?;
    Some(printed.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let own = Entry::of(SUPERVISOR, std::process::id(), None).unwrap();
        let other = Entry {
            name: "envoy".into(),
            address: "127.0.0.1:3001".parse().ok(),
            ..own.clone()
        };
        write(folder.path(), &[own.clone(), other.clone()]).unwrap();
        assert_eq!(read(folder.path()), [own, other]);
    }

    #[test]
    fn an_id_that_was_given_to_another_process_is_not_alive() {
        let own = Entry::of(SUPERVISOR, std::process::id(), None).unwrap();
        assert!(own.is_alive());
        let earlier = Entry {
            started: "1".into(),
            ..own
        };
        assert!(!earlier.is_alive());
        // Would end this test, were it sent.
        earlier.signal(Signal::KILL);
    }
}
