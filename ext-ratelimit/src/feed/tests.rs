//! Answers of the feed applied to a view.

use super::*;
use rateguard_model::id::{ApiId, KeyId};

fn token(n: u8, workspace: &[u8]) -> v1::DataPlaneToken {
    v1::DataPlaneToken {
        id: vec![n; 16],
        sha256: vec![n; 32],
        workspace_id: workspace.to_vec(),
    }
}

fn workspace(n: u8) -> v1::Workspace {
    v1::Workspace {
        id: vec![n; 16],
        slug: format!("w{n}"),
        time_zone: "Europe/Berlin".into(),
        unpriced_model_policy: v1::UnpricedModelPolicy::Block.into(),
        failure_mode: v1::FailureMode::FailOpen.into(),
    }
}

fn budget(n: u8, workspace: u8) -> v1::Budget {
    v1::Budget {
        id: vec![n; 16],
        workspace_id: vec![workspace; 16],
        version: 3,
        name: "monthly".into(),
        subject_kind: v1::BudgetSubjectKind::Workspace.into(),
        subject: String::new(),
        limit_nanos: 1_000,
        window: Some(v1::Window {
            kind: Some(v1::window::Kind::Calendar(v1::CalendarWindow {
                unit: v1::CalendarUnit::Month.into(),
                time_zone: "Europe/Berlin".into(),
            })),
        }),
        auto_shutoff: true,
        failure_mode: v1::FailureMode::BoundedOpen.into(),
    }
}

fn full() -> v1::PollResponse {
    v1::PollResponse {
        full: true,
        workspaces: vec![workspace(1), workspace(2)],
        budgets: vec![budget(10, 1), budget(11, 1), budget(12, 2)],
        data_plane_tokens: vec![token(20, &[]), token(21, &[1; 16])],
        ..v1::PollResponse::default()
    }
}

fn removal(kind: v1::ResourceType, n: u8) -> v1::Removal {
    v1::Removal {
        r#type: kind.into(),
        id: vec![n; 16],
    }
}

#[test]
fn a_full_answer_replaces_everything() {
    let view = View::default().apply(full()).expect("good");
    assert_eq!(view.scope(&Digest::from_bytes([20; 32])), Some(TokenScope::All));
    let own = WorkspaceId::from_bytes([1; 16]);
    assert_eq!(
        view.scope(&Digest::from_bytes([21; 32])),
        Some(TokenScope::Workspace(own))
    );
    assert_eq!(view.scope(&Digest::from_bytes([22; 32])), None);
    assert_eq!(view.budgets_of(own).len(), 2);
    let smaller = v1::PollResponse {
        full: true,
        data_plane_tokens: vec![token(23, &[])],
        ..Default::default()
    };
    let next = view.apply(smaller).expect("good");
    assert_eq!(next.scope(&Digest::from_bytes([20; 32])), None);
    assert!(next.budgets_of(own).is_empty());
}

#[test]
fn a_delta_upserts_and_removes() {
    let view = View::default().apply(full()).unwrap();
    let delta = v1::PollResponse {
        budgets: vec![v1::Budget {
            limit_nanos: 5,
            ..budget(10, 1)
        }],
        removals: vec![
            removal(v1::ResourceType::Budget, 11),
            removal(v1::ResourceType::DataPlaneToken, 20),
            removal(v1::ResourceType::Workspace, 2),
        ],
        ..v1::PollResponse::default()
    };
    let next = view.apply(delta).expect("good");
    let budgets = next.budgets_of(WorkspaceId::from_bytes([1; 16]));
    assert_eq!(budgets.iter().map(|b| b.limit.0).collect::<Vec<_>>(), [5]);
    assert!(next.budgets_of(WorkspaceId::from_bytes([2; 16])).is_empty());
    assert_eq!(next.scope(&Digest::from_bytes([20; 32])), None);
    assert!(next.scope(&Digest::from_bytes([21; 32])).is_some());
}

#[test]
fn cp_05_a_broken_answer_is_refused_whole() {
    let view = View::default().apply(full()).unwrap();
    let broken: [(&str, v1::PollResponse); 5] = [
        (
            "no tokens",
            v1::PollResponse {
                full: true,
                ..Default::default()
            },
        ),
        (
            "token",
            v1::PollResponse {
                data_plane_tokens: vec![v1::DataPlaneToken {
                    sha256: vec![1; 31],
                    ..token(9, &[])
                }],
                ..Default::default()
            },
        ),
        (
            "workspace",
            v1::PollResponse {
                workspaces: vec![v1::Workspace {
                    time_zone: "Mars/Base".into(),
                    ..workspace(1)
                }],
                ..Default::default()
            },
        ),
        (
            "budget",
            v1::PollResponse {
                budgets: vec![v1::Budget {
                    window: None,
                    ..budget(10, 1)
                }],
                ..Default::default()
            },
        ),
        (
            "removal",
            v1::PollResponse {
                removals: vec![removal(v1::ResourceType::Unspecified, 1)],
                ..Default::default()
            },
        ),
    ];
    for (what, answer) in broken {
        assert!(view.apply(answer).is_err(), "{what}");
    }
}

#[test]
fn a_budget_is_one_bucket() {
    let view = View::default().apply(full()).unwrap();
    let quota = budget_quota(view.budget(QuotaId::from_bytes([10; 16])).unwrap()).expect("enforced");
    assert_eq!(
        (quota.partition.as_str(), quota.version, quota.amount),
        ("-", 3, 0)
    );
    assert!(matches!(
        quota.meter,
        Meter::FixedWindow {
            window: rateguard_model::window::Window::Calendar { .. }
        }
    ));
}

#[test]
fn a_budget_of_an_api_or_a_key_has_a_bucket_too() {
    let view = View::default().apply(full()).unwrap();
    let budget = view.budget(QuotaId::from_bytes([10; 16])).unwrap();
    let subjects = [
        BudgetSubject::Api(ApiId::from_bytes([2; 16])),
        BudgetSubject::Key(KeyId::from_bytes([3; 16])),
    ];
    for subject in subjects {
        assert!(rateguard_model::enforced::BUDGET_SUBJECTS.contains(&subject.kind()));
        let budget = Budget {
            subject,
            ..budget.clone()
        };
        assert_eq!(budget_quota(&budget).expect("enforced").partition, "-");
    }
}
