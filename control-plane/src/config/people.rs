//! What accounts and e-mail need.

use super::{Environment, Reader, Secret};

/// How e-mail goes out. Without it, links are only shown to whoever makes them.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// `SMTP_URL`: `smtps://user:password@host` or `smtp://host:587?tls=required`.
    pub url: Secret,
    /// `SMTP_FROM`: the sender, e.g. `RateGuard <rateguard@example.com>`.
    pub from: lettre::message::Mailbox,
}

impl Reader<'_> {
    pub(super) fn trusted_proxy_hops(&mut self) -> usize {
        const VARIABLE: &str = "TRUSTED_PROXY_HOPS";
        let Some(text) = self.get(VARIABLE) else { return 0 };
        text.trim()
            .parse()
            .ok()
            .filter(|hops| *hops <= 10)
            .unwrap_or_else(|| {
                self.problem(VARIABLE, format!("`{text}` is not a number from 0 to 10"));
                0
            })
    }

    pub(super) fn smtp(&mut self, environment: Environment) -> Option<Smtp> {
        let (url, from) = match (
            self.secret_text("SMTP_URL", "SMTP_URL_FILE"),
            self.get("SMTP_FROM"),
        ) {
            (None, None) => return None,
            (Some(url), Some(from)) => (url, from),
            (Some(_), None) => {
                self.problem("SMTP_FROM", "is missing while SMTP_URL is set");
                return None;
            }
            (None, Some(_)) => {
                self.problem("SMTP_URL", "is missing while SMTP_FROM is set");
                return None;
            }
        };
        if lettre::AsyncSmtpTransport::<lettre::Tokio1Executor>::from_url(&url).is_err() {
            self.problem("SMTP_URL", "is not of the form smtps://user:password@host:465");
            return None;
        }
        let parsed = url::Url::parse(&url).ok().filter(url::Url::has_host);
        let encrypted = match parsed {
            Some(url) if url.scheme() == "smtps" => true,
            Some(url) if url.scheme() == "smtp" => url
                .query_pairs()
                .any(|(name, value)| name == "tls" && value == "required"),
            Some(_) | None => {
                self.problem("SMTP_URL", "is not of the form smtps://user:password@host:465");
                return None;
            }
        };
        if !encrypted && environment == Environment::Production {
            self.problem(
                "SMTP_URL",
                "sends in the clear; use smtps://… or smtp://…?tls=required",
            );
        }
        let Ok(from) = from.parse() else {
            self.problem("SMTP_FROM", format!("`{from}` is not an e-mail address"));
            return None;
        };
        Some(Smtp {
            url: Secret::new(&url),
            from,
        })
    }
}
