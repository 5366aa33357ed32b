//! Pure state: values and reducers without the browser.

pub mod cursor;
pub mod form;
pub mod log;
pub mod permission;
pub mod range;
pub mod route_back;
pub mod session;
pub mod table;
pub mod toast;
pub mod token;
pub mod window;
