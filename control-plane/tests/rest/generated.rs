//! What holds for every operation of the OpenAPI document, new ones included: other workspaces' ids name nothing, the
//! role matrix, the audit log, and that nothing a client sends is answered with 500.

use crate::document::{Maker, Operation, join, operations};
use crate::support::app::App;
use axum::http::{Method, StatusCode};
use rateguard_api::name::Role;
use rateguard_control_plane::http::permission::{self, Permission};
use serde_json::{Value, json};
use uuid::Uuid;

/// What each operation in a workspace needs. An operation that is missing here fails the test: add it.
fn permission(operation: &str) -> Option<Permission> {
    Some(match operation {
        "showWorkspace" | "listApis" | "showApi" | "listKeys" | "showKey" | "listRules" | "showRule"
        | "showCosts" | "testRules" | "listBudgets" | "showBudget" | "listPrices" | "showPrice"
        | "showCatalogue" | "listMembers" | "showMember" | "listInvitations" | "listAccessTokens"
        | "createAccessToken" | "showRequests" | "showSummary" | "showTopEndpoints" | "showLatency"
        | "showCostBreakdown" | "listEvents" | "tailEvents" | "exportEvents" => Permission::Read,
        "updateWorkspace" => Permission::WriteWorkspace,
        "deleteWorkspace" => Permission::DeleteWorkspace,
        "transferOwnership" => Permission::TransferOwnership,
        // Another member's token; one's own is anybody's to revoke.
        "updateMember" | "removeMember" | "createInvitation" | "revokeInvitation" | "revokeAccessToken" => {
            Permission::WriteMembers
        }
        "createApi" | "updateApi" | "deleteApi" => Permission::WriteApis,
        "createPrice" | "updatePrice" | "deletePrice" => Permission::WritePrices,
        "createKey" | "updateKey" | "deleteKey" | "rotateKey" | "revokeKey" => Permission::WriteKeys,
        "createRule" | "updateRule" | "deleteRule" | "resetRule" => Permission::WriteRules,
        "updateMonthlyBudget" | "createBudget" | "updateBudget" | "deleteBudget" => Permission::WriteBudget,
        "listDataPlaneTokens" => Permission::ReadDataPlanes,
        "createDataPlaneToken" | "revokeDataPlaneToken" => Permission::WriteDataPlanes,
        "listAudit" => Permission::ReadAudit,
        _ => return None,
    })
}

/// Writes that are not in the audit log, each with its reason.
const UNAUDITED: &[(&str, &str)] = &[
    ("testRules", "asks, changes nothing"),
    (
        "resetRule",
        "answers 503 without a limit service; costs.rs has one",
    ),
];

/// Nobody is the owner of this workspace afterwards: people.rs sees to what they do and to their audit entries.
fn is_final(operation: &Operation) -> bool {
    matches!(operation.id.as_str(), "deleteWorkspace" | "transferOwnership")
}

/// 503 is right where the limit service or ClickHouse is away, as both are here.
fn without_limits(operation: &Operation) -> bool {
    matches!(operation.id.as_str(), "resetRule" | "showCosts") || operation.path.contains("/analytics/")
}

