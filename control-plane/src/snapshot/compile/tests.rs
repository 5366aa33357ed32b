use super::*;
use crate::entropy::SeededEntropy;
use rateguard_wire::v1::PollResponse;

const WORKSPACE: Uuid = Uuid::from_u128(1);
const API: Uuid = Uuid::from_u128(2);
const CREDENTIAL: &str = "sk-canary";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-06-15T12:00:00Z")
}

fn keyring() -> Keyring {
    Keyring::new([7; 32])
}

fn workspace_row() -> row::Workspace {
    row::Workspace {
        id: WORKSPACE,
        slug: "demo".into(),
        time_zone: "Europe/Berlin".into(),
        unpriced_model_policy: "allow".into(),
        failure_mode: "FAIL_CLOSED".into(),
        feed_version: 2,
    }
}

fn api_row() -> row::Api {
    let sealed = keyring()
        .seal(WORKSPACE, API, CREDENTIAL, &SeededEntropy::new(1))
        .unwrap();
    row::Api {
        id: API,
        workspace_id: WORKSPACE,
        slug: "openai".into(),
        base_url: "https://API.openai.com/v1/".into(),
        hosts: vec!["API.openai.com".into()],
        auth_type: "API_KEY_HEADER".into(),
        auth_header_name: Some("X-Api-Key".into()),
        credential: Some(sealed.text),
        credential_key_id: Some(sealed.key_id),
        usage_format: "openai".into(),
        cost_model: Some(
            r#"{"type": "PER_TOKEN", "default": null, "models": [{"model": "gpt-4o*", "default_output_tokens": 300,
                "prices": {"input": 150000, "output": 600000, "cache_read": 75000, "cache_write_5m": null,
                           "cache_write_1h": null, "audio_in": null, "reasoning": null, "audio_out": null}}]}"#
                .into(),
        ),
        price_version: "prices-1".into(),
        timeout_ms: 600_000,
        forward_cookies: false,
        stream_cost_comment: true,
        is_active: true,
        feed_version: 3,
    }
}

fn key_row() -> row::Key {
    row::Key {
        id: Uuid::from_u128(3),
        workspace_id: WORKSPACE,
        is_active: true,
        revoked_at: None,
        expires_at: Some(at("2027-01-01T00:00:00Z")),
        allowed_api_ids: vec![API],
        allowed_models: vec!["gpt-*".into()],
        tags: r#"{"team": "core", "app": "chat"}"#.into(),
        owner_id: Some(Uuid::from_u128(9)),
        deleted_at: None,
        feed_version: 4,
        secret_sha256: vec![vec![0xaa; 32], vec![0xbb; 32]],
        secret_not_after: vec![None, Some(at("2026-06-16T00:00:00Z"))],
    }
}

fn rule_row() -> row::Rule {
    row::Rule {
        id: Uuid::from_u128(4),
        workspace_id: WORKSPACE,
        version: 2,
        name: "burst".into(),
        api_id: Some(API),
        endpoint: Some("/v1/chat/*".into()),
        methods: vec!["post".into()],
        scopes: r#"[{"type": "PER_KEY"}, {"type": "PER_IP", "trustedHops": 1}]"#.into(),
        algorithm: "SLIDING_WINDOW".into(),
        unit: "COST".into(),
        limit_amount: 10,
        window_ms: Some(60_000),
        refill_milli_per_s: None,
        priority: 7,
        enabled: true,
        mode: "shadow".into(),
        failure_mode: "FAIL_OPEN".into(),
        shared_across_apis: true,
        created_at: at("2026-06-01T00:00:00Z"),
        feed_version: 5,
    }
}

fn budget_row() -> row::Budget {
    row::Budget {
        id: Uuid::from_u128(5),
        workspace_id: WORKSPACE,
        version: 1,
        name: "monthly".into(),
        subject_type: "WORKSPACE".into(),
        subject: String::new(),
        limit_nanos: 100_000_000_000,
        window_type: "MONTH".into(),
        time_zone: "Europe/Berlin".into(),
        auto_shutoff: true,
        failure_mode: "BOUNDED_OPEN".into(),
        feed_version: 6,
    }
}

fn token_row() -> row::DataPlaneToken {
    row::DataPlaneToken {
        id: Uuid::from_u128(6),
        workspace_id: Some(WORKSPACE),
        sha256: vec![0xcc; 32],
        revoked_at: None,
        feed_version: 7,
    }
}

fn rows() -> Rows {
    Rows {
        workspaces: vec![workspace_row()],
        apis: vec![api_row()],
        keys: vec![key_row()],
        rules: vec![rule_row()],
        budgets: vec![budget_row()],
        data_plane_tokens: vec![token_row()],
        removals: vec![row::Removal {
            version: 8,
            resource_type: "rule".into(),
            resource_id: Uuid::from_u128(40),
            workspace_id: Some(WORKSPACE),
        }],
    }
}

fn only(compiled: Compiled) -> Change {
    let [change] = <[Change; 1]>::try_from(compiled.changes).unwrap();
    change
}

#[test]
fn a_row_of_each_kind_becomes_its_message() {
    let compiled = compile(rows(), &keyring(), now());
    assert_eq!(compiled.problems, []);
    insta::assert_debug_snapshot!(compiled.changes);
}

