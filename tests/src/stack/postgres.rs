//! A Postgres of our own, with one database `rateguard`.
//!
//! `initdb` takes seconds, so its result is kept in the cache folder, once per version, and copied.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::artifacts;
use super::folder;
use super::process::{Process, run};
use super::wait;

/// Changes whenever the template would come out different.
const TEMPLATE_FORMAT: u32 = 1;

/// The user that Postgres runs as where we are root, whom it refuses.
#[derive(Clone, Copy, Debug)]
struct ServerUser {
    uid: u32,
    gid: u32,
}

/// Starts Postgres with its data in `data` (made if it is not there) and waits until it answers.
///
/// `durable` writes to disk as a database should; without it a crash of the machine loses data, and tests are faster.
///
/// # Errors
/// No server binaries, a data folder of another version, or it does not come up.
pub async fn start(data: &Path, log: &Path, port: u16, durable: bool) -> Result<Process> {
    let programs = programs()?;
    let user = server_user()?;
    if !data.join("PG_VERSION").exists() {
        copy_tree(&template(&programs, user)?, data, user)?;
    }
    let mut command = Command::new(programs.join("postgres"));
    command
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    command.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"]);
    if !durable {
        command.args([
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
        ]);
    }
    run_as(&mut command, user);
    // SIGINT is Postgres' fast shutdown; on SIGTERM it waits for its clients to leave.
    let mut process = Process::start("postgres", command, log)?.stopped_by(Signal::INT);
    wait::ready(&mut process, Duration::from_secs(30), async || {
        is_ready(&programs, port)
    })
    .await?;
    Ok(process)
}

/// The database's URL at a port.
#[must_use]
pub fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/rateguard")
}

/// Runs SQL as the database's owner and gives what it says, for what no program of ours would do.
///
/// # Errors
/// It is refused: Postgres' words are in the error.
pub fn query(port: u16, sql: &str) -> Result<String> {
    let mut query = Command::new(programs()?.join("psql"));
    query.args([&url(port), "-v", "ON_ERROR_STOP=1", "-Atc", sql]);
    run("psql", &mut query)
}

/// Whether the user Postgres will run as can reach a folder: it must be able to walk every folder above it.
///
/// # Errors
/// No such user on this machine.
pub fn can_reach(folder: &Path) -> Result<bool> {
    let Some(user) = server_user()? else {
        return Ok(true);
    };
    let existing = folder.ancestors().filter_map(|above| fs::metadata(above).ok());
    Ok(existing.into_iter().all(|above| {
        let walk = if above.uid() == user.uid {
            0o100
        } else if above.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        above.mode() & walk != 0
    }))
}

fn is_ready(programs: &Path, port: u16) -> Result<()> {
    let mut command = Command::new(programs.join("pg_isready"));
    command.args(["--quiet", "--host", "127.0.0.1", "--port", &port.to_string()]);
    run("pg_isready", &mut command).map(drop)
}

/// The folder with `initdb`, `postgres` and `pg_isready`: often not on PATH.
fn programs() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in ["/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt"] {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            folders.push(entry.path().join("bin"));
        }
    }
    let newest = folders
        .into_iter()
        .filter(|folder| {
            ["initdb", "postgres", "pg_isready"]
                .iter()
                .all(|program| folder.join(program).exists())
        })
        .max_by_key(|folder| version_in_path(folder));
    match newest {
        Some(folder) => Ok(folder),
        None => Ok(fs::canonicalize(artifacts::program("postgres", &[])?)?
            .parent()
            .context("postgres is in no folder")?
            .to_owned()),
    }
}

fn version_in_path(folder: &Path) -> u32 {
    let digits: String = folder
        .parent()
        .and_then(Path::file_name)
        .map(|name| {
            name.to_string_lossy()
                .chars()
                .filter(char::is_ascii_digit)
                .collect()
        })
        .unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn server_user() -> Result<Option<ServerUser>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    for wanted in ["postgres", "nobody"] {
        let account = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (name == wanted).then(|| {
                Some(ServerUser {
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                })
            })?
        });
        if account.is_some() {
            return Ok(account);
        }
    }
    bail!("Postgres refuses to run as root, and there is no user postgres or nobody")
}

