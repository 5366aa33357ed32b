use super::*;
use crate::entropy::SeededEntropy;

const WORKSPACE: Uuid = Uuid::from_u128(1);
const API: Uuid = Uuid::from_u128(2);
const PLAIN: &str = "sk-canary-123";

fn sealed_by(ring: &Keyring) -> Sealed {
    ring.seal(WORKSPACE, API, PLAIN, &SeededEntropy::new(1)).unwrap()
}

fn parts(sealed: &Sealed) -> Vec<Vec<u8>> {
    sealed
        .text
        .split(':')
        .map(|part| STANDARD.decode(part).unwrap())
        .collect()
}

#[test]
fn what_is_sealed_opens_again() {
    let ring = Keyring::new([7; 32]);
    let sealed = sealed_by(&ring);
    assert_eq!(ring.open(WORKSPACE, API, &sealed).unwrap(), PLAIN);
    let lengths: Vec<_> = parts(&sealed).iter().map(Vec::len).collect();
    assert_eq!(lengths, [12, 16, PLAIN.len()]);
}

#[test]
fn every_sealing_has_its_own_iv() {
    let ring = Keyring::new([7; 32]);
    let entropy = SeededEntropy::new(1);
    let [a, b] = [0, 1].map(|_| ring.seal(WORKSPACE, API, PLAIN, &entropy).unwrap());
    assert_ne!(parts(&a)[0], parts(&b)[0]);
    assert_ne!(parts(&a)[2], parts(&b)[2]);
}

#[test]
fn another_rows_credential_does_not_open() {
    let ring = Keyring::new([7; 32]);
    let sealed = sealed_by(&ring);
    let other = Uuid::from_u128(3);
    assert_eq!(
        ring.open(WORKSPACE, other, &sealed),
        Err(SecretError::NotAuthentic)
    );
    assert_eq!(ring.open(other, API, &sealed), Err(SecretError::NotAuthentic));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    let ring = Keyring::new([7; 32]);
    let sealed = sealed_by(&ring);
    let original = parts(&sealed);
    for part in 0..original.len() {
        for at in 0..original[part].len() {
            let mut changed = original.clone();
            changed[part][at] ^= 1;
            let text: Vec<_> = changed.iter().map(|bytes| STANDARD.encode(bytes)).collect();
            let changed = Sealed {
                text: text.join(":"),
                ..sealed.clone()
            };
            assert_eq!(
                ring.open(WORKSPACE, API, &changed),
                Err(SecretError::NotAuthentic)
            );
        }
    }
}

#[test]
fn malformed_texts_are_refused() {
    let ring = Keyring::new([7; 32]);
    let key_id = sealed_by(&ring).key_id;
    for text in [
        "",
        ":",
        "::",
        ":::",
        "a:b:c",
        "AAAA:AAAA:AAAA",
        "AAAAAAAAAAAAAAAA:AAAA:",
    ] {
        let sealed = Sealed {
            text: text.to_owned(),
            key_id: key_id.clone(),
        };
        assert_eq!(
            ring.open(WORKSPACE, API, &sealed),
            Err(SecretError::Malformed),
            "{text}"
        );
    }
}

#[test]
fn rotation_seals_with_the_new_key_and_opens_with_the_old() {
    let sealed = sealed_by(&Keyring::new([7; 32]));
    let both = Keyring::new([8; 32]).with_older([7; 32]);
    assert_eq!(both.open(WORKSPACE, API, &sealed).unwrap(), PLAIN);
    assert_ne!(sealed_by(&both).key_id, sealed.key_id);
    let new = Keyring::new([8; 32]);
    let unknown = SecretError::UnknownKey(sealed.key_id.clone());
    assert_eq!(new.open(WORKSPACE, API, &sealed), Err(unknown));
}

#[test]
fn debug_shows_no_secret() {
    let ring = Keyring::new([b'k'; 32]);
    let sealed = sealed_by(&ring);
    let shown = format!("{ring:?} {sealed:?}");
    for hidden in [PLAIN, &sealed.text, "kkkk", &STANDARD.encode([b'k'; 32])] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
