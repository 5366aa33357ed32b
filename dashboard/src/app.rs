//! The app: what every page shares, and which page is shown.

use crate::api::{Call, Client, Failure};
use crate::browser;
use crate::page;
use crate::route::Route;
use crate::show::zone::Zone;
use crate::state::permission::can;
use crate::state::route_back;
use crate::state::session::{Change, Session};
use crate::state::toast::Toasts;
use crate::ui::go::Guard;
use crate::ui::{Forbidden, ToastArea, Toaster};
use gloo_timers::callback::Interval;
use rateguard_api::auth::{Me, User};
use rateguard_api::name::Role;
use rateguard_api::workspace::Workspace;
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

/// Where the chosen workspace's id is kept.
pub const WORKSPACE: &str = "rateguard.workspace";
/// Set at sign-out, for the other tabs.
const SIGNED_OUT: &str = "rateguard.signed-out";
const RENEW_EVERY_MS: u32 = 20_000;

pub type SessionHandle = UseReducerHandle<Session>;

/// What every page of a workspace is about.
#[derive(Clone, PartialEq)]
pub struct Here {
    pub user: User,
    pub workspace: Workspace,
    pub zone: Zone,
}

impl Here {
    /// An address below the workspace's.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/workspaces/{}{rest}", self.workspace.id)
    }

    pub fn role(&self) -> Role {
        self.workspace.role
    }

    pub fn can(&self, need: crate::state::permission::Need) -> bool {
        can(self.role(), need)
    }
}

#[component]
pub fn App() -> Html {
    let client = use_memo((), |()| Client::new());
    let session = use_reducer_eq(Session::default);
    let toaster: Toaster = use_reducer_eq(Toasts::default);
    let guard = use_memo((), |()| Guard::default());
    use_session(&client, &session);
    html! {
        <ContextProvider<Client> context={(*client).clone()}>
        <ContextProvider<SessionHandle> context={session}>
        <ContextProvider<Toaster> context={toaster}>
        <ContextProvider<Guard> context={(*guard).clone()}>
            <BrowserRouter>
                <Switch<Route> render={|route: Route| html! { <Page {route} /> }} />
            </BrowserRouter>
            <ToastArea />
        </ContextProvider<Guard>>
        </ContextProvider<Toaster>>
        </ContextProvider<SessionHandle>>
        </ContextProvider<Client>>
    }
}

/// Tries the cookie at the start, renews the token in time, ends with the session, also when another tab ends it.
#[hook]
fn use_session(client: &Rc<Client>, session: &SessionHandle) {
    let starting = **session == Session::Starting;
    {
        let (client, session) = (client.clone(), session.dispatcher());
        use_effect_with((), move |()| {
            let ended = session.clone();
            client.on_end(Callback::from(move |()| ended.dispatch(Change::SignedOut)));
            let timer = Interval::new(RENEW_EVERY_MS, move || {
                if client.is_stale() {
                    let client = client.clone();
                    spawn_local(async move {
                        // Whoever calls next learns of a failure.
                        let _ = client.renew().await;
                    });
                }
            });
            move || drop(timer)
        });
    }
    {
        let (client, session) = (client.clone(), session.dispatcher());
        use_effect_with(starting, move |starting| {
            if *starting {
                spawn_local(async move { restore(&client, &session).await });
            }
        });
    }
    let (client, session) = (client.clone(), session.dispatcher());
    use_effect_with((), move |()| {
        let closure = wasm_bindgen::closure::Closure::<dyn FnMut(web_sys::StorageEvent)>::new(
            move |event: web_sys::StorageEvent| {
                if event.key().as_deref() == Some(SIGNED_OUT) {
                    client.set_token(None);
                    session.dispatch(Change::SignedOut);
                }
            },
        );
        if let Some(window) = browser::window() {
            window.set_onstorage(Some(wasm_bindgen::JsCast::unchecked_ref(closure.as_ref())));
        }
        // Lives as long as the app.
        move || drop(closure)
    });
}

async fn restore(client: &Client, session: &UseReducerDispatcher<Session>) {
    match client.send::<Me>(&Call::get("/api/auth/me")).await {
        Ok(me) => session.dispatch(Change::SignedIn {
            user: me.user,
            workspaces: me.workspaces,
            wanted: browser::stored(WORKSPACE),
        }),
        Err(Failure::SignedOut) => session.dispatch(Change::SignedOut),
        Err(failure) if matches!(failure.status(), Some(401 | 403 | 404)) => {
            session.dispatch(Change::SignedOut);
        }
        Err(_) => session.dispatch(Change::Unreachable),
    }
}

/// Ends the session here, on the server and in the other tabs.
pub async fn sign_out(client: Client, session: UseReducerDispatcher<Session>) -> Result<(), Failure> {
    let call = Call::post("/api/auth/logout", serde_json::json!({}));
    client.send_public::<crate::api::Ignored>(&call).await?;
    client.set_token(None);
    browser::store(SIGNED_OUT, &browser::now_ms().to_string());
    session.dispatch(Change::SignedOut);
    Ok(())
}