fn run_as(command: &mut Command, user: Option<ServerUser>) {
    // Where we stand may be closed to that user.
    command.current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

/// A data folder fresh from `initdb`, made once a machine and version.
fn template(programs: &Path, user: Option<ServerUser>) -> Result<PathBuf> {
    let version = run(
        "postgres --version",
        Command::new(programs.join("postgres")).arg("--version"),
    )?;
    let version: String = version
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let cache = artifacts::cache_folder();
    let kept = cache.join(format!("postgres-template-{TEMPLATE_FORMAT}-{version}"));
    if kept.join("PG_VERSION").exists() {
        return Ok(kept);
    }
    let made = make_template(programs, user)?;
    // Two test processes may both have made one: the first rename wins. Without a cache the made one is used.
    let staged = cache.join(format!("postgres-template-staged-{}", std::process::id()));
    let saved = fs::create_dir_all(&cache)
        .map_err(anyhow::Error::from)
        .and_then(|()| copy_tree(&made, &staged, None))
        .and_then(|()| Ok(fs::rename(&staged, &kept)?));
    if saved.is_err() && !kept.join("PG_VERSION").exists() {
        return Ok(made);
    }
    let _ = fs::remove_dir_all(&staged);
    let _ = made.parent().map(fs::remove_dir_all);
    Ok(kept)
}

fn make_template(programs: &Path, user: Option<ServerUser>) -> Result<PathBuf> {
    let parent = tempfile::Builder::new()
        .prefix(&folder::prefix())
        .tempdir()?
        .keep();
    own(&parent, user)?;
    let data = parent.join("data");
    let mut initdb = Command::new(programs.join("initdb"));
    initdb
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--no-sync", "--no-instructions"]);
    run_as(&mut initdb, user);
    run("initdb", &mut initdb)?;
    // Single-user mode reads statements from standard input: no server and no client needed.
    let statement = parent.join("create.sql");
    fs::write(&statement, "CREATE DATABASE rateguard\n")?;
    let mut single = Command::new(programs.join("postgres"));
    single.arg("--single").arg("-D").arg(&data).arg("postgres");
    run_as(&mut single, user);
    let output = single
        .stdin(Stdio::from(fs::File::open(&statement)?))
        .output()
        .context("postgres --single")?;
    ensure!(
        output.status.success(),
        "postgres --single: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(data)
}

/// Copies a folder with all it holds, for `user` and nobody else.
fn copy_tree(from: &Path, to: &Path, user: Option<ServerUser>) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target, user)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copying to {}", target.display()))?;
            own_file(&target, user)?;
        }
    }
    own(to, user)
}

fn own(folder: &Path, user: Option<ServerUser>) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    own_file(folder, user)
}

fn own_file(path: &Path, user: Option<ServerUser>) -> Result<()> {
    if let Some(user) = user {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::folder::Folder;
    use crate::stack::ports;

    #[tokio::test]
    async fn starts_with_the_database_and_restarts_after_a_kill() {
        let folder = Folder::temporary().unwrap();
        let port = ports::free().unwrap();
        let mut process = start(&folder.data("postgres"), &folder.log("postgres"), port, false)
            .await
            .unwrap();
        let programs = programs().unwrap();
        let mut query = Command::new(programs.join("psql"));
        query.args([&url(port), "-Atc", "SELECT current_database()"]);
        assert_eq!(run("psql", &mut query).unwrap().trim(), "rateguard");
        process.kill();
        // What a killed server leaves running may hold its shared memory a moment longer.
        let end = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            process.restart().unwrap();
            let ready = wait::ready(&mut process, Duration::from_secs(30), async || {
                is_ready(&programs, port)
            });
            match ready.await {
                Ok(()) => break,
                Err(error) => assert!(std::time::Instant::now() < end, "{error:#}"),
            }
        }
        process.stop(crate::stack::process::GRACE);
        assert!(
            process.log_tail().contains("database system is shut down"),
            "{}",
            process.log_tail()
        );
    }

    #[test]
    fn a_private_folder_above_is_out_of_reach_for_another_user() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let reachable = can_reach(&folder.path().join("postgres")).unwrap();
        assert_eq!(reachable, !rustix::process::geteuid().is_root());
    }
}
