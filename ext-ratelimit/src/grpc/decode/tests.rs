//! What is refused, and by which name.

use super::*;

fn quota_of(amount: i64) -> v1::Quota {
    v1::Quota {
        id: vec![1; 16],
        version: 1,
        kind: v1::QuotaKind::Rule.into(),
        algorithm: v1::Algorithm::TokenBucket.into(),
        unit: v1::Unit::Requests.into(),
        limit: 10,
        window: None,
        refill_milli_per_s: 1_000,
        mode: v1::Mode::Enforce.into(),
        failure_mode: v1::FailureMode::FailOpen.into(),
        partition: "k:1".into(),
        amount,
    }
}

fn request() -> v1::ReserveRequest {
    v1::ReserveRequest {
        reservation_id: vec![2; 16],
        workspace_id: vec![3; 16],
        key_id: vec![4; 16],
        api_id: vec![5; 16],
        ttl_ms: 60_000,
        quotas: vec![quota_of(1)],
        worker_id: 7,
        members: Vec::new(),
    }
}

fn refusal(change: impl FnOnce(&mut v1::ReserveRequest)) -> String {
    let mut request = request();
    change(&mut request);
    let status = reserve(request).expect_err("must be refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    status.message().to_owned()
}

#[test]
fn a_sound_reservation_decodes() {
    let (reserve, worker) = reserve(request()).expect("sound");
    assert_eq!(reserve.id, RequestId::from_bytes([2; 16]));
    assert_eq!(reserve.workspace_id, WorkspaceId::from_bytes([3; 16]));
    assert_eq!((reserve.ttl_ms, reserve.quotas.len(), worker), (60_000, 1, 7));
}

#[test]
fn ti_04_every_refusal_names_its_field() {
    assert!(refusal(|r| r.reservation_id = vec![1; 15]).starts_with("reservation_id"));
    assert!(refusal(|r| r.workspace_id = Vec::new()).starts_with("workspace_id"));
    assert!(refusal(|r| r.key_id = vec![1; 17]).starts_with("key_id"));
    assert!(refusal(|r| r.api_id = vec![1]).starts_with("api_id"));
    assert!(refusal(|r| r.ttl_ms = 0).starts_with("ttl_ms"));
    assert!(refusal(|r| r.ttl_ms = u32::MAX).starts_with("ttl_ms"));
    assert!(refusal(|r| r.quotas.clear()).starts_with("quotas"));
    assert!(refusal(|r| r.quotas = vec![quota_of(1); 65]).starts_with("quotas"));
    for partition in ["a}b", "a{b", "a\nb", "a b", &"x".repeat(201)] {
        let message = refusal(|r| {
            r.quotas.push(v1::Quota {
                partition: partition.into(),
                ..quota_of(1)
            });
        });
        assert!(
            message.starts_with("quotas[1].") && message.contains("partition"),
            "{message}"
        );
    }
    for amount in [-1, 1 << 53, i64::MAX, i64::MIN] {
        let message = refusal(|r| r.quotas.push(quota_of(amount)));
        assert!(
            message.starts_with("quotas[1].") && message.contains("amount"),
            "{message}"
        );
        let message = refusal(|r| {
            r.quotas.push(v1::Quota {
                limit: amount,
                ..quota_of(1)
            });
        });
        assert!(
            message.starts_with("quotas[1].") && message.contains("limit"),
            "{message}"
        );
    }
}

fn wire_settlement(actual: i64) -> v1::Settlement {
    v1::Settlement {
        reservation_id: vec![2; 16],
        workspace_id: vec![3; 16],
        reserved_at_ms: 1,
        amounts: vec![v1::SettledAmount {
            quota: Some(quota_of(5)),
            window_start_ms: 0,
            actual,
            returned: 0,
        }],
        part: 0,
        is_block: false,
    }
}

fn settle(actual: i64) -> Result<(Settlement, bool), String> {
    settlement(wire_settlement(actual), false)
}

#[test]
fn a_release_ignores_what_was_used() {
    let (release, saturated) = settlement(wire_settlement(-1), true).expect("taken");
    assert_eq!((release.amounts[0].actual, saturated), (0, false));
}

#[test]
fn rl_06_negative_is_refused_zero_and_more_than_held_are_taken_and_too_much_saturates() {
    assert_eq!(settle(-1).unwrap_err(), "amounts[0].actual: must not be negative");
    for (actual, counted, saturated) in [
        (0, 0, false),
        (7, 7, false),
        (AMOUNT_MAX, AMOUNT_MAX, false),
        (AMOUNT_MAX + 1, AMOUNT_MAX, true),
        (i64::MAX, AMOUNT_MAX, true),
    ] {
        let (settlement, alert) = settle(actual).expect("taken");
        assert_eq!((settlement.amounts[0].actual, alert), (counted, saturated));
    }
}

#[test]
fn the_deadline_is_read_as_grpc_spells_it() {
    assert_eq!(grpc_timeout("150m"), Some(Duration::from_millis(150)));
    assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
    assert_eq!(
        grpc_timeout("99999999H"),
        Some(Duration::from_secs(99_999_999 * 3_600))
    );
    for wrong in ["", "m", "150", "1x", "-1S", "123456789S", "1.5S", "é"] {
        assert_eq!(grpc_timeout(wrong), None, "{wrong}");
    }
}

#[test]
fn ev_10_an_event_with_a_crooked_id_is_not_sound() {
    let event = v1::RequestEvent {
        event_id: vec![1; 16],
        ..v1::RequestEvent::default()
    };
    assert!(is_sound_event(&event));
    assert!(!is_sound_event(&v1::RequestEvent::default()));
    assert!(
        !is_sound_event(&v1::RequestEvent {
            members: vec![v1::Member::default()],
            ..event.clone()
        }),
        "members are the sweeper's to name"
    );
    assert!(!is_sound_event(&v1::RequestEvent {
        workspace_id: vec![1; 4],
        ..event
    }));
}

#[test]
fn members_are_few_and_each_is_sound() {
    let member = |bytes, cost_nanos| v1::Member {
        request_id: vec![1; bytes],
        cost_nanos,
    };
    for (members, said) in [
        (vec![member(16, 0); 129], "members: at most 128"),
        (
            vec![member(16, 0), member(16, -1)],
            "members[1].cost_nanos: must be 0..2^53",
        ),
        (
            vec![member(16, 1 << 53)],
            "members[0].cost_nanos: must be 0..2^53",
        ),
        (vec![member(15, 0)], "members[0].request_id: must be 16 bytes"),
    ] {
        assert_eq!(refusal(|request| request.members = members), said);
    }
    let (joint, _) = reserve(v1::ReserveRequest {
        members: vec![member(16, 5); 128],
        ..request()
    })
    .expect("sound");
    assert_eq!((joint.members.len(), joint.members[0].cost_nanos), (128, 5));
}
