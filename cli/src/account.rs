//! Signing in and out.

use crate::arguments::Login;
use crate::client::{Client, text};
use crate::credentials::Credentials;
use crate::error::Error;
use crate::output::Printer;
use rateguard_api::auth::{LoggedIn, LoginRequest, Me};
use reqwest::Method;
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use std::io::{BufRead as _, Write as _};

pub(crate) async fn log_in(client: &mut Client, printer: &Printer, login: Login) -> Result<(), Error> {
    let url = client.url().to_owned();
    if login.token_stdin {
        let token = read_line()?;
        client.try_token(&token);
        let me: Me = client.get("/api/auth/me").await?.read(&url)?;
        client.remember(Credentials {
            url: url.clone(),
            token,
            refresh_cookie: None,
            workspace_id: only(&me.workspaces),
        })?;
        return printer.say(&format!("signed in to {url} as {}", me.user.email));
    }
    let email = match login.email {
        Some(email) => email,
        None => ask("E-mail: ", false)?,
    };
    let password = if login.password_stdin {
        read_line()?
    } else {
        ask("Password: ", true)?
    };
    let body = LoginRequest { email, password };
    let body = text(&serde_json::to_value(&body).map_err(std::io::Error::other)?);
    let answer = client
        .send(Method::POST, "/api/auth/login", None, None, Some(&body))
        .await?;
    let LoggedIn {
        user,
        workspaces,
        access_token,
    } = answer.read(&url)?;
    client.remember(Credentials {
        url: url.clone(),
        token: access_token,
        refresh_cookie: answer.cookie,
        workspace_id: only(&workspaces),
    })?;
    printer.say(&format!("signed in to {url} as {}", user.email))
}

/// The only workspace of somebody who has one.
fn only(workspaces: &[rateguard_api::workspace::Workspace]) -> Option<String> {
    match workspaces {
        [only] => Some(only.id.clone()),
        _ => None,
    }
}

/// The session ends at the server too; a personal access token is only forgotten, others may use it.
pub(crate) async fn log_out(client: &mut Client, printer: &Printer) -> Result<(), Error> {
    let cookie = client.stored().and_then(|stored| stored.refresh_cookie.clone());
    client.forget()?;
    if let Some(cookie) = cookie {
        client
            .send(Method::POST, "/api/auth/logout", None, Some(&cookie), None)
            .await?;
    }
    printer.say("signed out")
}

pub(crate) async fn who_am_i(client: &mut Client, printer: &Printer) -> Result<(), Error> {
    let answer = client.get("/api/auth/me").await?;
    let url = client.url().to_owned();
    let me: Me = answer.read(&url)?;
    let workspace = client.workspace_id().await.ok();
    let name = |id: &str| {
        let found = me.workspaces.iter().find(|workspace| workspace.id == id);
        found.map_or_else(
            || id.to_owned(),
            |found| format!("{} ({})", found.slug, found.role),
        )
    };
    let shown = serde_json::json!({
        "id": me.user.id,
        "email": me.user.email,
        "name": me.user.name,
        "url": url,
        "workspace": workspace.as_deref().map(name),
    });
    printer.one(&shown.to_string(), None)
}

/// A line from the terminal, or from standard input where that is none.
fn ask(prompt: &str, is_secret: bool) -> Result<String, Error> {
    let stdin = std::io::stdin();
    if !isatty(&stdin) {
        return Err(Error::Usage(format!(
            "{} is missing and there is no terminal to ask: use --email and --password-stdin, or --token-stdin",
            prompt.trim_end_matches(": ")
        )));
    }
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    if !is_secret {
        return read_line();
    }
    let shown = tcgetattr(&stdin).map_err(std::io::Error::from)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(std::io::Error::from)?;
    let line = read_line();
    tcsetattr(&stdin, OptionalActions::Flush, &shown).map_err(std::io::Error::from)?;
    eprintln!();
    line
}

fn read_line() -> Result<String, Error> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(Error::Usage("nothing was given".to_owned()));
    }
    Ok(line.to_owned())
}
