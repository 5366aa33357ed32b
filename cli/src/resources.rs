//! What a workspace has: where each kind is, which columns a list shows, and its commands.

use crate::arguments::{Crud, DataPlaneCommand, KeyCommand, MonthlyBudget, RuleCommand, WorkspaceCommand};
use crate::body;
use crate::client::{Client, text};
use crate::error::Error;
use crate::output::{Column, Printer};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// A kind of thing with the five usual commands.
pub(crate) struct Kind {
    /// Below the workspace: `keys`.
    path: &'static str,
    columns: &'static [Column],
    /// Pointer to what only the answer of a creation has.
    secret: Option<&'static str>,
}

pub(crate) const APIS: Kind = Kind {
    path: "apis",
    columns: &[
        ("ID", "/id"),
        ("SLUG", "/slug"),
        ("NAME", "/name"),
        ("BASE URL", "/baseUrl"),
        ("ACTIVE", "/isActive"),
    ],
    secret: None,
};

const KEYS: Kind = Kind {
    path: "keys",
    columns: &[
        ("ID", "/id"),
        ("PREFIX", "/prefix"),
        ("NAME", "/name"),
        ("STATUS", "/status"),
        ("EXPIRES", "/expiresAt"),
        ("LAST USED", "/lastUsedAt"),
    ],
    secret: Some("/key"),
};

const RULES: Kind = Kind {
    path: "rules",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ALGORITHM", "/algorithm"),
        ("UNIT", "/unit"),
        ("LIMIT", "/limit"),
        ("WINDOW MS", "/windowMs"),
        ("MODE", "/mode"),
        ("ENABLED", "/enabled"),
    ],
    secret: None,
};

pub(crate) const BUDGETS: Kind = Kind {
    path: "budgets",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("OF", "/subject/type"),
        ("SUBJECT", "/subject/id"),
        ("WINDOW", "/window"),
        ("LIMIT CENTS", "/limitCents"),
        ("SHUTOFF", "/autoShutoff"),
    ],
    secret: None,
};

/// Of each budget in the costs.
const COSTS_COLUMNS: &[Column] = &[
    ("BUDGET", "/name"),
    ("OF", "/subject/type"),
    ("WINDOW", "/window"),
    ("SPENT CENTS", "/currentSpendCents"),
    ("LIMIT CENTS", "/budgetCents"),
    ("USED %", "/percentUsed"),
    ("PROJECTED CENTS", "/projectedCents"),
];

/// Of each rule in a test.
const TEST_COLUMNS: &[Column] = &[
    ("MATCHES", "/matches"),
    ("RULE", "/name"),
    ("MODE", "/mode"),
    ("PRIORITY", "/priority"),
    ("WHY", "/reason"),
    ("COUNTS IN", "/partition"),
];

const DATA_PLANES: Kind = Kind {
    path: "data-planes",
    columns: &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("CREATED", "/createdAt"),
        ("REVOKED", "/revokedAt"),
    ],
    secret: Some("/token"),
};

const WORKSPACE_COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("SLUG", "/slug"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
];

pub(crate) async fn crud(
    client: &mut Client,
    printer: &Printer,
    kind: &Kind,
    command: Crud,
) -> Result<(), Error> {
    let all = below_workspace(client, kind.path).await?;
    apply(client, printer, kind, &all, command).await
}

/// The usual commands on the things at a path.
async fn apply(
    client: &mut Client,
    printer: &Printer,
    kind: &Kind,
    all: &str,
    command: Crud,
) -> Result<(), Error> {
    match command {
        Crud::List => {
            let entries = client.list(all).await?;
            printer.list(&entries, kind.columns)
        }
        Crud::Show { id } => {
            let answer = client.get(&format!("{all}/{}", segment(&id)?)).await?;
            printer.one(&answer.text, None)
        }
        Crud::Create(body) => {
            let answer = client
                .call(Method::POST, all, Some(&text(&body.build()?)))
                .await?;
            printer.one(&answer.text, kind.secret)
        }
        Crud::Update { id, body } => {
            let path = format!("{all}/{}", segment(&id)?);
            let answer = client
                .call(Method::PATCH, &path, Some(&text(&body.build()?)))
                .await?;
            printer.one(&answer.text, None)
        }
        Crud::Delete { id } => {
            client
                .call(Method::DELETE, &format!("{all}/{}", segment(&id)?), None)
                .await?;
            printer.say("deleted")
        }
    }
}

pub(crate) async fn workspaces(
    client: &mut Client,
    printer: &Printer,
    command: Option<WorkspaceCommand>,
) -> Result<(), Error> {
    let kind = Kind {
        path: "",
        columns: WORKSPACE_COLUMNS,
        secret: None,
    };
    match command.unwrap_or(WorkspaceCommand::Crud(Crud::List)) {
        WorkspaceCommand::Crud(command) => apply(client, printer, &kind, "/api/workspaces", command).await,
        WorkspaceCommand::Use { workspace } => {
            let workspace = client.find_workspace(&workspace).await?;
            let Some(mut stored) = client.stored().cloned() else {
                return Err(Error::NotSignedIn {
                    url: client.url().to_owned(),
                });
            };
            stored.workspace_id = Some(workspace.id);
            client.remember(stored)?;
            printer.say(&format!("commands now mean {}", workspace.slug))
        }
    }
}

