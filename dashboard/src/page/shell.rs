//! The frame of a workspace's pages: sidebar, top bar, the question about unsaved changes.

use crate::api::use_client;
use crate::app::{Here, SessionHandle, WORKSPACE, page_of, sign_out};
use crate::browser;
use crate::route::{NAVIGATION, Route};
use crate::state::permission::role_name;
use crate::state::session::{Change, Session};
use crate::state::toast::Say;
use crate::ui::go::Guard;
use crate::ui::icon::Mark;
use crate::ui::{Button, Dialog, Glyph, Go, Icon, Kind, Menu, use_go, use_say};
use rateguard_api::workspace::Workspace;
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;
use yew_router::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub route: Route,
    pub here: Rc<Here>,
}

#[component]
pub fn Shell(props: &Props) -> Html {
    let open = use_state_eq(|| false);
    let close = {
        let open = open.clone();
        Callback::from(move |()| open.set(false))
    };
    {
        // A new page is read from its top; its heading gets the focus, but not on the first load.
        let first = use_mut_ref(|| true);
        let close = close.clone();
        use_effect_with(props.route.clone(), move |_| {
            if !first.replace(false) {
                close.emit(());
                if let Some(window) = browser::window() {
                    window.scroll_to_with_x_and_y(0.0, 0.0);
                }
                browser::focus("page-title");
            }
        });
    }
    let onkeydown = {
        let close = close.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.key() == "Escape" {
                close.emit(());
            }
        })
    };
    html! {
        <div class={classes!("shell", open.then_some("open"))} {onkeydown}>
            <a class="skip" href="#content">{ "Skip to the content" }</a>
            <Sidebar route={props.route.clone()} here={props.here.clone()} />
            <button type="button" class="veil" aria-label="Close the navigation" onclick={close.reform(|_| ())}></button>
            <div class="main">
                <header class="topbar">
                    <button type="button" class="btn quiet icon burger" aria-label="Open the navigation" aria-expanded={open.to_string()}
                        onclick={let open = open.clone(); move |_| open.set(true)}><Glyph icon={Icon::Menu} /></button>
                    <Crumbs route={props.route.clone()} workspace={props.here.workspace.name.clone()} />
                    <ThemeMenu />
                </header>
                <main id="content">{ page_of(&props.route, &props.here) }</main>
            </div>
            <Unsaved />
        </div>
    }
}

#[component]
fn Sidebar(props: &Props) -> Html {
    let here = &props.here;
    let section = props.route.parent().unwrap_or_else(|| props.route.clone());
    html! {
        <nav class="sidebar" aria-label="Console">
            <Go to={Route::Overview} class="logo"><crate::ui::icon::Mark />{ "RateGuard" }</Go>
            <WorkspacePicker here={here.clone()} />
            <div>
                { for NAVIGATION.iter().map(|(group, entries)| html! {
                    <div class="group">
                        <p>{ *group }</p>
                        { for entries.iter().filter(|entry| here.can(entry.need)).map(|entry| html! {
                            <Go to={entry.route.clone()} class="nav" current={entry.route == section}>
                                <Glyph icon={entry.icon} />{ entry.route.title() }
                            </Go>
                        }) }
                    </div>
                }) }
            </div>
            <div class="foot"><PersonMenu here={here.clone()} /></div>
        </nav>
    }
}

#[derive(Properties, PartialEq)]
struct HereProps {
    here: Rc<Here>,
}

/// The first letter, for the little square.
fn initial(name: &str) -> String {
    name.trim()
        .chars()
        .next()
        .map_or_else(|| "?".to_owned(), |letter| letter.to_uppercase().collect())
}

#[component]
fn WorkspacePicker(props: &HereProps) -> Html {
    let session = use_context::<SessionHandle>();
    let creating = use_state_eq(|| false);
    let go = use_go();
    let current = &props.here.workspace;
    let all: Vec<Workspace> = match session.as_deref() {
        Some(Session::SignedIn(signed_in)) => signed_in.workspaces.clone(),
        _ => Vec::new(),
    };
    let trigger = html! {
        <>
            <span class="avatar" aria-hidden="true">{ initial(&current.name) }</span>
            <span><span class="unseen">{ "Workspace: " }</span><strong class="cut">{ &current.name }</strong><small>{ role_name(current.role) }</small></span>
            <Glyph icon={Icon::Updown} size={16} />
        </>
    };
    html! {
        <div class="picker">
            <Menu label="Workspaces" {trigger} class="picker-btn" place={classes!("left")}>
                { for all.into_iter().map(|workspace| {
                    let chosen = workspace.id == current.id;
                    let (session, go, id) = (session.clone(), go.clone(), workspace.id.clone());
                    let onclick = Callback::from(move |_: MouseEvent| {
                        browser::store(WORKSPACE, &id);
                        if let Some(session) = &session {
                            session.dispatch(Change::Choose(id.clone()));
                        }
                        go.emit(Route::Overview);
                    });
                    html! {
                        <button type="button" {onclick} aria-current={chosen.then_some("true")}>
                            <span class="avatar on-page" aria-hidden="true">{ initial(&workspace.name) }</span>
                            <span class="cut">{ &workspace.name }</span>
                            if chosen { <Glyph icon={Icon::Check} size={16} /> }
                        </button>
                    }
                }) }
                <hr />
                <button type="button" onclick={let creating = creating.clone(); move |_| creating.set(true)}>
                    <Glyph icon={Icon::Plus} size={16} />{ "New workspace" }
                </button>
            </Menu>
            if *creating {
                <super::workspace::NewWorkspace onclose={let creating = creating.clone(); move |()| creating.set(false)} />
            }
        </div>
    }
}