#[tokio::test]
async fn ti_01_ti_02_other_workspaces_ids_name_nothing() {
    let app = App::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let all = operations(&app).await;
    let maker = Maker {
        app: &app,
        operations: &all,
        owner: &ada,
    };
    let mut asked = 0;
    for operation in all.iter().filter(|operation| operation.in_workspace()) {
        let thing = maker.thing(operation).await;
        let mut paths = vec![
            operation.path(&ada.workspace_id, &thing),
            operation.path(&Uuid::now_v7().to_string(), &thing),
            operation.path("not-an-id", &thing),
        ];
        if operation.collection().is_some() {
            paths.push(operation.path(&bob.workspace_id, &thing));
            paths.push(operation.path(&bob.workspace_id, "not-an-id"));
        }
        for path in paths {
            let method = operation.method.clone();
            let answer = app.call(method, &path, &bob.token, &operation.body()).await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{} {path} {answer:?}",
                operation.id
            );
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
}

#[tokio::test]
async fn every_operation_obeys_the_table_of_roles() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let all = operations(&app).await;
    let maker = Maker {
        app: &app,
        operations: &all,
        owner: &ada,
    };
    let mut people = Vec::new();
    for role in [Role::Admin, Role::Member, Role::Viewer] {
        let person = app.register(&role.as_str().to_lowercase()).await;
        join(&app, &person, &ada, role.as_str()).await;
        people.push((role, person.token));
    }
    people.push((Role::Owner, ada.token.clone()));
    let mut unknown = Vec::new();
    for operation in all.iter().filter(|operation| operation.in_workspace()) {
        let Some(permission) = permission(&operation.id) else {
            unknown.push(operation.id.clone());
            continue;
        };
        for (role, token) in &people {
            if is_final(operation) && permission::allows(*role, permission) {
                continue;
            }
            let path = operation.path(&ada.workspace_id, &maker.thing(operation).await);
            let method = operation.method.clone();
            let answer = app.call(method, &path, token, &operation.body()).await;
            let allowed = permission::allows(*role, permission);
            let expected = if allowed {
                answer.status.is_success() || (without_limits(operation) && answer.status == 503)
            } else {
                answer.status == StatusCode::FORBIDDEN
            };
            assert!(expected, "{} as {role}: {answer:?}", operation.id);
        }
    }
    assert!(unknown.is_empty(), "say above what these need: {unknown:?}");
}

#[tokio::test]
async fn every_operation_needs_a_session_unless_it_says_otherwise() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    for operation in operations(&app).await {
        let path = operation.path(&ada.workspace_id, &Uuid::now_v7().to_string());
        for token in ["", "rubbish"] {
            let method = operation.method.clone();
            let answer = app.call(method, &path, token, &operation.body()).await;
            if operation.open {
                assert!(
                    operation.path.starts_with("/api/auth/") || operation.path.contains("invitation"),
                    "{path}"
                );
            } else {
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{} {answer:?}",
                    operation.id
                );
            }
        }
    }
}

async fn entries(app: &App) -> Vec<(String, String)> {
    sqlx::query_as("SELECT action, audit_entry::text FROM audit_entry ORDER BY at, id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn ca_15_every_write_leaves_one_audit_entry_without_secrets() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let all = operations(&app).await;
    let maker = Maker {
        app: &app,
        operations: &all,
        owner: &ada,
    };
    let mut secrets = vec!["sk-the-provider-s-key".to_owned()];
    let writes = |operation: &&Operation| {
        operation.writes() && (operation.in_workspace() || operation.id == "createWorkspace")
    };
    for operation in all.iter().filter(writes) {
        if UNAUDITED.iter().any(|(id, _)| *id == operation.id) || is_final(operation) {
            continue;
        }
        let thing = maker.thing(operation).await;
        let before = entries(&app).await.len();
        let answer = maker.call(operation, &thing).await;
        assert!(answer.status.is_success(), "{} {answer:?}", operation.id);
        let after = entries(&app).await;
        assert_eq!(
            after.len(),
            before + 1,
            "{} left {:?}",
            operation.id,
            after.get(before..)
        );
        for field in ["/key", "/token", "/acceptUrl"] {
            secrets.extend(
                answer
                    .body
                    .pointer(field)
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
        }
    }
    for (action, row) in entries(&app).await {
        for secret in &secrets {
            assert!(!row.contains(secret.as_str()), "{action} tells {secret}");
        }
    }
    let listed = app.get(&ada.path("/audit?limit=200"), &ada.token).await;
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    assert_eq!(listed.body["data"][0]["actor"]["userId"], json!(ada.user_id));
}

#[tokio::test]
async fn ca_15_the_audit_log_is_append_only() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    for statement in [
        "UPDATE audit_entry SET action = 'nothing'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
    ] {
        let refused = sqlx::query(statement).execute(&app.db).await.unwrap_err();
        assert!(
            refused.to_string().contains("append-only"),
            "{statement}: {refused}"
        );
    }
    assert_eq!(
        entries(&app)
            .await
            .iter()
            .filter(|(action, _)| action == "key.create")
            .count(),
        1
    );
}

/// Bodies that no route wants.
fn hostile(example: &Value) -> Vec<(String, bool)> {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut bodies = vec![
        (String::new(), false),
        ("{".to_owned(), true),
        ("null".to_owned(), true),
        ("[]".to_owned(), true),
        ("\"text\"".to_owned(), true),
        ("1e999".to_owned(), true),
        (deep.clone(), true),
        (format!("{{\"name\":{deep}}}"), true),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)), true),
        ("{\"name\":\"\u{0}\"}".to_owned(), true),
    ];
    let Some(fields) = example.as_object() else {
        return bodies;
    };
    for field in [
        "role",
        "workspaceId",
        "workspace_id",
        "isAdmin",
        "spent",
        "createdAt",
        "id",
    ] {
        if fields.contains_key(field) {
            continue;
        }
        let mut extra = example.clone();
        extra[field] = json!("x");
        bodies.push((extra.to_string(), true));
    }
    for name in fields.keys() {
        for value in [
            "null",
            "-1",
            "0",
            "1e30",
            "1e-30",
            "18446744073709551616",
            "9223372036854775808",
            "\"\"",
            "\"\\u0000\"",
            "\"\\ud83d\\ude00\\r\\nx: y\"",
            "[]",
            "{}",
            "[{}]",
            "true",
            "\"NaN\"",
        ] {
            let mut one = example.clone();
            one[name] = json!("@value@");
            bodies.push((one.to_string().replace("\"@value@\"", value), false));
        }
    }
    bodies
}

