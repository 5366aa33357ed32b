//! The command line's grammar.

use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const FIELDS: &str = "Fields are NAME=TEXT or NAME:=JSON, dots reach inside: name=ci limit:=60 tags.team=search expiresAt:=null. \
                      --data gives a whole body (JSON, @FILE, or - for standard input); fields change it.";
const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused or failed by the control plane; 2 wrong usage; 3 not signed in; \
                          4 the control plane cannot be reached.";

/// RateGuard on the command line
#[derive(Debug, Parser)]
#[command(name = "rateguard", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Control plane; default the one signed in to, else http://127.0.0.1:3000
    #[arg(long, global = true, env = "RATEGUARD_URL")]
    pub(crate) url: Option<String>,
    /// Personal access token, instead of signing in. Better given as the variable: arguments are seen by others
    #[arg(long, global = true, env = "RATEGUARD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Workspace, by id or slug; needed only where there are several
    #[arg(long, short, global = true, env = "RATEGUARD_WORKSPACE")]
    pub(crate) workspace: Option<String>,
    /// How answers are printed
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Print ids and secrets only, one a line
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Folder of the stored sign-in; default rateguard in the user's configuration folder
    #[arg(long, global = true, env = "RATEGUARD_CONFIG_DIR", hide = true)]
    pub(crate) config_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and remember it, in a file that only you can read
    Login(Login),
    /// End the session and forget it
    Logout,
    /// Who is signed in, and where
    Whoami,
    /// Workspaces: list, show, create, update, delete, use
    Workspaces {
        #[command(subcommand)]
        command: Option<WorkspaceCommand>,
    },
    /// APIs: list, show, create, update, delete
    Apis {
        #[command(subcommand)]
        command: Option<Crud>,
    },
    /// API keys: list, show, create, update, delete, rotate, revoke
    Keys {
        #[command(subcommand)]
        command: Option<KeyCommand>,
    },
    /// Rate-limit rules: list, show, create, update, delete, test, reset
    Rules {
        #[command(subcommand)]
        command: Option<RuleCommand>,
    },
    /// Budgets on APIs, keys, tags, models: list, show, create, update, delete
    Budgets {
        #[command(subcommand)]
        command: Option<Crud>,
    },
    /// The workspace's monthly budget: shown without arguments, else changed
    Budget(MonthlyBudget),
    /// What this month has cost, or (--by) what a range's costs were for
    Costs(Costs),
    /// Totals and recent requests: summary, top-endpoints, latency, events
    Analytics {
        #[command(subcommand)]
        command: AnalyticsCommand,
    },
    /// Requests as they come in, a line each, until it is stopped
    Tail(Tail),
    /// Data planes and their tokens: list, create, revoke
    DataPlanes {
        #[command(subcommand)]
        command: Option<DataPlaneCommand>,
    },
    /// Any route: rateguard api GET /api/auth/me
    Api {
        /// GET, POST, PATCH, PUT or DELETE
        method: String,
        /// {workspace} stands for the workspace's id
        path: String,
        /// JSON, @FILE, or - for standard input
        #[arg(long, short)]
        data: Option<String>,
    },
    /// Print a completion script: rateguard completion bash >/etc/bash_completion.d/rateguard
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Asked for where it is missing
    #[arg(long, short, conflicts_with = "token_stdin")]
    pub(crate) email: Option<String>,
    /// Read the password from standard input instead of the terminal
    #[arg(long, conflicts_with = "token_stdin")]
    pub(crate) password_stdin: bool,
    /// Read a personal access token from standard input
    #[arg(long)]
    pub(crate) token_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Body {
    /// NAME=TEXT or NAME:=JSON
    #[arg(value_name = "FIELD")]
    pub(crate) fields: Vec<String>,
    /// Whole body: JSON, @FILE, or - for standard input
    #[arg(long, short)]
    pub(crate) data: Option<String>,
}

#[derive(Debug, Default, Subcommand)]
pub(crate) enum Crud {
    /// All of them
    #[default]
    List,
    /// One of them
    Show { id: String },
    #[command(after_help = FIELDS)]
    /// Make one
    Create(Body),
    #[command(after_help = FIELDS)]
    /// Change one: fields not given stay as they are
    Update {
        id: String,
        #[command(flatten)]
        body: Body,
    },
    /// Remove one
    Delete { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkspaceCommand {
    #[command(flatten)]
    Crud(Crud),
    /// Make it the one that other commands mean
    Use {
        /// Id or slug
        workspace: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    #[command(flatten)]
    Crud(Crud),
    /// Give it a new secret, shown once
    Rotate {
        id: String,
        /// Seconds that the old secret stays valid, up to 30 days
        #[arg(long, default_value_t = 0)]
        overlap_seconds: u32,
    },
    /// End it for ever
    Revoke { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    #[command(flatten)]
    Crud(Crud),
    /// Which rules would match a request
    #[command(after_help = FIELDS)]
    Test(Body),
    /// Empty its counters
    Reset {
        id: String,
        /// Of one subject only
        #[arg(long)]
        subject: Option<String>,
    },
}

#[derive(Debug, Default, Subcommand)]
pub(crate) enum DataPlaneCommand {
    /// All of them
    #[default]
    List,
    /// Make a token, shown once
    Create { name: String },
    /// End a token
    Revoke { id: String },
}

/// A range of time
#[derive(Debug, Args)]
pub(crate) struct Span {
    /// From this instant on, RFC 3339; default 24 hours ago
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// Before this instant; default now
    #[arg(long)]
    pub(crate) end: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Costs {
    /// api, key, model, tag, member or endpoint
    #[arg(long)]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) span: Span,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnalyticsCommand {
    /// Requests, errors, cost, latency, cache and limits of a range
    Summary(Span),
    /// The busiest endpoints
    TopEndpoints(Span),
    /// Percentiles of latency
    Latency(Span),
    /// Single requests, newest first
    Events {
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        filter: EventFilter,
        /// 1 to 200
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

/// Which requests
#[derive(Debug, Args)]
pub(crate) struct EventFilter {
    /// 2xx, 3xx, 4xx, 5xx or none
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// `rate_limited`, `budget_exceeded`, …
    #[arg(long)]
    pub(crate) error_type: Option<String>,
    #[arg(long)]
    pub(crate) endpoint: Option<String>,
    /// Id of an API
    #[arg(long)]
    pub(crate) api: Option<String>,
    /// Id of a key
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Took at least so long
    #[arg(long)]
    pub(crate) min_latency_ms: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) filter: EventFilter,
    /// The control plane's JSON, one request a line; as --output json
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MonthlyBudget {
    /// Cents a month, up to 7 places; none removes the budget
    #[arg(long, value_name = "CENTS|none")]
    pub(crate) monthly_cents: Option<String>,
    /// Whether calls over the budget are refused
    #[arg(long)]
    pub(crate) auto_shutoff: Option<bool>,
}

impl Default for KeyCommand {
    fn default() -> Self {
        Self::Crud(Crud::List)
    }
}

impl Default for RuleCommand {
    fn default() -> Self {
        Self::Crud(Crud::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }
}
