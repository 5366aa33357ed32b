//! The console as a browser finds it: how much the first load is, how soon it can be used, and whether a long log of
//! requests scrolls smoothly.
//!
//! Times are what Chromium itself measured (paint, largest-contentful-paint, longtask and layout-shift entries), in two
//! conditions: on this machine as it is, and as Lighthouse does for a phone: a processor four times slower, 1.6 Mbit/s,
//! 150 ms. Blocking time is what long tasks take beyond 50 ms each. Frames are counted while the log is scrolled by 120 px
//! in each of them.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::browser::Browser;
use rateguard_tests::load::{Shot, percentile};
use rateguard_tests::scene::{PASSWORD, Scene};
use rateguard_tests::stack::Stack;
use rateguard_tests::stack::wait::until;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Of each condition; the median is told.
const ROUNDS: usize = 5;
/// Requests in the log that is scrolled.
const REQUESTS: u64 = 10_000;
const COUNTED_WITHIN: Duration = Duration::from_secs(120);
const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// Frames of one round of scrolling.
const FRAMES: u64 = 300;

/// Watches from before the page begins: when its form can be filled in, and how the page has shifted.
const WATCH: &str = "
    window.usable = null;
    new MutationObserver((_, self) => {
        if (document.querySelector('#f-email')) { window.usable ??= performance.now(); self.disconnect(); }
    }).observe(document, {childList: true, subtree: true});";
/// What the browser has measured, in milliseconds; what has no number yet is null.
const MEASURED: &str = "
    const seen = type => new Promise(done => {
        const entries = [];
        const observer = new PerformanceObserver(list => entries.push(...list.getEntries()));
        observer.observe({type, buffered: true});
        setTimeout(() => { observer.disconnect(); done(entries); }, 100);
    });
    return Promise.all(['paint', 'largest-contentful-paint', 'longtask', 'layout-shift'].map(seen))
        .then(([paint, largest, tasks, shifts]) => ({
            'first contentful paint': paint.find(one => one.name === 'first-contentful-paint')?.startTime ?? null,
            'largest contentful paint': largest.at(-1)?.startTime ?? null,
            'time to interactive': Math.max(window.usable, ...tasks.map(task => task.startTime + task.duration)),
            'total blocking time': tasks.reduce((sum, task) => sum + Math.max(0, task.duration - 50), 0),
            'layout shift, thousandths': 1000 * shifts.reduce((sum, one) => sum + one.value, 0),
        }));";
/// The length of each frame, in milliseconds, while the log is scrolled.
const SCROLL: &str = "
    const [frames] = arguments;
    const log = document.querySelector('.log');
    return new Promise(done => {
        const times = [];
        let last = null;
        const step = now => {
            if (last !== null) times.push(now - last);
            last = now;
            log.scrollTop += 120;
            if (times.length < frames) requestAnimationFrame(step); else done(times);
        };
        requestAnimationFrame(step);
    });";

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder().clickhouse().start().await?;
    first_load(&stack).await?;
    let browser = Browser::start(&stack.console_url()).await?;
    let watch = json!({"source": WATCH});
    browser
        .devtools("Page.addScriptToEvaluateOnNewDocument", &watch)
        .await?;
    println!("\nthe sign-in, nothing cached, on this machine (median of {ROUNDS})");
    load_times(&browser).await?;
    println!("\nthe same on a phone: processor 4 times slower, 1.6 Mbit/s, 150 ms");
    as_a_phone(&browser).await?;
    load_times(&browser).await?;
    as_this_machine(&browser).await?;
    scrolling(&stack, &browser).await
}

/// Every file of the page, as it goes over the wire.
async fn first_load(stack: &Stack) -> Result<()> {
    let url = stack.console_url();
    let page = stack.client().get(&url).send().await?.text().await?;
    let named = |text: &str, quote: char| -> Vec<String> {
        let quoted = text.split(quote).filter(|part| part.starts_with("/assets/"));
        quoted.map(str::to_owned).collect()
    };
    let mut files = named(&page, '"');
    let boot = files.iter().find(|file| file.contains("/boot-"));
    let boot = format!("{url}{}", boot.context("no first script: is the console built?")?);
    // The first script names the program.
    files.extend(named(&stack.client().get(boot).send().await?.text().await?, '\''));
    files.push("/".to_owned());
    files.sort_unstable();
    files.dedup();
    println!("\nfirst load, bytes with brotli");
    let mut total = 0;
    for file in files {
        let request = stack.client().get(format!("{url}{file}"));
        let answer = request.header("accept-encoding", "br").send().await?;
        let size = answer.bytes().await?.len();
        total += size;
        println!("{size:>10}  {file}");
    }
    println!("{total:>10}  together");
    Ok(())
}

