//! Every page of the console, its address, title and place.

use crate::state::permission::Need;
use crate::ui::icon::Icon;
use yew_router::prelude::*;

#[derive(Debug, Clone, PartialEq, Routable)]
pub enum Route {
    #[at("/")]
    Start,
    #[at("/login")]
    Login,
    #[at("/register")]
    Register,
    #[at("/accept-invitation")]
    AcceptInvitation,
    #[at("/reset-password")]
    ResetPassword,
    #[at("/welcome")]
    Welcome,
    #[at("/overview")]
    Overview,
    #[at("/apis")]
    Apis,
    #[at("/apis/new")]
    NewApi,
    #[at("/apis/:id")]
    Api { id: String },
    #[at("/keys")]
    Keys,
    #[at("/keys/new")]
    NewKey,
    #[at("/keys/:id")]
    Key { id: String },
    #[at("/rules")]
    Rules,
    #[at("/rules/new")]
    NewRule,
    #[at("/rules/:id")]
    Rule { id: String },
    #[at("/prices")]
    Prices,
    #[at("/analytics")]
    Analytics,
    #[at("/costs")]
    Costs,
    #[at("/team")]
    Team,
    #[at("/audit")]
    Audit,
    #[at("/data-planes")]
    DataPlanes,
    #[at("/settings")]
    Settings,
    #[at("/profile")]
    Profile,
    #[at("/design")]
    Design,
    #[not_found]
    #[at("/404")]
    NotFound,
}

/// An entry of the sidebar.
pub struct Entry {
    pub route: Route,
    pub icon: Icon,
    pub need: Need,
}

const fn entry(route: Route, icon: Icon, need: Need) -> Entry {
    Entry { route, icon, need }
}

/// The sidebar: groups with their entries.
pub const NAVIGATION: [(&str, &[Entry]); 3] = [
    (
        "Watch",
        &[
            entry(Route::Overview, Icon::Overview, Need::Read),
            entry(Route::Analytics, Icon::Chart, Need::Read),
            entry(Route::Costs, Icon::Money, Need::Read),
        ],
    ),
    (
        "Govern",
        &[
            entry(Route::Apis, Icon::Api, Need::Read),
            entry(Route::Keys, Icon::Key, Need::Read),
            entry(Route::Rules, Icon::Gauge, Need::Read),
            entry(Route::Prices, Icon::Book, Need::Read),
        ],
    ),
    (
        "Workspace",
        &[
            entry(Route::Team, Icon::Team, Need::Read),
            entry(Route::Audit, Icon::Audit, Need::Administer),
            entry(Route::DataPlanes, Icon::Plane, Need::Administer),
            entry(Route::Settings, Icon::Settings, Need::Read),
        ],
    ),
];

impl Route {
    pub fn title(&self) -> &'static str {
        match self {
            Self::Start => "RateGuard",
            Self::Login => "Sign in",
            Self::Register => "Create an account",
            Self::AcceptInvitation => "Invitation",
            Self::ResetPassword => "New password",
            Self::Welcome => "First request",
            Self::Overview => "Overview",
            Self::Apis => "APIs",
            Self::NewApi => "New API",
            Self::Api { .. } => "API",
            Self::Keys => "Keys",
            Self::NewKey => "New key",
            Self::Key { .. } => "Key",
            Self::Rules => "Rate limits",
            Self::NewRule => "New rate limit",
            Self::Rule { .. } => "Rate limit",
            Self::Prices => "Prices",
            Self::Analytics => "Analytics",
            Self::Costs => "Costs & budgets",
            Self::Team => "Team",
            Self::Audit => "Audit",
            Self::DataPlanes => "Data planes",
            Self::Settings => "Settings",
            Self::Profile => "Your account",
            Self::Design => "Components",
            Self::NotFound => "Not found",
        }
    }

    /// The page that this one belongs to.
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::NewApi | Self::Api { .. } => Some(Self::Apis),
            Self::NewKey | Self::Key { .. } => Some(Self::Keys),
            Self::NewRule | Self::Rule { .. } => Some(Self::Rules),
            _ => None,
        }
    }

    /// What the page's reader must be allowed to.
    pub fn need(&self) -> Need {
        match self {
            Self::Audit | Self::DataPlanes => Need::Administer,
            Self::NewApi | Self::NewKey | Self::NewRule => Need::Write,
            _ => Need::Read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_is_a_page_and_not_an_id() {
        assert_eq!(Route::recognize("/apis/new"), Some(Route::NewApi));
        assert_eq!(
            Route::recognize("/apis/x"),
            Some(Route::Api { id: "x".to_owned() })
        );
        assert_eq!(Route::recognize("/nowhere"), Some(Route::NotFound));
    }

    #[test]
    fn every_entry_can_be_read_by_whom_it_is_shown_to() {
        for (_, entries) in NAVIGATION {
            for entry in entries {
                assert_eq!(entry.route.need(), entry.need, "{:?}", entry.route);
            }
        }
    }
}
