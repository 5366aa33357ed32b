//! Why a command did not do what it was told, in words for the terminal.

use rateguard_api::problem::Problem;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line, a file or the answer of a prompt.
    #[error("error: {0}")]
    Usage(String),
    #[error("error: you are not signed in at {url}: run rateguard login, or set RATEGUARD_TOKEN")]
    NotSignedIn { url: String },
    #[error("error: {url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{}", said(.problem, .request_id.as_deref()))]
    Refused {
        problem: Box<Problem>,
        request_id: Option<String>,
    },
    /// An answer that is none of the control plane's.
    #[error("error: {url} answered {status} without saying why; is it a RateGuard control plane?")]
    Strange { url: String, status: u16 },
    #[error("error: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { problem, .. } if problem.status == 401 => 3,
            Self::Refused { .. } | Self::Strange { .. } | Self::Io(_) => 1,
            Self::Usage(_) => 2,
            Self::NotSignedIn { .. } => 3,
            Self::Unreachable { .. } => 4,
        }
    }
}

/// The fields at fault, one a line; else what was wrong. Faults of the server come with the id of their log line.
fn said(problem: &Problem, request_id: Option<&str>) -> String {
    let mut text = if problem.errors.is_empty() {
        format!("error: {}", problem.detail)
    } else {
        let lines: Vec<String> = problem
            .errors
            .iter()
            .map(|error| format!("error: {}: {}", error.field, error.message))
            .collect();
        lines.join("\n")
    };
    if let (500.., Some(id)) = (problem.status, request_id) {
        text = format!("{text} (request {id})");
    }
    text
}
