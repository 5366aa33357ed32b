//! Which programs there are to run, by cargo.

use crate::program::{cargo, workspace_root};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Programs whose tests wait for each other: run in parts, by the modules that their tests are in.
const PARTS: [(&str, &[&str]); 1] = [("events", &["kafka::", "redis::"])];

pub(super) struct Job {
    pub(super) name: String,
    /// As cargo prints it.
    pub(super) header: String,
    /// `None`: cargo itself.
    pub(super) executable: Option<PathBuf>,
    pub(super) folder: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Of a crate's `tests` folder.
    pub(super) is_integration: bool,
}

/// Compiles what is to be run.
pub(super) fn jobs(tests: &[String], ignored: &[String]) -> anyhow::Result<Vec<Job>> {
    let mut compile = cargo();
    compile.args(["test", "--workspace", "--locked", "--no-run"]);
    compile.arg("--message-format=json-render-diagnostics");
    for test in tests {
        compile.args(["--test", test]);
    }
    let output = compile
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "the tests do not compile");
    let messages = String::from_utf8_lossy(&output.stdout);
    let programs: Vec<Job> = messages.lines().filter_map(program).collect();
    let mut jobs = Vec::new();
    for wanted in ignored {
        let (name, text) = wanted.split_once('=').context("--ignored wants PROGRAM=TEXT")?;
        let program = programs.iter().find(|job| job.is_integration && job.name == name);
        let program = program.with_context(|| format!("there is no test program {name}"))?;
        jobs.push(program.part(text, &["--ignored", text]));
    }
    for program in programs {
        match PARTS
            .iter()
            .find(|(name, _)| program.is_integration && program.name == *name)
        {
            Some((_, parts)) => {
                jobs.extend(
                    parts
                        .iter()
                        .map(|part| program.part(part.trim_end_matches(':'), &[part])),
                );
                let rest: Vec<&str> = parts.iter().flat_map(|part| ["--skip", part]).collect();
                jobs.push(program.part("rest", &rest));
            }
            None => jobs.push(program),
        }
    }
    // Looking for examples costs rustdoc more than all unit tests take: only where there are any.
    if tests.is_empty() && has_examples(workspace_root())? {
        jobs.push(documentation());
    }
    Ok(jobs)
}

fn documentation() -> Job {
    Job {
        name: "documentation".to_owned(),
        header: "   Doc-tests all".to_owned(),
        executable: None,
        folder: workspace_root().to_owned(),
        arguments: ["test", "--workspace", "--locked", "--doc"]
            .map(str::to_owned)
            .to_vec(),
        is_integration: false,
    }
}

/// Whether a comment has code that rustdoc would run.
fn has_examples(folder: &Path) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() {
            let is_ours = !(name.starts_with('.') || name == "target");
            if is_ours && has_examples(&path)? {
                return Ok(true);
            }
        } else if is_source && is_example(&std::fs::read_to_string(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_example(source: &str) -> bool {
    let comments = source.lines().map(str::trim_start);
    let comments = comments.filter_map(|line| line.strip_prefix("///").or(line.strip_prefix("//!")));
    let fences = comments.filter_map(|line| line.trim().strip_prefix("```"));
    let is_run = |language: &str| {
        let names = ["rust", "no_run", "should_panic", "compile_fail", "edition"];
        language.is_empty() || names.iter().any(|name| language.starts_with(name))
    };
    // Every other one ends a block.
    fences.step_by(2).any(is_run)
}

/// A test program that one of cargo's messages says was made.
fn program(message: &str) -> Option<Job> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = &message["target"];
    let source = Path::new(target["src_path"].as_str()?);
    let source = source.strip_prefix(&folder).unwrap_or(source).display();
    let is_integration = target["kind"][0] == "test";
    let kind = if is_integration { "" } else { "unittests " };
    let target = target["name"].as_str()?;
    let package = folder.file_name()?.to_string_lossy();
    Some(Job {
        name: if is_integration {
            target.to_owned()
        } else {
            format!("{package}/{target}")
        },
        header: format!("     Running {kind}{source} ({})", executable.display()),
        executable: Some(executable),
        folder,
        arguments: Vec::new(),
        is_integration,
    })
}

impl Job {
    fn part(&self, name: &str, arguments: &[&str]) -> Self {
        Self {
            name: format!("{} {name}", self.name),
            header: self.header.clone(),
            executable: self.executable.clone(),
            folder: self.folder.clone(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            is_integration: self.is_integration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_rustdoc_runs_is_an_example() {
        assert!(is_example("/// ```\n/// let a = 1;\n/// ```"));
        assert!(is_example("//! ```text\n//! ```\n    /// ```no_run\n    /// ```"));
        assert!(!is_example("//! ```abnf\n//! a\n//! ```"));
        assert!(!is_example("// ```\n// ```\nlet a = \"```\";"));
    }
}
