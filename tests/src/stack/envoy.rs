//! Envoy, with a configuration rendered from a file of `envoy/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::artifacts;
use super::process::{Process, run};

/// Values for the `${NAME}` placeholders of a configuration file.
pub type Placeholders = BTreeMap<&'static str, String>;

/// Fills the placeholders of a configuration; a line that is a comment stays as it is, whatever it explains.
///
/// # Errors
/// One that has no value, or is not closed.
pub fn render(text: &str, values: &Placeholders) -> Result<String> {
    let mut rendered = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            rendered.push_str(line);
        } else {
            fill(line, values, &mut rendered)?;
        }
    }
    Ok(rendered)
}

fn fill(line: &str, values: &Placeholders, rendered: &mut String) -> Result<()> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, remaining)) = after.split_once('}') else {
            bail!("a placeholder is not closed")
        };
        let Some(value) = values.get(name) else {
            bail!("no value for the placeholder ${{{name}}}")
        };
        rendered.push_str(before);
        rendered.push_str(value);
        rest = remaining;
    }
    rendered.push_str(rest);
    Ok(())
}

/// Renders a file into another.
///
/// # Errors
/// A file cannot be read or written, or a placeholder has no value.
pub fn render_file(template: &Path, target: &Path, values: &Placeholders) -> Result<()> {
    let text =
        std::fs::read_to_string(template).with_context(|| format!("reading {}", template.display()))?;
    let rendered = render(&text, values).with_context(|| template.display().to_string())?;
    std::fs::write(target, rendered).with_context(|| format!("writing {}", target.display()))
}

/// Starts Envoy with `workers` worker threads.
///
/// # Errors
/// No Envoy on this machine. Whether it accepts its configuration shows only later, in its log.
pub fn start(config: &Path, log: &Path, workers: u32) -> Result<Process> {
    let mut command = Command::new(artifacts::envoy()?);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &workers.to_string()]);
    // Without hot restart there is no shared memory to collide over, so any number of Envoys can run.
    command.args([
        "--disable-hot-restart",
        "--log-level",
        "warning",
        "--component-log-level",
        "wasm:info",
    ]);
    Process::start("envoy", command, log)
}

/// Lets Envoy check a rendered configuration without serving it.
///
/// # Errors
/// Envoy refuses it: its words are in the error.
pub fn validate(config: &Path) -> Result<()> {
    let mut command = Command::new(artifacts::envoy()?);
    command
        .args(["--mode", "validate", "--log-level", "warning", "--config-path"])
        .arg(config);
    run(
        &format!("envoy --mode validate {}", config.display()),
        &mut command,
    )
    .map(drop)
}

/// The file of certificate authorities that this machine trusts.
///
/// # Errors
/// None is at any of the usual places.
pub fn authorities() -> Result<PathBuf> {
    [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ]
    .iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .context("no file of certificate authorities; install ca-certificates")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::stack::process::GRACE;
    use crate::stack::{ports, wait};

    #[test]
    fn every_placeholder_is_filled() {
        let values = Placeholders::from([("A", "1".to_owned()), ("B_2", "x".to_owned())]);
        assert_eq!(
            render("a: ${A} $A {b} ${B_2}${A}", &values).unwrap(),
            "a: 1 $A {b} x1"
        );
    }

    #[test]
    fn comments_may_speak_of_placeholders() {
        let text = "# ${MISSING}\n  # ${MISSING}\na: 1\n";
        assert_eq!(render(text, &Placeholders::new()).unwrap(), text);
    }

    #[test]
    fn a_placeholder_without_a_value_is_refused() {
        let error = render("a: ${MISSING}", &Placeholders::new()).unwrap_err();
        assert!(error.to_string().contains("MISSING"));
        assert!(render("a: ${OPEN", &Placeholders::new()).is_err());
    }

    const MINIMAL: &str = "\
admin: { address: { socket_address: { address: 127.0.0.1, port_value: ${ADMIN_PORT} } } }
static_resources: { listeners: [], clusters: [] }
";

    #[tokio::test]
    async fn a_killed_envoy_comes_back_on_its_port() {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let (template, config) = (
            folder.path().join("template.yaml"),
            folder.path().join("envoy.yaml"),
        );
        std::fs::write(&template, MINIMAL).unwrap();
        render_file(
            &template,
            &config,
            &Placeholders::from([("ADMIN_PORT", port.to_string())]),
        )
        .unwrap();
        validate(&config).unwrap();
        let live = async || {
            let url = format!("http://{}/ready", ports::loopback(port));
            Ok(reqwest::get(url).await?.error_for_status().map(drop)?)
        };
        let mut process = start(&config, &folder.path().join("log"), 1).unwrap();
        wait::ready(&mut process, Duration::from_secs(30), live)
            .await
            .unwrap();
        process.kill();
        assert!(live().await.is_err());
        process.restart().unwrap();
        wait::ready(&mut process, Duration::from_secs(30), live)
            .await
            .unwrap();
        let started = Instant::now();
        process.stop(GRACE);
        assert!(started.elapsed() < GRACE, "it had to be killed");
    }

    #[tokio::test]
    async fn a_refused_configuration_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("envoy.yaml");
        std::fs::write(&config, "no_such_field: 1\n").unwrap();
        assert!(format!("{:#}", validate(&config).unwrap_err()).contains("no_such_field"));
        let mut process = start(&config, &folder.path().join("log"), 1).unwrap();
        let never = async || Err(anyhow::anyhow!("not asked"));
        let error = wait::ready(&mut process, Duration::from_secs(30), never)
            .await
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("ended") && text.contains("no_such_field"), "{text}");
    }
}
