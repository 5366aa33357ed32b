use super::*;
use crate::estimate::{Estimate, Pricing};
use crate::policy::Subject;
use proptest::prelude::*;
use rateguard_model::budget::BudgetSubject;
use rateguard_model::id::QuotaId;
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::FailureMode;
use rateguard_model::quota::Meter;
use rateguard_model::resource::{KeySecret, KeyState, UnpricedModelPolicy, UpstreamAuth};
use rateguard_model::usage::TokenUsage;
use rateguard_model::usage::UsageFormat;
use rateguard_model::window::{CalendarUnit, Window};

fn workspace(n: u8) -> Workspace {
    Workspace {
        id: WorkspaceId::from_bytes([n; 16]),
        slug: format!("w{n}"),
        time_zone: "UTC".parse().expect("a time zone"),
        unpriced_model_policy: UnpricedModelPolicy::Block,
        failure_mode: FailureMode::FailOpen,
    }
}

fn api(n: u8, workspace: u8, slug: &str) -> Api {
    Api {
        id: ApiId::from_bytes([n; 16]),
        workspace_id: WorkspaceId::from_bytes([workspace; 16]),
        slug: slug.to_owned(),
        hosts: vec![format!("{slug}.example.com")],
        scheme: "https".to_owned(),
        authority: "example.com".to_owned(),
        base_path: String::new(),
        cluster: "c".to_owned(),
        auth: UpstreamAuth::None,
        usage_format: UsageFormat::None,
        cost_model: None,
        timeout_ms: 1,
        forward_cookies: false,
        stream_cost_comment: false,
        is_active: true,
        price_version: String::new(),
    }
}

fn key(n: u8, secrets: &[u8]) -> Key {
    Key {
        id: KeyId::from_bytes([n; 16]),
        workspace_id: WorkspaceId::from_bytes([1; 16]),
        state: KeyState::Active,
        secrets: secrets
            .iter()
            .map(|s| KeySecret {
                digest: digest(*s),
                not_after_ms: None,
            })
            .collect(),
        expires_at_ms: None,
        allowed_api_ids: Vec::new(),
        allowed_models: Vec::new(),
        tags: Vec::new(),
        owner_id: None,
    }
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn held() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.apply(
        Update {
            version: "1".to_owned(),
            full: true,
            workspaces: vec![workspace(1), workspace(2)],
            apis: vec![api(1, 1, "one"), api(2, 2, "one")],
            keys: vec![key(1, &[1])],
            ..Update::default()
        },
        0,
    );
    snapshot
}

#[test]
fn ti_05_a_slug_belongs_to_its_workspace() {
    let snapshot = held();
    let find = |n: u8| {
        snapshot
            .policy_by_slug(&WorkspaceId::from_bytes([n; 16]), "one")
            .map(|policy| policy.api.id)
    };
    assert_eq!(find(1), Some(ApiId::from_bytes([1; 16])));
    assert_eq!(find(2), Some(ApiId::from_bytes([2; 16])));
    assert_eq!(find(3), None);
}

#[test]
fn a_delta_adds_replaces_and_removes() {
    let mut snapshot = held();
    snapshot.apply(
        Update {
            version: "2".to_owned(),
            apis: vec![api(1, 1, "renamed")],
            keys: vec![key(1, &[2]), key(2, &[3, 4])],
            removals: vec![Removal::Api(ApiId::from_bytes([2; 16]))],
            ..Update::default()
        },
        5,
    );
    let one = WorkspaceId::from_bytes([1; 16]);
    assert!(snapshot.policy_by_slug(&one, "one").is_none());
    assert!(snapshot.policy_by_slug(&one, "renamed").is_some());
    assert!(snapshot.policy_by_host(&one, "one.example.com").is_none());
    assert!(
        snapshot
            .policy_by_slug(&WorkspaceId::from_bytes([2; 16]), "one")
            .is_none()
    );
    assert!(
        snapshot.key_by_digest(&digest(1)).is_none(),
        "the old secret is gone"
    );
    assert!(snapshot.key_by_digest(&digest(4)).is_some());
    assert_eq!((snapshot.version(), snapshot.age_ms(9)), ("2", 4));
    snapshot.apply(
        Update {
            version: "3".to_owned(),
            removals: vec![Removal::Key(KeyId::from_bytes([2; 16]))],
            ..Update::default()
        },
        6,
    );
    assert!(snapshot.key_by_digest(&digest(3)).is_none());
    assert!(snapshot.key_by_digest(&digest(2)).is_some());
}

