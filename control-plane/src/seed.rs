//! `seed`: the demo user, workspace, APIs, key, rules and budget.
//!
//! It speaks to the program's own REST API, in process: what it makes has passed every check that a person's input
//! passes. A second run finds what is there; only the secrets, which are shown once, are made again when their file is
//! gone.

mod demo;
mod rest;

use crate::config::{Config, Registration};
use crate::data_plane_token;
use crate::state::AppState;
use anyhow::Context as _;
use rest::Rest;
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub struct SeedArgs {
    /// Where the stub upstream listens, e.g. http://127.0.0.1:8080
    #[arg(long)]
    pub stub_url: String,
    /// File that gets the demo's login, key and token (mode 600)
    #[arg(long)]
    pub out: PathBuf,
}

/// Makes what is missing and prints what it made.
pub async fn run(state: AppState, args: SeedArgs) -> anyhow::Result<()> {
    // Whoever runs this owns the database; a closed registration is for the others.
    let config = Config {
        registration: Registration::Open,
        ..state.config.as_ref().clone()
    };
    let state = AppState {
        config: Arc::new(config),
        ..state
    };
    let rest = sign_in(&state).await?;
    let [openai, anthropic] = demo::apis(&args.stub_url);
    let openai = ensure_api(&rest, &args.stub_url, openai).await?;
    let anthropic = ensure_api(&rest, &args.stub_url, anthropic).await?;
    for rule in demo::rules() {
        ensure_rule(&rest, rule).await?;
    }
    ensure_budget(&state, &rest).await?;
    if let Some(known) = read_secrets(&args.out, &rest.workspace_id)? {
        println!("kept the key and the token of {}", args.out.display());
        let file = with_apis(known, &openai, &anthropic);
        return write_secrets(&args.out, &file);
    }
    let secrets = make_secrets(&state, &rest).await?;
    write_secrets(&args.out, &with_apis(secrets, &openai, &anthropic))?;
    println!("wrote the login, the key and the token to {}", args.out.display());
    Ok(())
}

async fn sign_in(state: &AppState) -> anyhow::Result<Rest> {
    let rest = Rest::new(crate::http::router(state.clone()));
    let credentials = json!({ "email": demo::EMAIL, "password": demo::PASSWORD });
    let known: Option<uuid::Uuid> = crate::db::user::by_email(&state.db, demo::EMAIL)
        .await?
        .map(|credentials| credentials.user.id);
    if known.is_none() {
        let mut registration = credentials.clone();
        registration["name"] = json!(demo::NAME);
        let made = rest.post("/api/auth/register", &registration).await?;
        println!(
            "made user {} with workspace {}",
            demo::EMAIL,
            text(&made, "/workspace/slug")?
        );
        return rest.signed_in(text(&made, "/accessToken")?, text(&made, "/workspace/id")?);
    }
    let found = rest
        .post("/api/auth/login", &credentials)
        .await
        .with_context(|| format!("{} has another password than the demo's", demo::EMAIL))?;
    rest.signed_in(text(&found, "/accessToken")?, text(&found, "/workspaces/0/id")?)
}

async fn ensure_api(rest: &Rest, stub_url: &str, wanted: Value) -> anyhow::Result<String> {
    let slug = text(&wanted, "/slug")?;
    let hint = || {
        format!(
            "the API {slug} cannot point at {stub_url}; a stub on this machine needs UPSTREAM_ALLOW, e.g. \
             UPSTREAM_ALLOW=http://127.0.0.0/8:*"
        )
    };
    let listed = rest.get("/apis").await?;
    let found = entries(&listed).find(|api| api["slug"] == wanted["slug"]);
    let Some(found) = found else {
        let made = rest.post_here("/apis", &wanted).await.with_context(hint)?;
        println!("made API {slug} for {stub_url}");
        return text(&made, "/id");
    };
    let id = text(found, "/id")?;
    if found["baseUrl"] != wanted["baseUrl"] {
        // The stub has another port with every start; a credential is bound to its place.
        let moved = json!({ "baseUrl": wanted["baseUrl"], "credential": wanted["credential"] });
        rest.patch_here(&format!("/apis/{id}"), &moved)
            .await
            .with_context(hint)?;
        println!("moved API {slug} to {stub_url}");
    }
    Ok(id)
}

async fn ensure_rule(rest: &Rest, wanted: Value) -> anyhow::Result<()> {
    let listed = rest.get("/rules").await?;
    if entries(&listed).all(|rule| rule["name"] != wanted["name"]) {
        rest.post_here("/rules", &wanted).await?;
        println!("made rule {}", text(&wanted, "/name")?);
    }
    Ok(())
}

async fn ensure_budget(state: &AppState, rest: &Rest) -> anyhow::Result<()> {
    if !crate::db::budget::list(&mut *state.db.acquire().await?, rest.workspace_id.parse()?)
        .await?
        .is_empty()
    {
        return Ok(());
    }
    rest.patch_here("/budget", &demo::budget()).await?;
    println!("made the monthly budget: 100 USD, refusing when it is used up");
    Ok(())
}

async fn make_secrets(state: &AppState, rest: &Rest) -> anyhow::Result<Value> {
    let key = rest
        .post_here("/keys", &json!({ "name": demo::KEY_NAME }))
        .await?;
    println!("made key {}…", text(&key, "/prefix")?);
    let (clock, entropy) = (state.clock.as_ref(), state.entropy.as_ref());
    let token =
        data_plane_token::create_for_all_workspaces(&state.db, clock, entropy, demo::TOKEN_NAME).await?;
    println!("made a data-plane token for all workspaces");
    Ok(json!({
        "email": demo::EMAIL,
        "password": demo::PASSWORD,
        "workspaceId": rest.workspace_id,
        "apiKey": text(&key, "/key")?,
        "apiKeyId": text(&key, "/id")?,
        "dataPlaneToken": token,
    }))
}

fn with_apis(mut secrets: Value, openai: &str, anthropic: &str) -> Value {
    secrets["apis"] = json!({ "openai": openai, "anthropic": anthropic });
    secrets
}

/// What an earlier run wrote, if it is about this workspace.
fn read_secrets(path: &Path, workspace_id: &str) -> anyhow::Result<Option<Value>> {
    let written = match std::fs::read(path) {
        Ok(written) => written,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let known = serde_json::from_slice::<Value>(&written).ok();
    Ok(known.filter(|known| {
        let is_whole = ["/apiKey", "/apiKeyId", "/dataPlaneToken"]
            .iter()
            .all(|field| text(known, field).is_ok());
        is_whole && known["workspaceId"] == workspace_id
    }))
}

/// Nobody else may read it, also not while it is written.
fn write_secrets(path: &Path, secrets: &Value) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{secrets:#}")
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list["data"].as_array().into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .with_context(|| format!("no {pointer} in the answer"))
}