pub(crate) async fn keys(client: &mut Client, printer: &Printer, command: KeyCommand) -> Result<(), Error> {
    let all = below_workspace(client, KEYS.path).await?;
    match command {
        KeyCommand::Crud(command) => apply(client, printer, &KEYS, &all, command).await,
        KeyCommand::Rotate { id, overlap_seconds } => {
            let body = text(&json!({ "overlapSeconds": overlap_seconds }));
            let path = format!("{all}/{}/rotate", segment(&id)?);
            let answer = client.call(Method::POST, &path, Some(&body)).await?;
            printer.one(&answer.text, KEYS.secret)
        }
        KeyCommand::Revoke { id } => {
            client
                .call(Method::POST, &format!("{all}/{}/revoke", segment(&id)?), None)
                .await?;
            printer.say("revoked")
        }
    }
}

pub(crate) async fn rules(client: &mut Client, printer: &Printer, command: RuleCommand) -> Result<(), Error> {
    let all = below_workspace(client, RULES.path).await?;
    match command {
        RuleCommand::Crud(command) => apply(client, printer, &RULES, &all, command).await,
        RuleCommand::Test(body) => {
            let answer = client
                .call(Method::POST, &format!("{all}/test"), Some(&text(&body.build()?)))
                .await?;
            printer.one_with_list(&answer.text, "rules", TEST_COLUMNS)
        }
        RuleCommand::Reset { id, subject } => {
            let body = subject.map_or_else(|| json!({}), |subject| json!({ "subject": subject }));
            let path = format!("{all}/{}/reset", segment(&id)?);
            let answer = client.call(Method::POST, &path, Some(&text(&body))).await?;
            printer.one(&answer.text, None)
        }
    }
}

pub(crate) async fn monthly_budget(
    client: &mut Client,
    printer: &Printer,
    change: MonthlyBudget,
) -> Result<(), Error> {
    let MonthlyBudget {
        monthly_cents,
        auto_shutoff,
    } = change;
    let mut body = Map::new();
    if let Some(cents) = monthly_cents {
        // A decimal number goes as text: it must not become a float on the way.
        let value = if cents == "none" {
            Value::Null
        } else {
            Value::String(cents)
        };
        body.insert("monthlyBudgetCents".to_owned(), value);
    }
    if let Some(auto_shutoff) = auto_shutoff {
        body.insert("autoShutoff".to_owned(), auto_shutoff.into());
    }
    if body.is_empty() {
        return costs(client, printer).await;
    }
    let path = below_workspace(client, "budget").await?;
    let answer = client
        .call(Method::PATCH, &path, Some(&text(&Value::Object(body))))
        .await?;
    printer.one(&answer.text, None)
}

pub(crate) async fn costs(client: &mut Client, printer: &Printer) -> Result<(), Error> {
    let path = below_workspace(client, "costs").await?;
    let answer = client.get(&path).await?;
    printer.one_with_list(&answer.text, "budgets", COSTS_COLUMNS)
}

pub(crate) async fn data_planes(
    client: &mut Client,
    printer: &Printer,
    command: DataPlaneCommand,
) -> Result<(), Error> {
    let all = below_workspace(client, DATA_PLANES.path).await?;
    match command {
        DataPlaneCommand::List => {
            let entries = client.list(&all).await?;
            printer.list(&entries, DATA_PLANES.columns)
        }
        DataPlaneCommand::Create { name } => {
            let answer = client
                .call(Method::POST, &all, Some(&text(&json!({ "name": name }))))
                .await?;
            printer.one(&answer.text, DATA_PLANES.secret)
        }
        DataPlaneCommand::Revoke { id } => {
            client
                .call(Method::DELETE, &format!("{all}/{}", segment(&id)?), None)
                .await?;
            printer.say("revoked")
        }
    }
}

/// Any route. The answer is printed as it is.
pub(crate) async fn raw(
    client: &mut Client,
    method: &str,
    path: &str,
    data: Option<&str>,
) -> Result<(), Error> {
    let method = Method::from_bytes(method.to_uppercase().as_bytes())
        .map_err(|_| Error::Usage(format!("`{method}` is no method")))?;
    if !path.starts_with('/') {
        return Err(Error::Usage(format!("the path must begin with a slash: /{path}")));
    }
    let path = if path.contains("{workspace}") {
        path.replace("{workspace}", &client.workspace_id().await?)
    } else {
        path.to_owned()
    };
    let body = data.map(body::read).transpose()?;
    let answer = client.call(method, &path, body.as_deref()).await?;
    Printer::raw(&answer.text)
}

pub(crate) async fn below_workspace(client: &mut Client, path: &str) -> Result<String, Error> {
    let id = client.workspace_id().await?;
    Ok(format!("/api/workspaces/{}/{path}", segment(&id)?))
}

/// An id as a part of a path: nothing that would make another route of it.
fn segment(id: &str) -> Result<&str, Error> {
    if !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        Ok(id)
    } else {
        Err(Error::Usage(format!("`{id}` is not an id")))
    }
}