#[test]
fn what_is_compiled_is_what_the_data_planes_can_read() {
    let mut response = PollResponse::default();
    for change in compile(rows(), &keyring(), now()).changes {
        match change.body {
            Some(Body::Workspace(message)) => response.workspaces.push(message),
            Some(Body::Api(message, _)) => response.apis.push(*message),
            Some(Body::Key(message)) => response.keys.push(message),
            Some(Body::Rule(message)) => response.rules.push(*message),
            Some(Body::Budget(message)) => response.budgets.push(message),
            Some(Body::DataPlaneToken(message)) => response.data_plane_tokens.push(message),
            None => {}
        }
    }
    for workspace in response.workspaces {
        rateguard_model::resource::Workspace::try_from(workspace).unwrap();
    }
    for api in response.apis {
        rateguard_model::resource::Api::try_from(api).unwrap();
    }
    for key in response.keys {
        rateguard_model::resource::Key::try_from(key).unwrap();
    }
    for rule in response.rules {
        rateguard_model::rule::Rule::try_from(rule).unwrap();
    }
    for budget in response.budgets {
        rateguard_model::budget::Budget::try_from(budget).unwrap();
    }
}

#[test]
fn the_credential_is_opened_and_shown_by_no_debug() {
    let compiled = compile(rows(), &keyring(), now());
    assert!(!format!("{compiled:?}").contains(CREDENTIAL));
    let api = compiled.changes.into_iter().find_map(|change| match change.body {
        Some(Body::Api(api, _)) => Some(api),
        _ => None,
    });
    let kind = api.unwrap().auth.unwrap().kind.unwrap();
    let v1::upstream_auth::Kind::ApiKeyHeader(header) = kind else {
        panic!("{kind:?}");
    };
    assert_eq!(
        (header.header_name.as_str(), header.value.as_str()),
        ("x-api-key", CREDENTIAL)
    );
}

#[test]
fn an_api_that_cannot_be_read_is_inactive_and_never_goes_without_its_credential() {
    type Spoil = fn(&mut row::Api);
    let spoilers: [(&str, Spoil); 6] = [
        ("credential", |api| api.credential = Some("x".into())),
        ("credential", |api| api.credential = None),
        ("credential", |api| {
            api.credential_key_id = Some("00000000".into());
        }),
        ("auth_header_name", |api| api.auth_header_name = None),
        ("base_url", |api| api.base_url = "https://user@x".into()),
        ("cost_model", |api| api.cost_model = Some("{}".into())),
    ];
    for (column, spoil) in spoilers {
        let mut row = api_row();
        spoil(&mut row);
        let rows = Rows {
            apis: vec![row],
            ..Rows::default()
        };
        let compiled = compile(rows, &keyring(), now());
        let columns: Vec<_> = compiled.problems.iter().map(|problem| problem.column).collect();
        assert_eq!(columns, [column]);
        let Some(Body::Api(api, _)) = only(compiled).body else {
            panic!("it left");
        };
        assert!(!api.is_active, "{column}");
    }
}

#[test]
fn keys_leave_when_deleted_or_revoked_for_30_days() {
    type Change = fn(&mut row::Key);
    let cases: [(Change, Option<v1::KeyState>); 6] = [
        (|_| {}, Some(v1::KeyState::Active)),
        (|key| key.is_active = false, Some(v1::KeyState::Suspended)),
        (
            |key| key.revoked_at = Some(at("2026-06-15T11:00:00Z")),
            Some(v1::KeyState::Revoked),
        ),
        (
            |key| key.revoked_at = Some(at("2026-05-16T12:00:00Z")),
            Some(v1::KeyState::Revoked),
        ),
        (|key| key.revoked_at = Some(at("2026-05-16T11:59:59Z")), None),
        (|key| key.deleted_at = Some(at("2026-06-15T11:00:00Z")), None),
    ];
    for (change, expected) in cases {
        let mut row = key_row();
        change(&mut row);
        let rows = Rows {
            keys: vec![row],
            ..Rows::default()
        };
        let state = match only(compile(rows, &keyring(), now())).body {
            Some(Body::Key(key)) => Some(key.state()),
            _ => None,
        };
        assert_eq!(state, expected);
    }
}

#[test]
fn disabled_rules_and_revoked_tokens_leave() {
    let rows = Rows {
        rules: vec![row::Rule {
            enabled: false,
            ..rule_row()
        }],
        data_plane_tokens: vec![row::DataPlaneToken {
            revoked_at: Some(now()),
            ..token_row()
        }],
        ..Rows::default()
    };
    let compiled = compile(rows, &keyring(), now());
    assert!(compiled.changes.iter().all(|change| change.body.is_none()));
    assert_eq!(compiled.changes.len(), 2);
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_the_others_are_told() {
    let mut rows = rows();
    rows.rules[0].algorithm = "GUESS".into();
    rows.budgets[0].window_type = "FORTNIGHT".into();
    let compiled = compile(rows, &keyring(), now());
    let named: Vec<_> = compiled
        .problems
        .iter()
        .map(|problem| (problem.table, problem.column))
        .collect();
    assert_eq!(named, [("rule", "algorithm"), ("budget", "window_type")]);
    assert_eq!(compiled.changes.len(), 5);
}
