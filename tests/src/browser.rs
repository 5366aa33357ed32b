//! A headless Chromium of a test's own, driven over WebDriver. Whatever is waited for has a deadline.
//!
//! What a person does (open, fill, press, read) on top of `thirtyfour`, with the page in the message when it fails.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::command::{Command as WebDriverCommand, ExtensionCommand};
use thirtyfour::common::config::WebDriverConfig;
use thirtyfour::extensions::cdp::ChromeDevTools;
use thirtyfour::support::block_on;
use thirtyfour::{
    By, CapabilitiesHelper as _, ChromiumLikeCapabilities as _, DesiredCapabilities, Key, WebDriver,
    WebElement,
};

use crate::stack::artifacts::program;
use crate::stack::process::Process;
use crate::stack::wait::until;

/// How long a page may take to be as wished: ten times what an idle machine needs.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// No sandbox: it does not start as root, and the pages are our own. Nothing is kept on disk, where a busy machine would
/// make the browser wait.
const ARGUMENTS: [&str; 8] = [
    "--headless=new",
    "--incognito",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--lang=en-US",
];

/// Finds what a person would click: the first button or link of whose label, or text, a line begins so. An open dialog covers
/// the rest of the page.
const BY_TEXT: &str = r"
    const inside = [...document.querySelectorAll('dialog[open]')].pop() ?? document;
    return [...inside.querySelectorAll('button, a, label')].find(element =>
        (element.ariaLabel || element.innerText).split('\n').some(line => line.trim().startsWith(arguments[0]))
        && !element.disabled && element.getClientRects().length > 0) ?? null";

/// How much of a page is worth a picture; null for what is seen of it.
const PICTURED: &str = "return document.querySelector('dialog[open]') ? null
    : [innerWidth, Math.min(Math.max(document.documentElement.scrollHeight, 600), 3000)]";
const TO_THE_MIDDLE: &str = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";

/// What a message says of a page: where it is, what it complains of, what it shows.
const PAGE: &str = r"
    const main = document.querySelector('dialog[open]') ?? document.querySelector('main') ?? document.body;
    const faults = [...document.querySelectorAll('.fault, .notice.bad, .toast')].map(one => one.innerText);
    const shown = main.innerText.replaceAll(/\s+/g, ' ').slice(0, 1500);
    const files = performance.getEntriesByType('resource').map(one => one.name.split('/').pop()).slice(-20);
    return location.pathname + ', its faults ' + JSON.stringify(faults) + ', and shows: ' + shown
        + '\\nits last files: ' + files.join(' ')";

/// What the page's console has said since it was last asked: chromedriver's own command.
#[derive(Debug)]
struct ReadLog;

impl ExtensionCommand for ReadLog {
    fn parameters_json(&self) -> Option<Value> {
        Some(json!({"type": "browser"}))
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn endpoint(&self) -> Arc<str> {
        "/se/log".into()
    }
}

/// A browser at one console. Dropping it ends it.
pub struct Browser {
    driver: WebDriver,
    chromedriver: Process,
    origin: String,
    _folder: TempDir,
}

impl Browser {
    /// Starts it, with an empty profile, for the console at `origin`.
    ///
    /// # Errors
    /// chromedriver or Chromium is missing or does not start.
    pub async fn start(origin: &str) -> Result<Self> {
        let folder = TempDir::new().context("making a folder for the browser")?;
        let mut command = Command::new(program("chromedriver", &[])?);
        command.arg("--port=0");
        let chromedriver = Process::start("chromedriver", command, &folder.path().join("driver.log"))?;
        let port: u16 = until("chromedriver", SHOWN_WITHIN, async || {
            let log = chromedriver.log_text()?;
            let (_, rest) = log.split_once("successfully on port ").context("no port yet")?;
            let (port, _) = rest.split_once('.').context("no port yet")?;
            Ok(port.parse()?)
        })
        .await?;
        let driver = session(&format!("http://127.0.0.1:{port}"))
            .await
            .with_context(|| chromedriver.log_tail())?;
        let browser = Self {
            driver,
            chromedriver,
            origin: origin.to_owned(),
            _folder: folder,
        };
        browser.size(1360, 900).await?;
        Ok(browser)
    }

