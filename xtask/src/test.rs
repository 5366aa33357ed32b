//! Runs the tests of all crates, several programs at a time.
//!
//! `cargo test` runs one test program after the other. Ours start servers and wait for them more than they compute, so
//! that the machine idles for most of the time. What each prints comes in one piece when it is done, as cargo would
//! have printed it.

mod plan;
mod times;

use crate::program::cargo;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use plan::Job;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use times::Times;

#[derive(Args)]
pub(crate) struct Options {
    /// Programs at a time; one more than there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Also runs the ignored tests of a program whose names contain a text, as in rest=schemathesis.
    #[arg(long, value_name = "PROGRAM=TEXT")]
    ignored: Vec<String>,
    /// Only these test programs; all and the documentation's if none is named.
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,
}

/// What is left to do, and what was done.
struct Work {
    waiting: Vec<Job>,
    running: Vec<String>,
    failed: Vec<String>,
    times: Times,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut jobs = plan::jobs(&options.tests, &options.ignored)?;
    ensure!(!jobs.is_empty(), "there are no tests of that name");
    let times = Times::load();
    // The longest last: they are taken from the end.
    jobs.sort_by_key(|job| times.of(job));
    let count = options
        .jobs
        .map_or_else(default_jobs, usize::from)
        .min(jobs.len());
    let work = Mutex::new(Work {
        waiting: jobs,
        running: Vec::new(),
        failed: Vec::new(),
        times,
    });
    let started = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(|| take_jobs(&work))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker ended")))
    })?;
    let Work { failed, times, .. } = work.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.store();
    println!(
        "\n{count} programs at a time took {:.0} s",
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

/// Tests wait for servers more than they compute.
fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from) + 1
}

fn take_jobs(work: &Mutex<Work>) -> anyhow::Result<()> {
    let lock = || work.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let job = {
            let mut work = lock();
            let Some(job) = work.waiting.pop() else {
                return Ok(());
            };
            work.running.push(job.name.clone());
            job
        };
        let started = Instant::now();
        let (passed, output) = execute(&job)?;
        let took = started.elapsed();
        let mut work = lock();
        work.running.retain(|name| *name != job.name);
        work.times.note(&job, took);
        if !passed {
            work.failed.push(job.name.clone());
        }
        show(&job, output, took, &work)?;
    }
}

/// Whether all its tests passed, and what it printed.
fn execute(job: &Job) -> anyhow::Result<(bool, File)> {
    let output = tempfile::tempfile().context("a file for a program's output")?;
    let mut command = match &job.executable {
        Some(executable) => std::process::Command::new(executable),
        None => cargo(),
    };
    let status = command
        .args(&job.arguments)
        .current_dir(&job.folder)
        .env("CARGO_MANIFEST_DIR", &job.folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .status()
        .with_context(|| format!("running {}", job.name))?;
    Ok((status.success(), output))
}

fn show(job: &Job, mut output: File, took: Duration, work: &Work) -> anyhow::Result<()> {
    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", job.header)?;
    out.write_all(&text)?;
    writeln!(
        out,
        "     {} in {:.1} s; {} to go, running: {}",
        job.name,
        took.as_secs_f64(),
        work.waiting.len(),
        if work.running.is_empty() {
            "none".to_owned()
        } else {
            work.running.join(", ")
        }
    )?;
    out.flush()?;
    Ok(())
}
