//! Names, slugs and addresses that people type.

use super::error::Faults;
use chrono::{DateTime, SecondsFormat, Utc};

const NAME_CHARS_MAX: usize = 100;
const SLUG_BYTES_MAX: usize = 64;

/// A name without surrounding blanks.
pub fn name(faults: &mut Faults, field: &str, text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        faults.invalid(field, "must not be empty");
    } else if text.chars().count() > NAME_CHARS_MAX {
        faults.invalid(field, "must have at most 100 characters");
    } else if text.chars().any(char::is_control) {
        faults.invalid(field, "must not contain control characters");
    }
    text.to_owned()
}

/// A slug as it was given.
pub fn slug(faults: &mut Faults, field: &str, text: &str) -> String {
    let is_slug = (1..=SLUG_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_slug {
        faults.invalid(field, "must be 1 to 64 of a-z, 0-9 and -");
    }
    text.to_owned()
}

/// A slug made of a name: `Ada Lovelace` is `ada-lovelace`; a name without any letter of ours is `fallback`.
pub fn slug_from(name: &str, fallback: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if slug.len() >= SLUG_BYTES_MAX - 16 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        fallback.to_owned()
    } else {
        slug.to_owned()
    }
}

/// An e-mail address without surrounding blanks; its case is kept.
pub fn email(faults: &mut Faults, field: &str, text: &str) -> String {
    let text = text.trim();
    if !is_email(text) {
        faults.invalid(field, "must be an e-mail address");
    }
    text.to_owned()
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_ok = (1..=64).contains(&local.len())
        && local
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 254 && local_ok && domain.contains('.') && domain.split('.').all(label_ok)
}

/// RFC 3339 with milliseconds, in UTC.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_of_names() {
        for (name, slug) in [
            ("Ada Lovelace", "ada-lovelace"),
            ("  --Öl & Gas-- ", "l-gas"),
            ("日本", "workspace"),
            ("", "workspace"),
            ("GPT 4", "gpt-4"),
        ] {
            assert_eq!(slug_from(name, "workspace"), slug, "{name}");
        }
        assert!(slug_from(&"x".repeat(500), "w").len() <= 64);
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["a@b.co", "first.last+tag@sub.example.com", "o'brien@example.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "", "a", "a@b", "@b.co", "a@", "a b@c.de", "a@b..co", "a@-b.co", ".a@b.co", "a@b.co\n",
            "a\0@b.co",
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }
}