#[test]
fn an_exchange_keeps_what_it_started_with() {
    let mut snapshot = held();
    let policy = Rc::clone(
        snapshot
            .policy_by_slug(&WorkspaceId::from_bytes([1; 16]), "one")
            .expect("held"),
    );
    snapshot.apply(
        Update {
            version: "2".to_owned(),
            full: true,
            ..Update::default()
        },
        0,
    );
    assert_eq!(snapshot.key_count(), 0);
    assert_eq!(policy.api.slug, "one");
}

proptest! {
    /// Whatever the order of deltas, the digests in force are those of the keys in force.
    #[test]
    fn digests_follow_their_keys(changes in prop::collection::vec((0_u8..4, prop::option::of(prop::collection::vec(0_u8..8, 0..3))), 0..20)) {
        let mut snapshot = Snapshot::default();
        let mut expected: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (n, secrets) in changes {
            let mut update = Update { version: "v".to_owned(), ..Update::default() };
            if let Some(secrets) = secrets {
                // A digest belongs to one key.
                let secrets: Vec<u8> = secrets.into_iter().map(|s| s % 2 + n * 2).collect();
                update.keys.push(key(n, &secrets));
                expected.insert(n, secrets);
            } else {
                update.removals.push(Removal::Key(KeyId::from_bytes([n; 16])));
                expected.remove(&n);
            }
            snapshot.apply(update, 0);
        }
        for s in 0..8_u8 {
            let owner = expected.iter().find(|(_, secrets)| secrets.contains(&s)).map(|(n, _)| KeyId::from_bytes([*n; 16]));
            prop_assert_eq!(snapshot.key_by_digest(&digest(s)).map(|key| key.id), owner);
        }
    }
}

fn budget(n: u8, subject: BudgetSubject, window: Window) -> Budget {
    Budget {
        id: QuotaId::from_bytes([n; 16]),
        workspace_id: WorkspaceId::from_bytes([1; 16]),
        version: 1,
        name: format!("budget {n}"),
        subject,
        limit: NanoUsd(100),
        window,
        auto_shutoff: true,
        failure_mode: FailureMode::BoundedOpen,
    }
}

#[test]
fn a_request_meets_the_budgets_of_its_workspace_its_api_and_its_key() {
    let (api_id, key_id) = (ApiId::from_bytes([2; 16]), KeyId::from_bytes([3; 16]));
    let (other_api, other_key) = (ApiId::from_bytes([4; 16]), KeyId::from_bytes([5; 16]));
    let hour = Window::Calendar {
        unit: CalendarUnit::Hour,
        time_zone: "Europe/Berlin".parse().expect("a time zone"),
    };
    let tag = BudgetSubject::Tag {
        name: "team".to_owned(),
        value: "shop".to_owned(),
    };
    let mut snapshot = Snapshot::default();
    snapshot.apply(
        Update {
            workspaces: vec![workspace(1)],
            apis: vec![api(2, 1, "one"), api(4, 1, "two")],
            budgets: vec![
                budget(10, BudgetSubject::Workspace, Window::Total),
                budget(11, BudgetSubject::Api(api_id), hour),
                budget(12, BudgetSubject::Api(other_api), Window::Total),
                budget(13, BudgetSubject::Key(key_id), hour),
                budget(14, BudgetSubject::Key(key_id), Window::Total),
                budget(15, BudgetSubject::Key(other_key), Window::Total),
                budget(16, tag, Window::Total),
            ],
            ..Update::default()
        },
        0,
    );
    let estimate = Estimate {
        usage: TokenUsage::default(),
        cost: NanoUsd(5),
        pricing: Pricing::Flat(NanoUsd(5)),
    };
    let met = |slug: &str, key_id: KeyId| -> Vec<(u8, i64, Meter)> {
        let policy = snapshot
            .policy_by_slug(&WorkspaceId::from_bytes([1; 16]), slug)
            .expect("an API");
        let subject = Subject {
            key_id,
            method: b"POST",
            path: b"/",
            peer: None,
            forwarded_for: None,
        };
        let matched = policy.matching(&subject, &estimate);
        assert_eq!(matched.quotas.len(), matched.labels.len());
        matched
            .quotas
            .iter()
            .map(|quota| (quota.id.as_bytes()[0], quota.amount, quota.meter))
            .collect()
    };
    let total = Meter::FixedWindow {
        window: Window::Total,
    };
    let hourly = Meter::FixedWindow { window: hour };
    assert_eq!(
        met("one", key_id),
        [(10, 5, total), (11, 5, hourly), (13, 5, hourly), (14, 5, total)]
    );
    assert_eq!(
        met("two", key_id),
        [(10, 5, total), (12, 5, total), (13, 5, hourly), (14, 5, total)]
    );
    assert_eq!(
        met("two", other_key),
        [(10, 5, total), (12, 5, total), (15, 5, total)]
    );
    let nobody = KeyId::from_bytes([9; 16]);
    assert_eq!(met("one", nobody), [(10, 5, total), (11, 5, hourly)]);
}

