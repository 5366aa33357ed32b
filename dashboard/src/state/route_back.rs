//! Where to go after signing in: the page that was asked for, if it is one of ours.

/// A path of this console, or nothing: never another origin, whatever the query says (DS-08).
pub fn safe(target: &str) -> Option<&str> {
    let rest = target.strip_prefix('/')?;
    let elsewhere = rest.starts_with(['/', '\\']) || target.contains('\\');
    let control = target.chars().any(char::is_control);
    let sign_in = ["/login", "/register"]
        .iter()
        .any(|page| target.starts_with(page));
    (!elsewhere && !control && !sign_in && target != "/").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ds_08_only_pages_of_ours_are_gone_back_to() {
        for good in ["/keys", "/rules/1?range=24h", "/settings#x"] {
            assert_eq!(safe(good), Some(good));
        }
        for bad in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "",
            "/",
            "/login?next=/keys",
        ] {
            assert_eq!(safe(bad), None, "{bad}");
        }
    }
}