    /// Goes to a path of the console.
    ///
    /// # Errors
    /// The page does not load.
    pub async fn open(&self, path: &str) -> Result<()> {
        Ok(self.driver.goto(format!("{}{path}", self.origin)).await?)
    }

    /// Runs a script's body with `arguments` and returns what it returns.
    ///
    /// # Errors
    /// It throws.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        let answer = self.driver.execute(script, arguments.to_vec()).await?;
        Ok(answer.json().clone())
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Errors
    /// It is not within [`SHOWN_WITHIN`]: what the page shows is in the error.
    pub async fn sees(&self, expression: &str) -> Result<()> {
        self.sees_within(expression, SHOWN_WITHIN).await
    }

    /// As [`Self::sees`], with a deadline of its own.
    ///
    /// # Errors
    /// It is not true within `limit`.
    pub async fn sees_within(&self, expression: &str, limit: Duration) -> Result<()> {
        let script = format!("return Boolean({expression})");
        let outcome = until(expression, limit, async || {
            ensure!(self.run(&script, &[]).await? == json!(true), "not so");
            Ok(())
        })
        .await;
        self.shown(outcome).await
    }

    /// Waits until the page shows this text.
    ///
    /// # Errors
    /// It does not within [`SHOWN_WITHIN`].
    pub async fn reads(&self, text: &str) -> Result<()> {
        self.sees(&format!("document.body.innerText.includes({})", json!(text)))
            .await
    }

    /// Waits until the address is this path.
    ///
    /// # Errors
    /// It is not within [`SHOWN_WITHIN`].
    pub async fn is_at(&self, path: &str) -> Result<()> {
        self.sees(&format!("location.pathname === {}", json!(path))).await
    }

    /// Replaces what stands in a field of a form, with keys, as a person would.
    ///
    /// # Errors
    /// The field does not appear, or takes no text.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        // Text without an end would hold the control key down over what follows.
        let keys = (Key::Control + "a" + Key::Null + Key::Delete + text).to_string();
        let outcome = until(selector, SHOWN_WITHIN, async || {
            let field = self.driver.find(By::Css(selector)).await?;
            Ok(field.send_keys(keys.as_str()).await?)
        })
        .await;
        self.shown(outcome).await
    }

    /// Chooses an option of a select by its value.
    ///
    /// # Errors
    /// The field or the option does not appear.
    pub async fn choose(&self, selector: &str, value: &str) -> Result<()> {
        self.click(&format!("{selector} option[value='{value}']")).await
    }

    /// Clicks the first element of a selector.
    ///
    /// # Errors
    /// None can be clicked within [`SHOWN_WITHIN`].
    pub async fn click(&self, selector: &str) -> Result<()> {
        self.click_what("return document.querySelector(arguments[0])", selector)
            .await
    }

    /// Clicks the button or link whose text begins so.
    ///
    /// # Errors
    /// None can be clicked within [`SHOWN_WITHIN`].
    pub async fn press(&self, text: &str) -> Result<()> {
        self.click_what(BY_TEXT, text).await
    }

    async fn click_what(&self, script: &str, argument: &str) -> Result<()> {
        let outcome = until(argument, SHOWN_WITHIN, async || {
            let found = self.driver.execute(script, vec![json!(argument)]).await?;
            ensure!(!found.json().is_null(), "there is none");
            let element: WebElement = found.element()?;
            // What lies under the sticky foot of a form is not clickable: to the middle first.
            let args = vec![element.to_json()?];
            self.driver.execute(TO_THE_MIDDLE, args).await?;
            Ok(element.click().await?)
        })
        .await;
        self.shown(outcome).await
    }