#[tokio::test]
async fn ca_01_ca_10_ca_11_no_body_is_answered_with_500() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let all = operations(&app).await;
    let maker = Maker {
        app: &app,
        operations: &all,
        owner: &ada,
    };
    // Signing in and out is tried where it cannot end the session that this test has.
    let tried = |operation: &&Operation| {
        operation.writes() && operation.in_workspace() && !operation.example.is_null()
    };
    for operation in all.iter().filter(tried) {
        let path = operation.path(&ada.workspace_id, &maker.thing(operation).await);
        for (body, refused) in hostile(&operation.example) {
            let method = operation.method.clone();
            let answer = app.call_text(method, &path, &ada.token, &body).await;
            let status = answer.status.as_u16();
            let shown = body.chars().take(300).collect::<String>();
            assert!(
                operation.statuses.contains(&status),
                "{} {shown}: {answer:?}",
                operation.id
            );
            assert!(
                status < 500 || without_limits(operation),
                "{} {shown}: {answer:?}",
                operation.id
            );
            assert!(
                !refused || (400..500).contains(&status),
                "{} {shown}: {answer:?}",
                operation.id
            );
        }
    }
}

#[tokio::test]
async fn ca_11_ca_16_queries_and_methods_are_what_the_document_says() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let all = operations(&app).await;
    let maker = Maker {
        app: &app,
        operations: &all,
        owner: &ada,
    };
    for operation in all.iter().filter(|operation| operation.in_workspace()) {
        let path = operation.path(&ada.workspace_id, &maker.thing(operation).await);
        let method = operation.method.clone();
        let answer = app
            .call(
                method,
                &format!("{path}?surprise=1"),
                &ada.token,
                &operation.body(),
            )
            .await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".into(), vec!["surprise".into()]),
            "{}",
            operation.id
        );
        if operation.method == Method::GET {
            for query in [
                "limit=0",
                "limit=1000000000",
                "limit=-1",
                "limit=x",
                "limit=",
                "limit=1&limit=2",
                "cursor=x",
                "cursor=%00",
                "name=%00",
                "isActive=maybe",
                "apiId=x",
                "from=yesterday",
                "action=none",
                "status=x",
            ] {
                let answer = app.get(&format!("{path}?{query}"), &ada.token).await;
                assert_eq!(
                    answer.status,
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "{path}?{query} {answer:?}"
                );
            }
            let before = entries(&app).await.len();
            for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
                let request = axum::http::Request::get(&path)
                    .header(header, "DELETE")
                    .header("authorization", format!("Bearer {}", ada.token));
                let answer = app.send(request.body(axum::body::Body::empty()).unwrap()).await;
                let read = answer.status == StatusCode::OK || without_limits(operation);
                assert!(read, "{path} {answer:?}");
            }
            assert_eq!(entries(&app).await.len(), before, "{path}");
        }
    }
}