#[component]
fn PersonMenu(props: &HereProps) -> Html {
    let client = use_client();
    let session = use_context::<SessionHandle>();
    let (go, say) = (use_go(), use_say());
    let user = &props.here.user;
    let leave = Callback::from(move |_: MouseEvent| {
        let (client, say) = (client.clone(), say.clone());
        if let Some(session) = &session {
            let session = session.dispatcher();
            spawn_local(async move {
                if let Err(failure) = sign_out(client, session).await {
                    say.emit(Say::Bad(failure.text()));
                }
            });
        }
    });
    let trigger = html! {
        <>
            <span class="avatar round" aria-hidden="true">{ initial(&user.name) }</span>
            <span><span class="unseen">{ "You: " }</span><strong class="cut">{ &user.name }</strong><small class="cut">{ &user.email }</small></span>
            <Glyph icon={Icon::Updown} size={16} />
        </>
    };
    html! {
        <Menu label="Your account" {trigger} class="picker-btn" place={classes!("up", "left")}>
            <button type="button" onclick={let go = go.clone(); move |_| go.emit(Route::Profile)}>
                <Glyph icon={Icon::Settings} size={16} />{ "Your account" }
            </button>
            <a href="/api/docs" target="_blank" rel="noopener"><Glyph icon={Icon::Book} size={16} />{ "API reference" }</a>
            <hr />
            <button type="button" onclick={leave}><Glyph icon={Icon::Leave} size={16} />{ "Sign out" }</button>
        </Menu>
    }
}

/// Light, dark, or as the system says.
#[component]
pub fn ThemeMenu() -> Html {
    let theme = use_state_eq(|| browser::stored("rateguard.theme").unwrap_or_default());
    let choices = [
        ("system", Icon::System, "As the system"),
        ("light", Icon::Sun, "Light"),
        ("dark", Icon::Moon, "Dark"),
    ];
    let icon = match theme.as_str() {
        "light" => Icon::Sun,
        "dark" => Icon::Moon,
        _ => Icon::System,
    };
    let trigger = html! { <><Glyph {icon} /><span class="unseen">{ "Theme" }</span></> };
    html! {
        <Menu label="Theme" {trigger} class="btn quiet icon">
            { for choices.into_iter().map(|(name, icon, text)| {
                let theme = theme.clone();
                let chosen = theme.as_str() == name || (name == "system" && theme.is_empty());
                let onclick = Callback::from(move |_: MouseEvent| {
                    browser::set_theme(name);
                    theme.set(name.to_owned());
                });
                html! {
                    <button type="button" {onclick} aria-current={chosen.then_some("true")}>
                        <Glyph {icon} size={16} />{ text }
                        if chosen { <Glyph icon={Icon::Check} size={16} /> }
                    </button>
                }
            }) }
        </Menu>
    }
}

#[derive(Properties, PartialEq)]
struct CrumbsProps {
    route: Route,
    workspace: String,
}

#[component]
fn Crumbs(props: &CrumbsProps) -> Html {
    html! {
        <nav class="crumbs" aria-label="Breadcrumbs">
            <ol>
                <li><Go to={Route::Overview}>{ &props.workspace }</Go></li>
                if let Some(parent) = props.route.parent() {
                    <li><Go to={parent.clone()}>{ parent.title() }</Go></li>
                }
                <li aria-current="page">{ props.route.title() }</li>
            </ol>
        </nav>
    }
}

/// Asks before unsaved changes are lost.
#[component]
fn Unsaved() -> Html {
    let guard = use_context::<Guard>();
    let navigator = use_navigator();
    let wanted = use_state_eq(|| None::<Route>);
    {
        let wanted = wanted.setter();
        use_effect_with(guard.clone(), move |guard| {
            if let Some(guard) = guard {
                guard.on_ask(Callback::from(move |route| wanted.set(Some(route))));
            }
        });
    }
    let Some(route) = (*wanted).clone() else {
        return html! {};
    };
    let stay = {
        let wanted = wanted.clone();
        Callback::from(move |()| wanted.set(None))
    };
    let leave = {
        let stay = stay.clone();
        Callback::from(move |_: MouseEvent| {
            if let Some(guard) = &guard {
                guard.release();
            }
            stay.emit(());
            if let Some(navigator) = &navigator {
                navigator.push(&route);
            }
        })
    };
    html! {
        <Dialog title="Leave without saving?" onclose={stay.clone()}>
            <p>{ "What you changed on this page has not been saved." }</p>
            <footer>
                <Button onclick={stay.reform(|_| ())}>{ "Stay" }</Button>
                <Button kind={Kind::Destroy} onclick={leave}>{ "Leave" }</Button>
            </footer>
        </Dialog>
    }
}

/// The frame of pages without a workspace.
#[derive(Properties, PartialEq)]
pub struct PublicProps {
    #[prop_or_default]
    pub actions: Html,
    pub children: Html,
}

#[component]
pub fn Public(props: &PublicProps) -> Html {
    html! {
        <div class="public">
            <header>
                <Go to={Route::Start} class="logo"><Mark />{ "RateGuard" }</Go>
                <div class="row">{ props.actions.clone() }<ThemeMenu /></div>
            </header>
            <main id="content">{ props.children.clone() }</main>
            <footer>{ "Rate limits, budgets and costs of every API that your applications call." }</footer>
        </div>
    }
}