#[derive(Properties, PartialEq)]
struct PageProps {
    route: Route,
}

#[component]
fn Page(props: &PageProps) -> Html {
    let session = use_context::<SessionHandle>();
    let route = &props.route;
    {
        let title = match route {
            Route::Start => "RateGuard".to_owned(),
            route => format!("{} · RateGuard", route.title()),
        };
        use_effect_with(title, |title| browser::set_title(title));
    }
    let Some(session) = session else {
        return html! {};
    };
    match (route, &*session) {
        (Route::Start, _) => html! { <page::Start /> },
        (Route::Design, _) => html! { <page::Design /> },
        (Route::AcceptInvitation, _) => html! { <page::AcceptInvitation /> },
        (Route::ResetPassword, _) => html! { <page::ResetPassword /> },
        (Route::Login | Route::Register, Session::SignedIn(_)) => {
            let next = next_of_query();
            let next = next
                .as_deref()
                .and_then(route_back::safe)
                .and_then(Route::recognize);
            html! { <Redirect<Route> to={next.unwrap_or(Route::Overview)} /> }
        }
        (Route::Login, _) => html! { <page::Login /> },
        (Route::Register, _) => html! { <page::Register /> },
        (_, Session::Starting) => html! { <page::Waiting /> },
        (_, Session::Unreachable) => html! { <page::Unreachable /> },
        (_, Session::SignedOut) => html! { <ToLogin /> },
        (_, Session::SignedIn(signed_in)) => match signed_in.workspace() {
            None => html! { <page::NoWorkspace /> },
            Some(workspace) => {
                let here = Here {
                    user: signed_in.user.clone(),
                    workspace: workspace.clone(),
                    zone: Zone::new(&workspace.settings.time_zone),
                };
                // Another workspace is another page: nothing of the first stays.
                let key = workspace.id.clone();
                html! { <page::Shell key={key} route={route.clone()} here={Rc::new(here)} /> }
            }
        },
    }
}

/// Goes to the sign-in and remembers the page that was asked for.
#[component]
fn ToLogin() -> Html {
    let navigator = use_navigator();
    use_effect_with((), move |()| {
        let here = browser::location();
        if let Some(navigator) = navigator {
            match route_back::safe(&here) {
                Some(next) => {
                    // A query of one pair always serialises; without it the sign-in leads to the overview.
                    let query = [("next", next)]
                        .into_iter()
                        .collect::<std::collections::BTreeMap<_, _>>();
                    if navigator.replace_with_query(&Route::Login, query).is_err() {
                        navigator.replace(&Route::Login);
                    }
                }
                None => navigator.replace(&Route::Login),
            }
        }
    });
    html! { <page::Waiting /> }
}

fn next_of_query() -> Option<String> {
    let location = browser::location();
    let query = location.split_once('?')?.1;
    web_sys::UrlSearchParams::new_with_str(query).ok()?.get("next")
}

/// The page of a workspace. What the role does not include is said, not hidden behind an error.
pub fn page_of(route: &Route, here: &Rc<Here>) -> Html {
    if !here.can(route.need()) {
        let what = match route {
            Route::Audit => "the audit log",
            Route::DataPlanes => "data planes",
            _ => "making changes",
        };
        return html! { <div class="page"><Forbidden {what} /></div> };
    }
    let here = here.clone();
    match route.clone() {
        Route::Overview => html! { <page::Overview {here} /> },
        Route::Welcome => html! { <page::Welcome {here} /> },
        Route::Apis => html! { <page::Apis {here} /> },
        Route::NewApi => html! { <page::ApiEditor {here} id={None::<String>} /> },
        Route::Api { id } => html! { <page::ApiEditor {here} id={Some(id)} /> },
        Route::Keys => html! { <page::Keys {here} /> },
        Route::NewKey => html! { <page::KeyEditor {here} id={None::<String>} /> },
        Route::Key { id } => html! { <page::KeyEditor {here} id={Some(id)} /> },
        Route::Rules => html! { <page::Rules {here} /> },
        Route::NewRule => html! { <page::RuleEditor {here} id={None::<String>} /> },
        Route::Rule { id } => html! { <page::RuleEditor {here} id={Some(id)} /> },
        Route::Prices => html! { <page::Prices {here} /> },
        Route::Analytics => html! { <page::Analytics {here} /> },
        Route::Costs => html! { <page::Costs {here} /> },
        Route::Team => html! { <page::Team {here} /> },
        Route::Audit => html! { <page::Audit {here} /> },
        Route::DataPlanes => html! { <page::DataPlanes {here} /> },
        Route::Settings => html! { <page::Settings {here} /> },
        Route::Profile => html! { <page::Profile {here} /> },
        Route::Start
        | Route::Login
        | Route::Register
        | Route::AcceptInvitation
        | Route::ResetPassword
        | Route::Design
        | Route::NotFound => html! { <page::NotFound /> },
    }
}
