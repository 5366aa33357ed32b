//! The control plane under load: reads and writes of 200 admins at once, and the feed while logins are flooded.
//!
//! Closed loops over REST on one control plane; everything shares the machine, this program included. The feed's figure
//! is from before the REST call of a change until a hanging poll that another connection holds has it.

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use rateguard_tests::load::percentile;
use rateguard_tests::scene::Scene;
use rateguard_tests::stack::Stack;
use rateguard_wire::v1::{PollRequest, PollResponse, PollRole};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ADMINS: usize = 200;
/// People behind them; a registration costs a quarter of a second of bcrypt.
const PEOPLE: usize = 20;
const FLOOD: usize = 64;
const PHASE: Duration = Duration::from_secs(15);
/// Every so many requests of an admin is a write.
const WRITE_EVERY: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::start().await?;
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(Person::new(&stack).await?);
    }
    let watcher = Watcher::new(&stack).await?;

    println!("\nreads (lists of keys, rules, APIs; costs) and writes (a rule's limit) of {ADMINS} admins");
    let (alone, ()) = tokio::try_join!(watcher.watch(), async { Ok(()) })?;
    let (loaded, work) = tokio::try_join!(watcher.watch(), admins(&people))?;
    show(
        "read",
        work.iter().filter(|(write, _)| !write).map(|(_, time)| *time),
    );
    show(
        "write",
        work.iter().filter(|(write, _)| *write).map(|(_, time)| *time),
    );
    println!(
        "{:>30}: {:.0}",
        "requests a second",
        work.len() as f64 / PHASE.as_secs_f64()
    );
    let (flooded, statuses) = tokio::try_join!(watcher.watch(), flood(&stack))?;
    println!("\nfrom the REST call of a change to a hanging poll's answer");
    show("alone", alone.into_iter());
    show("with the admins", loaded.into_iter());
    show("with a flood of logins", flooded.into_iter());
    println!(
        "{:>30}: {statuses:?} in {PHASE:?}, {FLOOD} at once",
        "logins by status"
    );
    Ok(())
}

/// An owner with a workspace that has something to list.
struct Person<'s> {
    scene: Scene<'s>,
    rule: String,
}

impl<'s> Person<'s> {
    async fn new(stack: &'s Stack) -> Result<Self> {
        let scene = Scene::new(stack).await?;
        scene.flat(stack.stub().addr(), "0").await?;
        let rule = scene.requests_per_workspace(1_000).await?;
        for _ in 0..20 {
            scene.key(json!({})).await?;
        }
        Ok(Self { scene, rule })
    }

    async fn write(&self, size: usize) -> Result<Value> {
        let path = format!("/rules/{}", self.rule);
        self.scene
            .rest(Method::PATCH, &path, &json!({"bucketSize": 1_000 + size}))
            .await
    }
}

/// Whether it was a write, and how long it took.
async fn admins(people: &[Person<'_>]) -> Result<Vec<(bool, Duration)>> {
    let end = Instant::now() + PHASE;
    let loops = (0..ADMINS).map(|admin| async move {
        let person = people.get(admin % people.len()).context("nobody")?;
        let mut times = Vec::new();
        let mut turn = admin;
        while Instant::now() < end {
            turn += 1;
            let is_write = turn.is_multiple_of(WRITE_EVERY);
            let start = Instant::now();
            if is_write {
                person.write(turn).await?;
            } else {
                let path = ["/keys?limit=20", "/rules", "/apis", "/costs"][turn % 4];
                person.scene.rest(Method::GET, path, &Value::Null).await?;
            }
            times.push((is_write, start.elapsed()));
        }
        anyhow::Ok(times)
    });
    let times = futures_util::future::try_join_all(loops).await?;
    Ok(times.concat())
}

/// Logins of accounts that nobody has, each from a loop of its own; how many got which status.
async fn flood(stack: &Stack) -> Result<BTreeMap<u16, u64>> {
    let end = Instant::now() + PHASE;
    let url = format!("{}/api/auth/login", stack.console_url());
    let client = Client::builder().no_proxy().build()?;
    let loops = (0..FLOOD).map(|n| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let mut statuses = BTreeMap::new();
            let mut turn = 0_u64;
            while Instant::now() < end {
                turn += 1;
                let body =
                    json!({"email": format!("nobody-{n}-{turn}@example.com"), "password": "wrong horse"});
                let answer = client.post(&url).json(&body).send().await?;
                *statuses.entry(answer.status().as_u16()).or_insert(0) += 1;
                answer.bytes().await?;
            }
            anyhow::Ok(statuses)
        }
    });
    let mut all = BTreeMap::new();
    for statuses in futures_util::future::try_join_all(loops).await? {
        for (status, count) in statuses {
            *all.entry(status).or_insert(0) += count;
        }
    }
    Ok(all)
}

/// A data plane of one workspace, whose rule it changes.
struct Watcher<'s> {
    person: Person<'s>,
    token: String,
    url: String,
    client: Client,
}

impl<'s> Watcher<'s> {
    async fn new(stack: &'s Stack) -> Result<Self> {
        let person = Person::new(stack).await?;
        let made = person
            .scene
            .rest(Method::POST, "/data-planes", &json!({"name": "bench"}))
            .await?;
        let token = made["token"].as_str().context("a token")?.to_owned();
        let watcher = Self {
            person,
            token,
            url: format!("http://{}/v1/config:poll", stack.addresses().control_plane),
            client: Client::builder().no_proxy().build()?,
        };
        let end = Instant::now() + Duration::from_secs(10);
        // The feed learns of the token as it learns of everything else.
        while let Err(error) = watcher.poll(None).await {
            ensure!(Instant::now() < end, "the new token does not poll: {error:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(watcher)
    }

    async fn poll(&self, known: Option<&PollResponse>) -> Result<PollResponse> {
        let request = PollRequest {
            node_id: "bench".to_owned(),
            role: PollRole::Filter.into(),
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            nonce: known.map(|known| known.nonce.clone()).unwrap_or_default(),
            wait_ms: 20_000,
            ..PollRequest::default()
        };
        let answer = self
            .client
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("content-type", "application/x-protobuf")
            .body(request.encode_to_vec())
            .send()
            .await?;
        ensure!(answer.status().is_success(), "the poll got {}", answer.status());
        Ok(PollResponse::decode(answer.bytes().await?)?)
    }

    /// Changes for the length of a phase; how long each took to be polled.
    async fn watch(&self) -> Result<Vec<Duration>> {
        let end = Instant::now() + PHASE;
        let mut times = Vec::new();
        let mut known = self.poll(None).await?;
        while Instant::now() < end {
            let start = Instant::now();
            let written = self.person.write(50_000 + times.len());
            let polled = async {
                loop {
                    let answer = self.poll(Some(&known)).await?;
                    if !answer.rules.is_empty() {
                        return anyhow::Ok((answer, start.elapsed()));
                    }
                    known = answer;
                }
            };
            let (written, polled) = tokio::join!(written, polled);
            written?;
            let (answer, time) = polled?;
            known = answer;
            times.push(time);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(times)
    }
}

fn show(name: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    println!(
        "{name:>30}: p50 {:.1?}, p99 {:.1?}, max {:.1?} of {}",
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        percentile(&times, 1.0),
        times.len()
    );
}
