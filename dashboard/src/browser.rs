//! What the console asks of the browser: clock, storage, clipboard, focus, theme. Every call may be refused (private
//! windows, policies), so nothing here fails loudly.

use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Blob, Document, Element, HtmlAnchorElement, HtmlElement, Url, Window};

pub fn window() -> Option<Window> {
    web_sys::window()
}

pub fn document() -> Option<Document> {
    window()?.document()
}

pub fn element(id: &str) -> Option<Element> {
    document()?.get_element_by_id(id)
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> f64 {
    js_sys::Date::now()
}

/// Keeps small choices (theme, current workspace) between visits; never tokens.
pub fn stored(name: &str) -> Option<String> {
    let storage = window()?.local_storage().ok()??;
    storage.get_item(name).ok()?
}

pub fn store(name: &str, value: &str) {
    if let Some(Ok(Some(storage))) = window().map(|window| window.local_storage()) {
        // A full or forbidden storage only forgets the choice.
        let _ = storage.set_item(name, value);
    }
}

/// Whether the page can be seen now.
pub fn visible() -> bool {
    document().is_none_or(|document| document.visibility_state() == web_sys::VisibilityState::Visible)
}

/// Puts text into the clipboard; false where the browser does not allow it.
pub async fn copy(text: &str) -> bool {
    let Some(window) = window() else { return false };
    let promise = window.navigator().clipboard().write_text(text);
    js_sys::futures::JsFuture::from(promise).await.is_ok()
}

/// Keeps it as a file of that name.
pub fn save(file: &Blob, name: &str) -> Option<()> {
    let url = Url::create_object_url_with_blob(file).ok()?;
    let link = document()?.create_element("a").ok()?;
    let link: HtmlAnchorElement = link.dyn_into().ok()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // The browser has it by now; else it would keep it as long as the page.
    Url::revoke_object_url(&url).ok()
}

pub fn focus(id: &str) {
    if let Some(element) = element(id).and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // An element that cannot take the focus keeps things as they are.
        let _ = element.focus();
    }
}

pub fn set_title(title: &str) {
    if let Some(document) = document() {
        document.set_title(title);
    }
}

/// Path, query and fragment of this page.
pub fn location() -> String {
    let Some(location) = window().map(|window| window.location()) else {
        return String::new();
    };
    let part = |text: Result<String, JsValue>| text.unwrap_or_default();
    format!(
        "{}{}{}",
        part(location.pathname()),
        part(location.search()),
        part(location.hash())
    )
}

pub fn origin() -> String {
    window()
        .and_then(|window| window.location().origin().ok())
        .unwrap_or_default()
}

/// `light`, `dark`, or the system's choice where `theme` is anything else.
pub fn set_theme(theme: &str) {
    store("rateguard.theme", theme);
    let root = document().and_then(|document| document.document_element());
    if let Some(root) = root {
        // Attribute names here are constants, which the browser accepts.
        let _ = match theme {
            "light" | "dark" => root.set_attribute("data-theme", theme),
            _ => root.remove_attribute("data-theme"),
        };
    }
}
