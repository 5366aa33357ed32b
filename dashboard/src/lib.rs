//! The console: a Yew app that runs in the browser and talks to the control plane's REST API.
//!
//! `api` is the only place that fetches, `state` and `show` and `chart::geometry` are pure and tested natively, `ui`
//! holds the components that pages are made of, `page` one module per page. See README.md.

pub mod api;
pub mod app;
pub mod browser;
pub mod chart;
pub mod page;
pub mod route;
pub mod show;
pub mod state;
pub mod ui;

/// Puts the app into the page.
pub fn start() {
    let Some(root) = browser::element("app") else {
        return;
    };
    if let Some(splash) = browser::element("boot") {
        splash.remove();
    }
    yew::Renderer::<app::App>::with_root(root).render();
}
