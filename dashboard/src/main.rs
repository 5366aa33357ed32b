//! Starts the console in the browser.

fn main() {
    rateguard_dashboard::start();
}
