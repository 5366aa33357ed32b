//! Parts killed (-9) in a loop under load, and then the books: the upstream's log, the rows, the ledger, Redis, and what
//! clients were told, to the nano-dollar.
//!
//! All of them agree exactly, whatever dies. The ids of requests that a killed Envoy drew from a lease and had not yet
//! reported died with it: they are in its last moment, are counted and printed, and are charged as the lease's rest.
//! Where every request asks before it goes (`"leases": false`), together or by itself, even their ids are there.

use crate::books::{Books, WITHIN, eventually};
use crate::bus::Bus;
use crate::client::{Ask, Clients, Told};
use crate::suite::{governed, nanos};
use rateguard_tests::scene::Scene;
use rateguard_tests::stack::{Part, Stack, artifacts};
use rateguard_tests::stub::Received;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// More rounds than one: for a machine that has the time.
const ROUNDS: &str = "RATEGUARD_CHAOS_ROUNDS";
const CLIENTS: usize = 6;
/// How long a part is away, and how long it is back before the next one goes.
const AWAY: Duration = Duration::from_millis(700);
const BACK: Duration = Duration::from_millis(700);
/// A killed Envoy's last moment: events wait for 100 ms and then for an answer, and this machine is busy.
const MOMENT: Duration = Duration::from_secs(1);

/// Reservations live for three seconds: who dies with one is charged while the test waits.
const SHORT: &str = r#""reservationTtlMs": 3000, "renewIntervalMs": 500"#;
/// Requests ask before they go: together, or each by itself. The bus makes no difference, so each has one of them.
fn without_leases(bus: Bus) -> &'static str {
    match bus {
        Bus::Redis => r#", "leases": false, "jointReservations": true"#,
        Bus::Kafka => r#", "leases": false, "jointReservations": false"#,
    }
}

async fn stack(bus: Bus) -> Stack {
    let folder = tempfile::tempdir().unwrap();
    let template = std::fs::read_to_string(artifacts::repository().join("envoy/gateway.yaml")).unwrap();
    let line = r#""reserveTimeoutMs": ${RESERVE_TIMEOUT_MS}"#;
    assert_eq!(template.matches(line).count(), 1);
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, template.replace(line, &format!("{line}, {SHORT}"))).unwrap();
    let builder = Stack::builder().durable().clickhouse().envoy_config(&path);
    let builder = match bus {
        Bus::Redis => builder,
        Bus::Kafka => builder.kafka(),
    };
    builder.start().await.expect("the Stack starts")
}

/// The whole test. The Stack is left to the process, as the shared ones are: after a panic its logs are shown.
pub(crate) async fn run(bus: Bus) {
    let stack = stack(bus).await.share();
    let books = Books { stack, bus };
    let rounds = std::env::var_os(ROUNDS).and_then(|text| text.to_str()?.parse().ok());
    let asking_first = format!("{SHORT}{}", without_leases(bus));
    for round in 0..rounds.unwrap_or(1) {
        if round > 0 {
            restart_envoy(stack, &asking_first, SHORT).await;
        }
        let parts = [Part::Limits, bus.part(), Part::ControlPlane, Part::ClickHouse];
        let act = Act::play(&books, &parts, &[Ask::Flat(0), Ask::Chat, Ask::Stream]).await;
        act.agrees_exactly();
        // One price, so that a request charged as reserved costs what it would have.
        let act = Act::play(&books, &[Part::Envoy], &[Ask::Flat(0), Ask::Flat(60)]).await;
        act.agrees_but_for_ids();
        restart_envoy(stack, SHORT, &asking_first).await;
        let act = Act::play(&books, &[Part::Envoy], &[Ask::Flat(0), Ask::Flat(60)]).await;
        act.agrees_exactly();
    }
    for part in Part::ALL {
        stack.kill(part);
    }
}

