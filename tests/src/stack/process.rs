//! One supervised program: started, signalled by its id, its output kept in a file, never outliving this process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end by itself before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// How much of a log an error or a failed test shows.
const TAIL_BYTES: u64 = 6_000;

/// A program that this process started and answers for.
///
/// It runs in a process group of its own (Ctrl-C at a terminal reaches only its supervisor) and, on Linux, is killed
/// by the kernel when its supervisor dies in whatever way.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Option<Command>,
    child: Option<Child>,
    log: PathBuf,
    /// Where the part of the log begins that the program now running has written.
    log_start: u64,
    stop_signal: Signal,
}

impl Process {
    /// Starts `command`, both its outputs appended to `log`.
    ///
    /// # Errors
    /// The log cannot be opened, or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        isolate(&mut command);
        let mut process = Self {
            name: name.to_owned(),
            command: Some(command),
            child: None,
            log: log.to_owned(),
            log_start: 0,
            stop_signal: Signal::TERM,
        };
        process.spawn()?;
        Ok(process)
    }

    /// Uses another signal than SIGTERM to ask for an orderly end.
    #[must_use]
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// The name it is reported under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it has not been reaped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did so.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// Asks it to end, and kills it when `grace` is over. Does nothing when it is not running.
    pub fn stop(&mut self, grace: Duration) {
        let asked = self.signal(self.stop_signal).is_ok();
        // A stopped program acts on a signal only once it continues.
        let _ = self.signal(Signal::CONT);
        if !asked || !self.wait_exit(grace) {
            self.kill();
        }
        self.child = None;
    }

    /// Ends it the hard way (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes it (SIGSTOP): its sockets stay open and nothing answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen program go on (SIGCONT).
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again as it was first started; ends it first where it still runs.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.stop(GRACE);
        self.spawn()
    }

    /// Lets it write nothing beyond the first byte of any file, or again what it likes. It sees an error (EFBIG) where a
    /// full disk gives another (ENOSPC), unless SIGXFSZ ends it: the programs that this is for ignore that.
    ///
    /// # Errors
    /// It is not running, or this is not Linux.
    #[cfg(target_os = "linux")]
    pub fn fill_disk(&self, is_full: bool) -> Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
        // Ours, as it was inherited: raising it would take a privilege.
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = if is_full { Some(1) } else { maximum };
        let limit = Rlimit { current, maximum };
        prlimit(Some(self.process_id()?), Resource::Fsize, limit)
            .with_context(|| format!("limiting the files of {}", self.name))?;
        Ok(())
    }

    /// Only Linux limits another process.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn fill_disk(&self, _is_full: bool) -> Result<()> {
        Err(anyhow!("only Linux limits the files of another process"))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.process_id()?, signal).with_context(|| format!("signalling {}", self.name))
    }

    fn process_id(&self) -> Result<Pid> {
        let pid = self
            .pid()
            .ok_or_else(|| anyhow!("{} is not running", self.name))?;
        i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("process id out of range")
    }

    /// Whether the program, since it was last started, has written this.
    #[must_use]
    pub fn has_said(&self, text: &str) -> bool {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX);
        log.get(start..)
            .is_some_and(|said| String::from_utf8_lossy(said).contains(text))
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Its whole log, invalid UTF-8 replaced.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log_text(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn spawn(&mut self) -> Result<()> {
        self.log_start = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        let command = self
            .command
            .take()
            .with_context(|| format!("{} lost its command line", self.name))?;
        let (command, spawned) = spawn_from_lasting_thread(command)?;
        let program = command.get_program().to_owned();
        self.command = Some(command);
        self.child =
            Some(spawned.with_context(|| format!("starting {} ({})", self.name, program.to_string_lossy()))?);
        Ok(())
    }

    fn wait_exit(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.child.is_none() || self.exited().is_some() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
/// It cannot be started, or ends with a failure; the error has what it wrote.
pub fn run(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting: {what}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(anyhow!(
        "{what} failed ({})\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The last [`TAIL_BYTES`] of a file, from the first whole line on.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('\n') {
        Some((_, whole_lines)) if start > 0 => Ok(whole_lines.to_owned()),
        _ => Ok(text),
    }
}

/// Own process group, and death together with this process.
#[expect(
    unsafe_code,
    reason = "pre_exec is the only door to the parent-death signal; it makes two plain system calls"
)]
fn isolate(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only async-signal-safe system calls are made, nothing is allocated.
        // The signal is set after std has changed the user, which would clear it.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                if rustix::process::getppid() == Some(parent) {
                    Ok(())
                } else {
                    Err(io::Error::other("orphaned"))
                }
            });
        }
    }
}

type Spawned = (Command, io::Result<Child>);

/// Starts a program from a thread that lives as long as this process.
///
/// Linux sends the parent-death signal when the *thread* that forked ends, and every test has a thread of its own.
fn spawn_from_lasting_thread(command: Command) -> Result<Spawned> {
    static SPAWNER: OnceLock<mpsc::Sender<(Command, mpsc::Sender<Spawned>)>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let spawned = command.spawn();
                let _ = answer.send((command, spawned));
            }
        });
        requests
    });
    let (answer, spawned) = mpsc::channel();
    spawner
        .send((command, answer))
        .map_err(|_| anyhow!("the spawning thread has ended"))?;
    spawned.recv().context("the spawning thread has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command, log).unwrap()
    }

    fn wait_for_log(process: &Process, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !process.log_tail().contains(text) {
            assert!(
                Instant::now() < deadline,
                "no {text:?} in: {}",
                process.log_tail()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn stop_asks_before_it_kills() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done",
            &folder.path().join("log"),
        );
        wait_for_log(&process, "up");
        process.stop(GRACE);
        assert!(process.log_tail().contains("asked"));
        assert_eq!(process.pid(), None);
    }

    #[test]
    fn stop_kills_what_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap '' TERM; echo up; while :; do sleep 0.01; done",
            &folder.path().join("log"),
        );
        wait_for_log(&process, "up");
        process.stop(Duration::from_millis(50));
        assert_eq!(process.pid(), None);
    }

    #[test]
    fn stop_ends_a_frozen_program() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo up; exec sleep 60", &folder.path().join("log"));
        wait_for_log(&process, "up");
        process.freeze().unwrap();
        let started = Instant::now();
        process.stop(GRACE);
        assert!(started.elapsed() < GRACE, "it had to be killed");
    }

    #[test]
    fn restart_appends_to_the_same_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo up; exec sleep 60", &folder.path().join("log"));
        wait_for_log(&process, "up");
        let first = process.pid();
        process.kill();
        process.restart().unwrap();
        wait_for_log(&process, "up\nup");
        assert_ne!(process.pid(), first);
    }

    #[test]
    fn a_program_outlives_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = std::thread::spawn(move || shell("while :; do echo tick; sleep 0.01; done", &log))
            .join()
            .unwrap();
        wait_for_log(&process, "tick\ntick\ntick\ntick");
        assert!(process.exited().is_none());
    }

    #[test]
    fn a_failed_run_tells_what_the_program_said() {
        let error = run(
            "a script",
            Command::new("sh").args(["-c", "echo why >&2; exit 3"]),
        )
        .unwrap_err();
        assert!(format!("{error:#}").contains("why"), "{error:#}");
    }
}
