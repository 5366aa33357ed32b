use super::*;
use proptest::prelude::*;

/// CRC-16/XMODEM and the hash tag rule, as the Redis Cluster specification has them.
fn slot(key: &str) -> u16 {
    let hashed = match key.split_once('{').and_then(|(_, rest)| rest.split_once('}')) {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    };
    let mut crc: u16 = 0;
    for byte in hashed.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    crc % 16_384
}

fn workspace(n: u8) -> WorkspaceId {
    WorkspaceId::from_bytes([n; 16])
}

fn quota(n: u8) -> QuotaId {
    QuotaId::from_bytes([n; 16])
}

fn all_keys(keys: &WorkspaceKeys) -> Vec<String> {
    vec![
        keys.held(),
        keys.open(),
        keys.expired(),
        keys.resolved(RequestId::v7(1_700_000_000_000, [7; 10])).0,
        keys.bucket(quota(1), 1, "api.a").unwrap(),
        keys.bucket(quota(2), 9, "").unwrap(),
        keys.log(quota(1), 1, "ip.10.0.0.1").unwrap(),
    ]
}

#[test]
fn slot_of_the_specification() {
    assert_eq!(slot("123456789"), 0x31C3);
    assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
}

#[test]
fn rl_16_all_keys_of_one_reserve_are_in_one_slot() {
    for n in 0..=255 {
        let keys = WorkspaceKeys::new(workspace(n));
        let expected = slot(&workspace(n).to_string());
        for key in all_keys(&keys) {
            assert_eq!(slot(&key), expected, "{key}");
        }
    }
}

#[test]
fn keys_of_one_workspace_are_distinct() {
    let mut keys = all_keys(&WorkspaceKeys::new(workspace(3)));
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn hash_tag_is_the_workspace_id_only() {
    for key in all_keys(&WorkspaceKeys::new(workspace(0xab))) {
        assert_eq!(key.matches('{').count(), 1, "{key}");
        assert!(
            key.starts_with("rg1:{abababab-abab-abab-abab-abababababab}:"),
            "{key}"
        );
    }
}

#[test]
fn ti_04_crafted_partitions_are_refused() {
    let keys = WorkspaceKeys::new(workspace(1));
    let long = "x".repeat(201);
    for partition in [
        "a}",
        "{b}",
        "a\nb",
        "a b",
        "a*",
        "a?",
        "[a]",
        "\\",
        "é",
        "\0",
        long.as_str(),
    ] {
        assert_eq!(
            keys.bucket(quota(1), 1, partition),
            Err(InvalidPartition),
            "{partition:?}"
        );
        assert_eq!(
            keys.log(quota(1), 1, partition),
            Err(InvalidPartition),
            "{partition:?}"
        );
    }
}

#[test]
fn resolved_slot_is_by_the_time_in_the_id() {
    let keys = WorkspaceKeys::new(workspace(1));
    let at = 1_700_000_000_000;
    let (key, end_ms) = keys.resolved(RequestId::v7(at, [0; 10]));
    assert!(end_ms > at as i64 && end_ms <= at as i64 + 1024);
    assert_eq!(keys.resolved(RequestId::v7(end_ms as u64 - 1, [9; 10])).0, key);
    assert_ne!(keys.resolved(RequestId::v7(end_ms as u64, [0; 10])).0, key);
}

#[test]
fn other_keys_are_no_buckets() {
    let keys = WorkspaceKeys::new(workspace(1));
    for key in [
        keys.held(),
        keys.open(),
        keys.expired(),
        registry(workspace(1)),
        String::new(),
    ] {
        assert_eq!(parse_bucket(&key), None);
    }
}

#[test]
fn every_workspace_is_in_one_of_the_registries() {
    let all: Vec<String> = registries().collect();
    assert_eq!(all.len(), 16);
    for n in 0..=255 {
        assert!(all.contains(&registry(workspace(n))));
    }
}

proptest! {
    #[test]
    fn bucket_keys_round_trip(ws: [u8; 16], id: [u8; 16], version: u32, partition in "[0-9A-Za-z._:-]{0,200}") {
        let name = BucketName {
            workspace_id: WorkspaceId::from_bytes(ws),
            quota_id: QuotaId::from_bytes(id),
            version,
            partition,
        };
        let keys = WorkspaceKeys::new(name.workspace_id);
        let bucket = keys.bucket(name.quota_id, name.version, &name.partition).unwrap();
        let log = keys.log(name.quota_id, name.version, &name.partition).unwrap();
        prop_assert_ne!(&bucket, &log);
        prop_assert_eq!(parse_bucket(&bucket), Some(name.clone()));
        prop_assert_eq!(parse_bucket(&log), Some(name));
    }
}
