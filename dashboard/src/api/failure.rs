//! Why a call did not succeed, with the server's own words kept.

use rateguard_api::problem::{FieldError, Problem};

#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// No answer: offline, or the server is down.
    Network,
    /// The server refused and said why.
    Problem(Box<Problem>),
    /// An error without problem details, from something in between.
    Status(u16),
    /// An answer that this version of the console cannot read.
    Unreadable(String),
    /// There is no session any more.
    SignedOut,
}

impl Failure {
    /// Of an answer that is not a success.
    pub fn of(status: u16, body: &str) -> Self {
        match serde_json::from_str::<Problem>(body) {
            Ok(problem) => Self::Problem(Box::new(problem)),
            Err(_) => Self::Status(status),
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Status(status) => Some(*status),
            Self::SignedOut => Some(401),
            Self::Network | Self::Unreadable(_) => None,
        }
    }

    /// A sentence for people.
    pub fn text(&self) -> String {
        match self {
            Self::Network => "The server cannot be reached. Check the connection and try again.".to_owned(),
            Self::Problem(problem) => sentence(&problem.detail),
            Self::Status(502..=504) => {
                "The server is not available at the moment. Try again shortly.".to_owned()
            }
            Self::Status(status) => format!("The server answered with status {status}."),
            Self::Unreadable(_) => {
                "The answer could not be read. Reload the page: the console may be older than the server."
                    .to_owned()
            }
            Self::SignedOut => "Your session has ended. Sign in again.".to_owned(),
        }
    }

    /// What is wrong with single fields.
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Self::Problem(problem) => &problem.errors,
            _ => &[],
        }
    }

    pub fn is_conflict_of_versions(&self) -> bool {
        matches!(self.status(), Some(412 | 428))
    }
}

/// The API writes without capital and full stop.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let mut whole: String = first.to_uppercase().chain(letters).collect();
    if !whole.ends_with(['.', '!', '?']) {
        whole.push('.');
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_bodies_are_kept() {
        let failure = Failure::of(
            422,
            r#"{"type":"urn:rateguard:problem:invalid","title":"t","status":422,"detail":"slug is taken","code":"invalid",
                "errors":[{"field":"slug","message":"is taken"}]}"#,
        );
        assert_eq!(failure.status(), Some(422));
        assert_eq!(failure.text(), "Slug is taken.");
        assert_eq!(failure.fields()[0].field, "slug");
    }

    #[test]
    fn other_bodies_leave_the_status() {
        assert_eq!(Failure::of(502, "<html>bad gateway</html>"), Failure::Status(502));
        assert_eq!(Failure::of(500, ""), Failure::Status(500));
    }

    #[test]
    fn sentences_end() {
        assert_eq!(sentence("must be an https URL"), "Must be an https URL.");
        assert_eq!(sentence(""), "");
    }
}