/// A full update with keys `first..first + count` of workspace 1, and that workspace.
fn full(first: u8, count: u8) -> Update {
    Update {
        version: "f".to_owned(),
        full: true,
        workspaces: vec![workspace(1)],
        keys: (first..first + count).map(|n| key(n, &[n])).collect(),
        ..Update::default()
    }
}

fn holding(count: u8) -> Snapshot {
    let mut snapshot = Snapshot::default();
    assert_eq!(snapshot.receive(full(0, count), 0), Ok(Received::InForce));
    snapshot
}

#[test]
fn cp_05_a_full_update_that_loses_more_than_half_is_refused() {
    let mut snapshot = holding(20);
    for lossy in [
        full(0, 9),
        full(0, 0),
        Update {
            workspaces: Vec::new(),
            ..full(0, 20)
        },
        full(200, 0),
    ] {
        assert!(snapshot.receive(lossy, 1).is_err());
        assert_eq!(
            (snapshot.key_count(), snapshot.age_ms(1)),
            (20, 1),
            "the last good one stays"
        );
        assert!(snapshot.key_by_digest(&digest(19)).is_some());
    }
    let error = snapshot.receive(full(0, 9), 1).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("it would leave 9 of 20 keys of workspace 01010101-"),
        "{error}"
    );
    // Half may go; so may all of a few, and everything if the operator says so.
    assert!(snapshot.receive(full(0, 10), 2).is_ok());
    assert!(holding(9).receive(full(0, 0), 2).is_ok());
    let mut snapshot = holding(20);
    let said = Update {
        may_shrink: true,
        ..full(0, 0)
    };
    assert_eq!(snapshot.receive(said, 2), Ok(Received::InForce));
    assert_eq!(snapshot.key_count(), 0);
}

#[test]
fn cp_05_another_tenants_answer_is_refused() {
    let mut snapshot = Snapshot::default();
    let of = |first: u8| Update {
        version: "f".to_owned(),
        full: true,
        workspaces: (first..first + 10).map(workspace).collect(),
        ..Update::default()
    };
    snapshot.receive(of(0), 0).expect("the first");
    assert!(snapshot.receive(of(100), 0).is_err());
    // One that is said to be gone is no loss.
    let mut nine = of(0);
    nine.workspaces.truncate(4);
    nine.removals = (4..8)
        .map(|n| Removal::Workspace(WorkspaceId::from_bytes([n; 16])))
        .collect();
    assert!(snapshot.receive(nine, 0).is_ok());
}

#[test]
fn what_is_rightly_gone_is_no_loss() {
    let mut snapshot = holding(20);
    let mut update = full(0, 2);
    update.removals = (2..19)
        .map(|n| Removal::Key(KeyId::from_bytes([n; 16])))
        .collect();
    assert_eq!(snapshot.receive(update, 1), Ok(Received::InForce));
    assert_eq!(snapshot.key_count(), 2);
}

#[test]
fn pages_come_into_force_together() {
    let mut snapshot = holding(20);
    let page = |first, count, continues, has_more| Update {
        continues,
        has_more,
        version: "g".to_owned(),
        ..full(first, count)
    };
    assert_eq!(
        snapshot.receive(page(0, 12, false, true), 1),
        Ok(Received::Incomplete)
    );
    assert_eq!((snapshot.version(), snapshot.key_count()), ("f", 20));
    // The feed starts over.
    assert_eq!(
        snapshot.receive(page(0, 6, false, true), 1),
        Ok(Received::Incomplete)
    );
    assert_eq!(
        snapshot.receive(page(6, 6, true, true), 2),
        Ok(Received::Incomplete)
    );
    assert_eq!(
        snapshot.receive(page(12, 1, true, false), 3),
        Ok(Received::InForce)
    );
    assert_eq!(
        (snapshot.version(), snapshot.key_count(), snapshot.age_ms(5)),
        ("g", 13, 2)
    );
}

#[test]
fn cp_05_a_key_that_comes_twice_is_there_once() {
    let mut snapshot = Snapshot::default();
    let mut twice = full(0, 3);
    twice.keys.extend([key(1, &[1]), key(2, &[7, 8])]);
    snapshot.receive(twice, 0).expect("in force");
    assert_eq!(snapshot.key_count(), 3);
    assert!(snapshot.key_by_digest(&digest(2)).is_none());
    assert!(snapshot.key_by_digest(&digest(8)).is_some());
}