async fn as_a_phone(browser: &Browser) -> Result<()> {
    let network = json!({
        "offline": false, "latency": 150, "downloadThroughput": 1_600_000 / 8, "uploadThroughput": 750_000 / 8,
    });
    browser
        .devtools("Network.emulateNetworkConditions", &network)
        .await?;
    browser
        .devtools("Emulation.setCPUThrottlingRate", &json!({"rate": 4}))
        .await?;
    Ok(())
}

async fn as_this_machine(browser: &Browser) -> Result<()> {
    let network = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser
        .devtools("Network.emulateNetworkConditions", &network)
        .await?;
    browser
        .devtools("Emulation.setCPUThrottlingRate", &json!({"rate": 1}))
        .await?;
    Ok(())
}

async fn load_times(browser: &Browser) -> Result<()> {
    browser.devtools("Network.enable", &json!({})).await?;
    browser
        .devtools("Network.setCacheDisabled", &json!({"cacheDisabled": true}))
        .await?;
    let mut rounds: Vec<Value> = Vec::new();
    for _ in 0..ROUNDS {
        browser.open("/login").await?;
        browser.sees_within("window.usable", LOADED_WITHIN).await?;
        rounds.push(browser.run(MEASURED, &[]).await?);
    }
    let names = rounds.first().and_then(Value::as_object).context("no figures")?;
    for name in names.keys() {
        let mut values: Vec<f64> = rounds.iter().filter_map(|round| round[name].as_f64()).collect();
        values.sort_unstable_by(f64::total_cmp);
        println!("{name:>30}: {:.0}", percentile(&values, 0.5));
    }
    Ok(())
}

/// A log of [`REQUESTS`], scrolled from its top until every row was read.
async fn scrolling(stack: &Stack, browser: &Browser) -> Result<()> {
    let scene = Scene::new(stack).await?;
    fill(&scene, stack).await?;
    browser.open("/login").await?;
    browser.fill("#f-email", &scene.email).await?;
    browser.fill("#f-password", PASSWORD).await?;
    browser.click("button[type=submit]").await?;
    browser.is_at("/overview").await?;
    browser.open("/analytics").await?;
    browser
        .sees_within("document.querySelector('.log .line:not(.head)')", LOADED_WITHIN)
        .await?;
    let all_read = format!("document.querySelector('.log').ariaRowCount > {REQUESTS}");
    let bottom = "const log = document.querySelector('.log'); log.scrollTop = log.scrollHeight";
    until("the whole log", Duration::from_secs(300), async || {
        browser.run(bottom, &[]).await?;
        let read = browser.run(&format!("return {all_read}"), &[]).await?;
        ensure!(read == json!(true), "not yet");
        Ok(())
    })
    .await?;
    browser
        .run("document.querySelector('.log').scrollTop = 0", &[])
        .await?;
    let frames = browser.run(SCROLL, &[json!(FRAMES)]).await?;
    let mut frames: Vec<f64> = frames
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    frames.sort_unstable_by(f64::total_cmp);
    let lines = "return document.querySelectorAll('.log .line').length";
    println!("\nscrolling a log of {REQUESTS} requests, {FRAMES} frames");
    println!("{:>30}: {}", "rows in the page", browser.run(lines, &[]).await?);
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0)] {
        println!("{name:>24} frame: {:.1} ms", percentile(&frames, share));
    }
    let late = frames.iter().filter(|time| **time > 34.0).count();
    println!("{:>30}: {late} of {}", "longer than two of 60 Hz", frames.len());
    Ok(())
}

/// As many answered requests, seen by the analytics.
async fn fill(scene: &Scene<'_>, stack: &Stack) -> Result<()> {
    scene.flat(stack.stub().addr(), "0.01").await?;
    let key = scene.key(json!({"name": "Bench"})).await?;
    scene.in_force().await?;
    let bearer = format!("Bearer {}", key.secret);
    let shot = Shot::post("/proxy/flat/things", &[("authorization", &bearer)], "{}");
    let target = stack.gateway_url();
    let target = target.trim_start_matches("http://").parse()?;
    let outcome = shot.fire(target, 16, REQUESTS).await?;
    ensure!(outcome.count(200) == REQUESTS, "{:?}", outcome.statuses);
    until("the events to be counted", COUNTED_WITHIN, async || {
        let summary = scene
            .rest(Method::GET, "/analytics/summary", &Value::Null)
            .await?;
        let counted = summary["requests"]["totalRequests"].as_u64();
        ensure!(counted >= Some(REQUESTS), "{counted:?}");
        Ok(())
    })
    .await
}
