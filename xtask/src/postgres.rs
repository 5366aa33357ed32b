//! A Postgres of one's own in a temporary folder, behind a Unix socket.

use crate::program::answer;
use anyhow::{Context as _, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// initdb refuses root.
const USER: &str = "nobody";

/// Stops the server when it reads end of file, which is when this program is gone, however it ended.
const SUPERVISOR: &str = r#"
"$@" >"$LOG" 2>&1 &
server=$!
read -r _ || true
kill -INT $server 2>/dev/null
wait $server
rm -rf "$FOLDER"
"#;

/// A running server with all migrations of a folder applied.
pub(crate) struct Postgres {
    supervisor: Child,
    programs: PathBuf,
    folder: PathBuf,
}

impl Postgres {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("rg-xtask-pg-").tempdir()?.keep();
        let run_as = run_as(&folder)?;
        let data = folder.join("data");
        let (program, arguments) = line(&run_as, programs.join("initdb"));
        let made = Command::new(program)
            .args(arguments)
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data)
            .current_dir(&folder)
            .output()
            .context("starting initdb")?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .args(&run_as)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
            ])
            .env("LOG", folder.join("postgres.log"))
            .env("FOLDER", &folder)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting Postgres")?;
        let server = Self {
            supervisor,
            programs,
            folder,
        };
        server.wait()?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.folder.display()
        )
    }

    /// Runs the files of a folder in the order of their names, each in a transaction unless it says otherwise.
    pub(crate) fn migrate(&self, migrations: &Path) -> anyhow::Result<()> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(migrations)
            .with_context(|| format!("reading {}", migrations.display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .collect();
        files.sort();
        for file in files {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let mut psql = Command::new(self.programs.join("psql"));
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
                .arg(&file)
                .arg(self.url());
            if !text.starts_with("-- no-transaction") {
                psql.arg("--single-transaction");
            }
            let output = psql.output().context("starting psql")?;
            if !output.status.success() {
                bail!(
                    "{} failed: {}",
                    file.display(),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        Ok(())
    }

    fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let ready = Command::new(self.programs.join("pg_isready"))
                .arg("-h")
                .arg(&self.folder)
                .output()
                .context("starting pg_isready")?;
            if ready.status.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default();
                bail!("Postgres did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The supervisor reads end of file, stops the server and removes the folder.
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// What to put in front of a server program so that it does not run as root; the folder becomes that user's.
fn run_as(folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let is_root = answer(&"id".into(), &["-u"]).is_some_and(|text| text.trim() == "0");
    if !is_root {
        return Ok(Vec::new());
    }
    let group = answer(&"id".into(), &["-g", USER]).with_context(|| format!("no user {USER}"))?;
    let given = Command::new("chown")
        .arg(USER)
        .arg(folder)
        .status()
        .context("starting chown")?;
    if !given.success() {
        bail!("{} cannot be given to {USER}", folder.display());
    }
    Ok([
        "setpriv",
        "--reuid",
        USER,
        "--regid",
        group.trim(),
        "--clear-groups",
        "--",
    ]
    .map(OsString::from)
    .into())
}

fn line(run_as: &[OsString], program: PathBuf) -> (OsString, Vec<OsString>) {
    let mut line: Vec<OsString> = run_as.to_vec();
    line.push(program.into());
    let first = line.remove(0);
    (first, line)
}

/// The folder with `initdb`, `postgres` and `psql`: often not on PATH.
fn programs() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    versions.sort();
    let on_path = || {
        let path = answer(&"sh".into(), &["-c", "command -v initdb"])?;
        Path::new(path.trim()).parent().map(Path::to_path_buf)
    };
    versions
        .pop()
        .or_else(on_path)
        .context("PostgreSQL is missing: apt-get install postgresql (macOS: brew install postgresql)")
}
