//! Who sees what: by role, and by the token's reach.

use crate::replica::{Replica, after, filter, make_api, make_key, make_rule, operator_token, own_token};
use crate::support::app::App;
use rateguard_model::digest::Digest;
use rateguard_wire::v1::{PollRequest, PollRole, upstream_auth::Kind};
use serde_json::json;

fn limits() -> PollRequest {
    PollRequest {
        role: PollRole::Limits.into(),
        ..filter()
    }
}

#[tokio::test]
async fn the_limit_service_gets_tokens_and_budgets_and_no_key() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    make_api(&app, &ada, "openai").await;
    make_key(&app, &ada).await;
    make_rule(&app, &ada).await;
    app.patch(&ada.path("/budget"), &ada.token, json!({"monthlyBudgetCents": 5}))
        .await;
    let token = operator_token(&app).await;
    let (own, _) = own_token(&app, &ada).await;
    let replica = Replica::start(&app).await;

    let told = replica.poll(&token, limits()).await;
    assert_eq!((told.workspaces.len(), told.budgets.len()), (1, 1));
    assert_eq!((told.apis.len(), told.keys.len(), told.rules.len()), (0, 0, 0));
    let mut hashes: Vec<_> = told
        .data_plane_tokens
        .iter()
        .map(|token| token.sha256.clone())
        .collect();
    hashes.sort();
    let mut expected = [&token, &own].map(|text| Digest::of(text.as_bytes()).as_bytes().to_vec());
    expected.sort();
    assert_eq!(hashes, expected);

    let told = replica.poll(&token, filter()).await;
    assert_eq!(
        (
            told.apis.len(),
            told.keys.len(),
            told.rules.len(),
            told.budgets.len()
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(told.data_plane_tokens.len(), 0);
    let kind = told.apis[0].auth.clone().unwrap().kind.unwrap();
    assert_eq!(kind, Kind::Bearer(crate::replica::CREDENTIAL.into()));
}

#[tokio::test]
async fn ti_a_token_of_one_workspace_sees_that_workspace_only() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    for person in [&ada, &bob] {
        make_api(&app, person, "openai").await;
        make_key(&app, person).await;
        make_rule(&app, person).await;
        app.patch(
            &person.path("/budget"),
            &person.token,
            json!({"monthlyBudgetCents": 5}),
        )
        .await;
    }
    let all = operator_token(&app).await;
    let (ada_token, _) = own_token(&app, &ada).await;
    let (bob_token, _) = own_token(&app, &bob).await;
    let replica = Replica::start(&app).await;
    let home = ada
        .workspace_id
        .parse::<uuid::Uuid>()
        .unwrap()
        .as_bytes()
        .to_vec();

    let told = replica.poll(&ada_token, filter()).await;
    assert_eq!(
        told.workspaces.iter().map(|w| w.id.clone()).collect::<Vec<_>>(),
        std::slice::from_ref(&home)
    );
    let mut owners: Vec<_> = told.apis.iter().map(|api| api.workspace_id.clone()).collect();
    owners.extend(told.keys.iter().map(|key| key.workspace_id.clone()));
    owners.extend(told.rules.iter().map(|rule| rule.workspace_id.clone()));
    owners.extend(told.budgets.iter().map(|budget| budget.workspace_id.clone()));
    assert_eq!(owners, vec![home; 4]);
    let (_, clusters) = replica.clusters(&ada_token, "").await;
    assert_eq!(clusters["resources"].as_array().unwrap().len(), 1);
    let (_, clusters) = replica.clusters(&all, "").await;
    assert_eq!(clusters["resources"].as_array().unwrap().len(), 2);

    let told = replica.poll(&ada_token, limits()).await;
    let hashes: Vec<_> = told
        .data_plane_tokens
        .iter()
        .map(|token| token.sha256.clone())
        .collect();
    assert_eq!(hashes, [Digest::of(ada_token.as_bytes()).as_bytes().to_vec()]);

    // Another token in the same plugin configuration, or another role: what the client holds is not its own.
    let known = replica.poll(&ada_token, filter()).await;
    assert!(replica.poll(&bob_token, after(&known)).await.full);
    assert!(replica.poll(&all, after(&known)).await.full);
    let as_limits = PollRequest {
        role: PollRole::Limits.into(),
        ..after(&known)
    };
    assert!(replica.poll(&ada_token, as_limits).await.full);
}