    /// A failure, with the page as it is now.
    async fn shown(&self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(error).context(self.page().await),
        }
    }

    /// Whether something with this text could be clicked now.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn offers(&self, text: &str) -> Result<bool> {
        Ok(!self.run(BY_TEXT, &[json!(text)]).await?.is_null())
    }

    /// Address, faults and text of the page, for messages.
    pub async fn page(&self) -> String {
        match self.run(PAGE, &[]).await {
            Ok(text) => format!("the page is {}", text.as_str().unwrap_or_default()),
            Err(error) => format!("there is no page: {error:#}"),
        }
    }

    /// The text of the first element of a selector.
    ///
    /// # Errors
    /// There is none.
    pub async fn text_of(&self, selector: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? null";
        let text = self.run(script, &[json!(selector)]).await?;
        Ok(text
            .as_str()
            .with_context(|| format!("no {selector}"))?
            .to_owned())
    }

    /// The page as it is now, as markup.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn source(&self) -> Result<String> {
        Ok(self.driver.source().await?)
    }

    /// A command of the Chrome `DevTools` Protocol.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        let tools = ChromeDevTools::new(self.driver.handle.clone());
        Ok(tools.execute_cdp_with_params(command, parameters.clone()).await?)
    }

    /// Forgets every cookie: the session of whoever is signed in.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn forget_cookies(&self) -> Result<()> {
        self.devtools("Network.clearBrowserCookies", &json!({}))
            .await
            .map(drop)
    }

    /// The window's size in CSS pixels.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn size(&self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics)
            .await
            .map(drop)
    }

    /// What the system prefers: dark or light.
    ///
    /// # Errors
    /// The browser refuses it.
    pub async fn prefer_dark(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", &features)
            .await
            .map(drop)
    }

    /// Writes the whole page, down to 3 000 px, to a PNG file; with a dialog open what is seen of the page.
    ///
    /// # Errors
    /// The browser refuses it, or the file cannot be written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        let size = self.run(PICTURED, &[]).await?;
        let wanted = if size.is_null() {
            json!({"format": "png"})
        } else {
            let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
            json!({"format": "png", "captureBeyondViewport": true, "clip": clip})
        };
        let answer = self.devtools("Page.captureScreenshot", &wanted).await?;
        let data = STANDARD.decode(answer["data"].as_str().context("no picture")?)?;
        std::fs::write(file, data).with_context(|| format!("writing {}", file.display()))
    }

    /// What the browser's console has said that must never be said: refusals by the page's own policy, and panics.
    /// What it has said is taken out of it.
    ///
    /// # Errors
    /// The browser gives no log.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let command = WebDriverCommand::ExtensionCommand(Box::new(ReadLog));
        let log: Value = self.driver.cmd(command).await?.value()?;
        let messages = log.as_array().context("no log")?.iter();
        let messages = messages.filter_map(|entry| entry["message"].as_str());
        Ok(messages
            .filter(|text| text.contains("Content Security Policy") || text.contains("panicked at"))
            .map(str::to_owned)
            .collect())
    }
}

impl Drop for Browser {
    /// Ends the session first: a chromedriver that is killed leaves its Chromium behind.
    fn drop(&mut self) {
        // Best effort: the kernel ends chromedriver in any case.
        let _ = block_on(self.driver.clone().quit());
        self.chromedriver.stop(Duration::from_secs(2));
    }
}

/// A browser of this chromedriver.
async fn session(chromedriver: &str) -> Result<WebDriver> {
    let mut wanted = DesiredCapabilities::chrome();
    for argument in ARGUMENTS {
        wanted.add_arg(argument)?;
    }
    wanted.insert_base_capability("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
    // Its end is asked for from another runtime than the test's, where a kept connection would stand still.
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(60))
        .build()?;
    let config = WebDriverConfig::default();
    Ok(WebDriver::new_with_config_and_client(chromedriver, wanted, config, client).await?)
}