/// Again, with other settings of the filter.
async fn restart_envoy(stack: &Stack, from: &str, to: &str) {
    let path = stack.folder().root().join("envoy.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    stack.restart(Part::Envoy).await.expect("it comes back");
}

/// One workspace's load, and the kills that it saw.
struct Act {
    scene: Scene<'static>,
    told: Vec<Told>,
    kills: Vec<Kill>,
    /// What reached the upstream, by request id, each time that it did.
    upstream: BTreeMap<String, Vec<Received>>,
    rows: Vec<Row>,
    /// Spend in Redis.
    spent_nanos: i64,
    ledger_nanos: i64,
}

struct Kill {
    part: Part,
    at: Instant,
    /// When it was started again. What came before is from the one that was killed.
    restarted: Instant,
}

struct Row {
    id: String,
    is_revision: bool,
    usage_source: String,
    cost_nanos: i64,
}

impl Act {
    async fn play(books: &Books, parts: &[Part], asks: &'static [Ask]) -> Self {
        let (scene, key) = governed(books).await;
        let before = books.stack.stub().log().len();
        let clients = Clients::start(books.stack.addresses().gateway, &key, CLIENTS, asks);
        let mut kills = Vec::new();
        tokio::time::sleep(BACK).await;
        for part in parts {
            if !books.stack.has(*part) {
                println!("{part} is somebody else's and is left alone");
                continue;
            }
            let at = Instant::now();
            books.stack.kill(*part);
            tokio::time::sleep(AWAY).await;
            kills.push(Kill {
                part: *part,
                at,
                restarted: Instant::now(),
            });
            books.stack.restart(*part).await.expect("it comes back");
            // Who asks a new Envoy before it has its configuration is held for a second.
            let back = if *part == Part::Envoy { BACK * 3 } else { BACK };
            tokio::time::sleep(back).await;
        }
        let told = clients.stop().await;
        let mut upstream = BTreeMap::<String, Vec<Received>>::new();
        for received in books.stack.stub().log().all().split_off(before) {
            if let Some(id) = received.request_id() {
                upstream.entry(id.to_owned()).or_default().push(received);
            }
        }
        let mut act = Self {
            scene,
            told,
            kills,
            upstream,
            rows: Vec::new(),
            spent_nanos: 0,
            ledger_nanos: 0,
        };
        act.settle(books).await;
        act
    }

    /// Waits until nothing is held and nothing waits, and until two looks in a row see the same.
    async fn settle(&mut self, books: &Books) {
        let mut earlier = None;
        eventually("everything is settled", WITHIN * 2, async || {
            let Ok(costs) = self.scene.costs().await else {
                return false;
            };
            let is_held = costs["reservedCents"] != json!(0);
            self.spent_nanos = nanos(&costs["currentSpendCents"].to_string()).unwrap_or(-1);
            self.rows = rows(books, &self.scene).await;
            self.ledger_nanos = ledger(books, &self.scene).await;
            let seen = Some((self.spent_nanos, self.ledger_nanos, self.rows.len()));
            let is_still = seen == earlier && !is_held && books.bus.waiting(books.stack).await == 0;
            earlier = seen;
            if !is_still {
                // Longer than an event takes from a filter into the table.
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            is_still
        })
        .await;
    }

    fn rows_nanos(&self) -> i64 {
        self.rows.iter().map(|row| row.cost_nanos).sum()
    }

    /// Requests that reached the upstream and have no row.
    fn without_row(&self) -> Vec<&Received> {
        let ids: BTreeSet<&str> = self.rows.iter().map(|row| row.id.as_str()).collect();
        let lost = self.upstream.iter().filter(|(id, _)| !ids.contains(id.as_str()));
        lost.flat_map(|(_, received)| received).collect()
    }

    /// Charges of reservations that nobody settled and that never reached the upstream: leases.
    fn leases(&self) -> Vec<&Row> {
        let rows = self.rows.iter();
        rows.filter(|row| row.usage_source == "reserved" && !self.upstream.contains_key(&row.id))
            .collect()
    }

    /// What holds whatever was killed.
    fn holds_together(&self) {
        let kills: Vec<Part> = self.kills.iter().map(|kill| kill.part).collect();
        println!(
            "{kills:?} killed: {} answers, {} at the upstream, {} rows, {} nano-dollars in rows, {} in Redis",
            self.told.len(),
            self.upstream.len(),
            self.rows.len(),
            self.rows_nanos(),
            self.spent_nanos
        );
        let answered = self.told.iter().filter(|told| told.status == 200).count();
        assert!(answered > 10, "{answered} requests are no load");
        let mut seen = BTreeSet::new();
        for row in &self.rows {
            assert!(
                seen.insert((&row.id, row.is_revision)),
                "{} is there twice",
                row.id
            );
        }
        for (id, received) in &self.upstream {
            assert_eq!(received.len(), 1, "{id} reached the upstream more than once");
        }
        assert_eq!(self.ledger_nanos, self.rows_nanos(), "ledger and rows");
        let mut cost = BTreeMap::<&str, i64>::new();
        for row in &self.rows {
            *cost.entry(&row.id).or_default() += row.cost_nanos;
        }
        let mut compared = 0;
        for told in &self.told {
            if let (Some(nanos), Some(cost)) = (told.cost_nanos, cost.get(told.id.as_str())) {
                assert_eq!(*cost, nanos, "{told:?}: the row and the answer");
                compared += 1;
            }
        }
        println!("  {compared} answers with their cost equal their rows");
    }

    fn agrees_exactly(&self) {
        self.holds_together();
        let lost: Vec<_> = self
            .without_row()
            .iter()
            .map(|received| received.request_id())
            .collect();
        assert!(lost.is_empty(), "no rows for {lost:?}");
        let ids: BTreeSet<&str> = self.rows.iter().map(|row| row.id.as_str()).collect();
        let unheard: Vec<_> = self
            .told
            .iter()
            .filter(|told| !ids.contains(told.id.as_str()))
            // A new Envoy without configuration knows no workspace to put its answer down for.
            .filter(|told| told.status != 503 || self.upstream.contains_key(&told.id))
            .collect();
        assert!(unheard.is_empty(), "answered without a row: {unheard:?}");
        assert_eq!(self.rows_nanos(), self.spent_nanos, "rows and Redis");
    }

    /// A lease's rest is charged for the requests that nobody can name any more.
    fn agrees_but_for_ids(&self) {
        self.holds_together();
        let lost = self.without_row();
        let earliest = lost
            .iter()
            .map(|received| self.before_its_envoys_end(received))
            .max();
        assert!(
            earliest.is_none_or(|before| before <= MOMENT),
            "{earliest:?} before Envoy was killed"
        );
        let leases = self.leases();
        let leased_nanos: i64 = leases.iter().map(|row| row.cost_nanos).sum();
        println!(
            "  without a row: {}, the first answered {earliest:?} before the kill; {} leases charged with {leased_nanos}",
            lost.len(),
            leases.len()
        );
        let price = self
            .rows
            .iter()
            .filter(|row| row.usage_source != "reserved")
            .map(|row| row.cost_nanos)
            .filter(|cost| *cost > 0)
            .min();
        let lost_nanos = lost.len() as i64 * price.unwrap_or(0);
        assert!(
            lost_nanos <= leased_nanos,
            "{lost_nanos} of lost rows are not charged"
        );
        assert_eq!(self.rows_nanos(), self.spent_nanos, "rows and Redis");
    }

    /// How long before its Envoy was killed an answer came to its end; nothing where it had not.
    fn before_its_envoys_end(&self, received: &Received) -> Duration {
        let kills = self.kills.iter().filter(|kill| kill.part == Part::Envoy);
        // What it had sent before it died may have been read after that.
        let its = kills
            .filter(|kill| kill.restarted >= received.at)
            .min_by_key(|kill| kill.at);
        let Some(kill) = its else {
            let id = received.request_id();
            panic!("{id:?} has no row, and the Envoy that sent it was not killed");
        };
        received.answered_at.map_or(Duration::ZERO, |answered| {
            kill.at.saturating_duration_since(answered)
        })
    }
}

async fn rows(books: &Books, scene: &Scene<'_>) -> Vec<Row> {
    let sql = format!(
        "SELECT toString(event_id), revision, toString(usage_source), cost_nanos FROM api_events
         WHERE workspace_id = '{}' AND status_code != 404 FORMAT TSV",
        scene.workspace_id
    );
    let lines = books.query(&sql).await;
    let row = |line: &String| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("four fields").to_owned();
        Row {
            id: next(),
            is_revision: next() != "0",
            usage_source: next(),
            cost_nanos: next().parse().expect("a number"),
        }
    };
    lines.iter().map(row).collect()
}

async fn ledger(books: &Books, scene: &Scene<'_>) -> i64 {
    let sql = format!(
        "SELECT sum(cost_nanos) FROM spend_ledger WHERE workspace_id = '{}' AND subject_kind = 'workspace'",
        scene.workspace_id
    );
    books.number(&sql).await
}
