//! What a developer needs to know about a running stack: `.dev/stack.env` for programs, a text for people.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rateguard_tests::stack::{Stack, postgres};

/// Writes `stack.env`, readable by its owner only: it holds a key and a password.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(home: &Path, stack: &Stack) -> Result<()> {
    let (addresses, seed, engines) = (stack.addresses(), stack.seed(), stack.engines());
    let mut lines = vec![
        ("GATEWAY_URL", stack.gateway_url()),
        ("ENVOY_ADMIN_URL", format!("http://{}", addresses.admin)),
        ("CONSOLE_URL", stack.console_url()),
        ("CONTROL_PLANE_URL", stack.console_url()),
        ("LIMITS_ADDR", addresses.limits.to_string()),
        ("LIMITS_TOKEN", seed.data_plane_token.clone()),
        ("LIMITS_HTTP_URL", format!("http://{}", addresses.limits_http)),
        ("DATABASE_URL", postgres::url(addresses.postgres.port())),
        ("REDIS_URL", format!("redis://{}/", addresses.redis)),
        ("STUB_URL", format!("http://{}", addresses.upstream)),
        ("DEMO_EMAIL", seed.email.clone()),
        ("DEMO_PASSWORD", seed.password.clone()),
        ("DEMO_WORKSPACE_ID", seed.workspace_id.clone()),
        ("DEMO_API_KEY", seed.api_key.clone()),
    ];
    let of_engines = [
        ("CLICKHOUSE_URL", &engines.clickhouse_url),
        ("KAFKA_BROKERS", &engines.kafka_brokers),
    ];
    lines.extend(
        of_engines
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let text = lines.concat();
    let staged = home.join("stack.env.new");
    let _ = fs::remove_file(&staged);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(text.as_bytes())?;
    // Whoever sees the file sees all of it: `up` waits for it to appear.
    fs::rename(&staged, home.join("stack.env")).context("writing stack.env")
}

/// Removes `stack.env`.
pub(crate) fn remove(home: &Path) {
    let _ = fs::remove_file(home.join("stack.env"));
}

/// Whether a stack has told that it is ready.
pub(crate) fn exists(home: &Path) -> bool {
    home.join("stack.env").exists()
}

/// The text for people, from `stack.env`.
///
/// # Errors
/// The file cannot be read, or lacks a line.
pub(crate) fn text(home: &Path) -> Result<String> {
    let file = fs::read_to_string(home.join("stack.env")).context("reading stack.env")?;
    let values: BTreeMap<&str, &str> = file.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| {
        values
            .get(name)
            .copied()
            .with_context(|| format!("stack.env has no {name}"))
    };
    let (gateway, key) = (value("GATEWAY_URL")?, value("DEMO_API_KEY")?);
    Ok(format!(
        "\
RateGuard is running.

  console and REST   {console}
  login              {email} / {password}
  gateway            {gateway}
  API key            {key}
  all of it          {env}   (source it)

Try it; the answer comes from a stub upstream on this machine:

  curl -i {gateway}/proxy/openai/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"model\":\"gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

Official SDKs need only another base URL and this key:

  OPENAI_BASE_URL={gateway}/proxy/openai/v1   OPENAI_API_KEY={key}
  ANTHROPIC_BASE_URL={gateway}/proxy/anthropic   ANTHROPIC_API_KEY={key}

  ./dev status   ./dev logs -f envoy   ./dev doctor   ./dev down
",
        console = value("CONSOLE_URL")?,
        email = value("DEMO_EMAIL")?,
        password = value("DEMO_PASSWORD")?,
        env = home.join("stack.env").display(),
    ))
}
