//! The words of the REST API: enums with one spelling in JSON, in the database and in messages.

use rateguard_model::{api_key, quota, resource, usage};
use serde::{Deserialize, Serialize};

/// Text that is none of an enum's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownName;

macro_rules! names {
    ($($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $enum {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)*
        }

        impl $enum {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $enum {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some([$($name),*]))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $enum {}

        impl std::str::FromStr for $enum {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(UnknownName),
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

impl AuditAction {
    /// What it was done to: `api`, `key`, …
    pub fn resource_type(self) -> &'static str {
        self.as_str()
            .split_once('.')
            .map_or(self.as_str(), |(noun, _)| noun)
    }
}

/// The same variants as a type of the model.
macro_rules! mirrors {
    ($($enum:ident = $model:path { $($variant:ident = $model_variant:ident,)* })*) => {$(
        impl From<$enum> for $model {
            fn from(value: $enum) -> Self {
                match value {
                    $($enum::$variant => <$model>::$model_variant,)*
                }
            }
        }

        impl From<$model> for $enum {
            fn from(value: $model) -> Self {
                match value {
                    $(<$model>::$model_variant => Self::$variant,)*
                }
            }
        }
    )*};
}

names! {
    /// What a member may do (SPEC 3.1), the most powerful first.
    Role {
        Owner = "OWNER",
        Admin = "ADMIN",
        Member = "MEMBER",
        Viewer = "VIEWER",
    }
    InvitationStatus {
        Pending = "pending",
        Accepted = "accepted",
        Declined = "declined",
        Revoked = "revoked",
        Expired = "expired",
    }
    AuthType {
        None = "NONE",
        Bearer = "BEARER",
        ApiKeyHeader = "API_KEY_HEADER",
        Basic = "BASIC",
    }
    UsageFormat {
        Auto = "auto",
        OpenAi = "openai",
        Anthropic = "anthropic",
        Gemini = "gemini",
        Bedrock = "bedrock",
        Cohere = "cohere",
        Generic = "generic",
        None = "none",
    }
    CostModelType {
        PerRequest = "PER_REQUEST",
        PerToken = "PER_TOKEN",
        PerUnit = "PER_UNIT",
        Tiered = "TIERED",
        Catalogue = "CATALOGUE",
    }
    Environment {
        Live = "live",
        Test = "test",
    }
    /// What the data plane does with a key.
    KeyStatus {
        Active = "active",
        /// `isActive` is false; can be undone.
        Suspended = "suspended",
        Revoked = "revoked",
        Expired = "expired",
    }
    Algorithm {
        TokenBucket = "TOKEN_BUCKET",
        SlidingWindow = "SLIDING_WINDOW",
        SlidingWindowCounter = "SLIDING_WINDOW_COUNTER",
        FixedWindow = "FIXED_WINDOW",
        Concurrency = "CONCURRENCY",
    }
    Unit {
        Requests = "REQUESTS",
        Tokens = "TOKENS",
        InputTokens = "INPUT_TOKENS",
        OutputTokens = "OUTPUT_TOKENS",
        Cost = "COST",
    }
    ScopeType {
        Global = "GLOBAL",
        PerWorkspace = "PER_WORKSPACE",
        PerKey = "PER_KEY",
        PerIp = "PER_IP",
        PerHeader = "PER_HEADER",
        PerModel = "PER_MODEL",
        PerTag = "PER_TAG",
    }
    Mode {
        Enforce = "enforce",
        Shadow = "shadow",
    }
    FailureMode {
        FailOpen = "FAIL_OPEN",
        FailClosed = "FAIL_CLOSED",
        /// Budgets only.
        BoundedOpen = "BOUNDED_OPEN",
    }
    UnpricedModelPolicy {
        Block = "block",
        Allow = "allow",
    }
    BudgetSubjectType {
        Workspace = "WORKSPACE",
        Api = "API",
        Key = "KEY",
        Tag = "TAG",
        Model = "MODEL",
    }
    BudgetWindow {
        Hour = "HOUR",
        Day = "DAY",
        /// From Monday.
        Week = "WEEK",
        Month = "MONTH",
        /// Never ends.
        Total = "TOTAL",
    }
    /// How long a bucket of a chart is.
    Granularity {
        Minute = "minute",
        Hour = "hour",
        Day = "day",
    }
    /// What costs are broken down by.
    CostGrouping {
        Api = "api",
        Key = "key",
        Model = "model",
        Tag = "tag",
        Member = "member",
        Endpoint = "endpoint",
    }
    /// What a range is compared with.
    Comparison {
        Previous = "previous",
    }
    /// The first digit of an answer's status.
    StatusClass {
        Informational = "1xx",
        Success = "2xx",
        Redirect = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// No answer was given.
        None = "none",
    }
    ExportFormat {
        Csv = "csv",
        /// The FinOps Open Cost and Usage Specification.
        Focus = "focus",
    }
}

names! {
    /// What an entry of the audit log says was done; the part before the dot is the kind of thing it was done to.
    AuditAction {
        WorkspaceCreate = "workspace.create",
        WorkspaceUpdate = "workspace.update",
        WorkspaceDelete = "workspace.delete",
        ApiCreate = "api.create",
        ApiUpdate = "api.update",
        ApiDelete = "api.delete",
        KeyCreate = "key.create",
        KeyUpdate = "key.update",
        KeyRotate = "key.rotate",
        KeyRevoke = "key.revoke",
        KeyDelete = "key.delete",
        RuleCreate = "rule.create",
        RuleUpdate = "rule.update",
        RuleReset = "rule.reset",
        RuleDelete = "rule.delete",
        BudgetCreate = "budget.create",
        BudgetUpdate = "budget.update",
        BudgetDelete = "budget.delete",
        PriceCreate = "price.create",
        PriceUpdate = "price.update",
        PriceDelete = "price.delete",
        DataPlaneTokenCreate = "data-plane-token.create",
        DataPlaneTokenRevoke = "data-plane-token.revoke",
        UserRegister = "user.register",
        SessionCreate = "session.create",
        SessionRefresh = "session.refresh",
        SessionEnd = "session.end",
        UserPasswordChange = "user.password-change",
        UserPasswordReset = "user.password-reset",
        WorkspaceTransfer = "workspace.transfer",
        MemberUpdate = "member.update",
        MemberRemove = "member.remove",
        InvitationCreate = "invitation.create",
        InvitationRevoke = "invitation.revoke",
        InvitationAccept = "invitation.accept",
        InvitationDecline = "invitation.decline",
        AccessTokenCreate = "access-token.create",
        AccessTokenRevoke = "access-token.revoke",
    }
}

mirrors! {
    UsageFormat = usage::UsageFormat {
        Auto = Auto,
        OpenAi = OpenAi,
        Anthropic = Anthropic,
        Gemini = Gemini,
        Bedrock = Bedrock,
        Cohere = Cohere,
        Generic = Generic,
        None = None,
    }
    Environment = api_key::Environment {
        Live = Live,
        Test = Test,
    }
    Algorithm = quota::Algorithm {
        TokenBucket = TokenBucket,
        SlidingWindow = SlidingWindow,
        SlidingWindowCounter = SlidingWindowCounter,
        FixedWindow = FixedWindow,
        Concurrency = Concurrency,
    }
    Unit = quota::Unit {
        Requests = Requests,
        Tokens = Tokens,
        InputTokens = InputTokens,
        OutputTokens = OutputTokens,
        Cost = NanoUsd,
    }
    Mode = quota::Mode {
        Enforce = Enforce,
        Shadow = Shadow,
    }
    FailureMode = quota::FailureMode {
        FailOpen = FailOpen,
        FailClosed = FailClosed,
        BoundedOpen = BoundedOpen,
    }
    UnpricedModelPolicy = resource::UnpricedModelPolicy {
        Block = Block,
        Allow = Allow,
    }
}
