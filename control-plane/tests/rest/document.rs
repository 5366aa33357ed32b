//! Tests made from the OpenAPI document: its operations, and a valid request for each.

use crate::support::app::{Answer, App, Person};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

const WORKSPACE: &str = "{workspace_id}";

/// One operation of the document.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    /// With its parameters' names in braces.
    pub(crate) path: String,
    /// Null: takes none.
    pub(crate) example: Value,
    pub(crate) open: bool,
    /// Documented statuses.
    pub(crate) statuses: Vec<u16>,
}

impl Operation {
    pub(crate) fn in_workspace(&self) -> bool {
        self.path.contains(WORKSPACE)
    }

    /// The collection that the operation's thing is in, if it is on a thing.
    pub(crate) fn collection(&self) -> Option<&str> {
        let rest = self.path.find(WORKSPACE)? + WORKSPACE.len();
        let thing = self.path.get(rest..)?.find("/{")?;
        self.path.get(..rest + thing)
    }

    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET
    }

    /// The path with its ids filled in.
    pub(crate) fn path(&self, workspace_id: &str, id: &str) -> String {
        self.path
            .split('/')
            .map(|segment| match segment {
                WORKSPACE => workspace_id,
                other if other.starts_with('{') => id,
                other => other,
            })
            .collect::<Vec<_>>()
            .join("/")
    }

    /// A body that no thing made before is in the way of.
    pub(crate) fn body(&self) -> Value {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut body = self.example.clone();
        for (field, value) in [
            ("slug", json!(format!("slug-{number}"))),
            ("hosts", json!([])),
            ("email", json!(format!("person-{number}@example.com"))),
            ("model", json!(format!("model-{number}"))),
        ] {
            if body.get(field).is_some() {
                body[field] = value;
            }
        }
        body
    }
}

/// Every operation of the document, in its order.
pub(crate) async fn operations(app: &App) -> Vec<Operation> {
    let document = app.get("/api/openapi.json", "").await.body;
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                example: example(&document, operation),
                open: operation["security"] == json!([]),
                statuses: operation["responses"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|status| status.parse().unwrap())
                    .collect(),
            });
        }
    }
    all
}

fn example(document: &Value, operation: &Value) -> Value {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    let Some(named) = variants
        .chain([schema])
        .find_map(|schema| schema["$ref"].as_str())
    else {
        return Value::Null;
    };
    let target = document.pointer(named.strip_prefix('#').unwrap()).unwrap();
    let given = target.get("example").or_else(|| target["examples"].get(0));
    given.unwrap_or_else(|| panic!("{named} has no example")).clone()
}

/// Makes things for operations to be done to.
pub(crate) struct Maker<'a> {
    pub(crate) app: &'a App,
    pub(crate) operations: &'a [Operation],
    pub(crate) owner: &'a Person,
}

impl Maker<'_> {
    /// The id of a new thing for this operation; nil if it is not on a thing.
    pub(crate) async fn thing(&self, operation: &Operation) -> String {
        if operation.path.contains("/budgets") {
            // One budget per subject and window: makes room for the next.
            sqlx::query("DELETE FROM budget")
                .execute(&self.app.db)
                .await
                .unwrap();
        }
        let Some(collection) = operation.collection() else {
            return uuid::Uuid::nil().to_string();
        };
        if collection.ends_with("/members") {
            return self.member().await;
        }
        let create = self
            .operations
            .iter()
            .find(|other| other.method == Method::POST && other.path == collection)
            .unwrap_or_else(|| panic!("nothing makes what {} is done to", operation.id));
        let answer = self.call(create, "").await;
        assert!(answer.status.is_success(), "{} {answer:?}", create.id);
        ["/id", "/invitation/id"]
            .iter()
            .find_map(|pointer| answer.body.pointer(pointer)?.as_str())
            .unwrap_or_else(|| panic!("{} answers no id: {answer:?}", create.id))
            .to_owned()
    }

    /// Somebody new among the workspace's members.
    async fn member(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("member{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let person = self.app.register(&name).await;
        join(self.app, &person, self.owner, "VIEWER").await;
        person.user_id
    }

    /// The owner's call, with a valid body.
    pub(crate) async fn call(&self, operation: &Operation, id: &str) -> Answer {
        let path = operation.path(&self.owner.workspace_id, id);
        let body = operation.body();
        self.app
            .call(operation.method.clone(), &path, &self.owner.token, &body)
            .await
    }
}

/// Makes somebody a member of another's workspace.
pub(crate) async fn join(app: &App, person: &Person, owner: &Person, role: &str) {
    sqlx::query("INSERT INTO membership (workspace_id, user_id, role, created_at) VALUES ($1::uuid, $2::uuid, $3, now())")
        .bind(&owner.workspace_id)
        .bind(&person.user_id)
        .bind(role)
        .execute(&app.db)
        .await
        .unwrap();
}
