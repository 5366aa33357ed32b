//! The event bus on a real Kafka broker: what the limit service acknowledges is there, whatever happens to the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use prost::Message as _;
use rateguard_tests::stack::ports::{self, loopback};
use rateguard_tests::stack::process::Process;
use rateguard_tests::stack::services::Limits;
use rateguard_tests::stack::{artifacts, kafka, wait};
use rateguard_wire::v1;
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tonic::transport::Channel;
use tonic::{Code, Status};

const TOKEN: &str = "rgdp_SERVICEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const TOPIC: &str = "api-events";
const PARTITIONS: i32 = 16;
const WITHIN: Duration = Duration::from_secs(60);

/// A limit service with a broker as its bus, and nothing else. `KAFKA_BROKERS` is not used here: brokers die.
struct Bus {
    folder: tempfile::TempDir,
    broker_port: u16,
    controller_port: u16,
    broker: Option<Process>,
    _limits: Process,
    client: LimitServiceClient<Channel>,
}

impl Bus {
    async fn start() -> Self {
        let mut bus = Self::without_broker().await;
        bus.start_broker().await;
        bus
    }

    async fn without_broker() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (broker_port, controller_port) = (ports::free().unwrap(), ports::free().unwrap());
        let (grpc, http) = (loopback(ports::free().unwrap()), loopback(ports::free().unwrap()));
        let service = Limits {
            grpc,
            http,
            redis: None,
            // Nobody is there: the service's own token is all that this needs.
            control_plane: loopback(ports::free().unwrap()),
            token: TOKEN.to_owned(),
            extra: BTreeMap::from([
                ("KAFKA_BROKERS".to_owned(), loopback(broker_port).to_string()),
                ("KAFKA_TOPIC".to_owned(), TOPIC.to_owned()),
            ]),
        };
        let program = artifacts::programs().unwrap().limits;
        let mut limits = service
            .serve("limits", &program, &folder.path().join("limits.log"))
            .unwrap();
        let endpoint = Channel::from_shared(format!("http://{grpc}")).unwrap();
        wait::ready(&mut limits, WITHIN, async || {
            endpoint.connect().await?;
            Ok(())
        })
        .await
        .unwrap();
        Self {
            broker_port,
            controller_port,
            broker: None,
            _limits: limits,
            client: LimitServiceClient::new(endpoint.connect_lazy()),
            folder,
        }
    }

    async fn start_broker(&mut self) {
        let (data, log) = (
            self.folder.path().join("kafka"),
            self.folder.path().join("kafka.log"),
        );
        let started = kafka::start(&data, &log, self.broker_port, self.controller_port).await;
        self.broker = Some(started.unwrap());
    }

    fn broker(&mut self) -> &mut Process {
        self.broker.as_mut().expect("the broker was started")
    }

    async fn report(&self, range: std::ops::Range<u16>) -> Result<u32, Status> {
        self.report_events(range.map(event).collect()).await
    }

    async fn report_events(&self, events: Vec<v1::RequestEvent>) -> Result<u32, Status> {
        let mut request = tonic::Request::new(v1::ReportUsageRequest {
            node_id: "envoy-1".into(),
            events,
            ..v1::ReportUsageRequest::default()
        });
        let token = format!("Bearer {TOKEN}").parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let answer = self.client.clone().report_usage(request).await?;
        Ok(answer.into_inner().accepted)
    }

    /// As the filter's outbox does: again, until it is heard.
    async fn report_until_heard(&self, range: std::ops::Range<u16>) {
        wait::until("the report to be acknowledged", WITHIN, async || {
            let accepted = self.report(range.clone()).await?;
            anyhow::ensure!(accepted as usize == range.len(), "{accepted} accepted");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Every record of the topic: partition, key, node and event.
    fn records(&self) -> Vec<(i32, Vec<u8>, String, v1::RequestEvent)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", loopback(self.broker_port).to_string())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let (mut assignment, mut left) = (TopicPartitionList::new(), 0);
        for partition in 0..PARTITIONS {
            assignment
                .add_partition_offset(TOPIC, partition, Offset::Beginning)
                .unwrap();
            let (low, high) = consumer.fetch_watermarks(TOPIC, partition, WITHIN).unwrap();
            left += high - low;
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, deadline) = (Vec::new(), Instant::now() + WITHIN);
        while (records.len() as i64) < left {
            assert!(Instant::now() < deadline, "{} of {left} records", records.len());
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            let message = message.unwrap();
            let node = message.headers().unwrap().get(0).value.unwrap();
            records.push((
                message.partition(),
                message.key().unwrap().to_vec(),
                String::from_utf8(node.to_vec()).unwrap(),
                v1::RequestEvent::decode(message.payload().unwrap()).unwrap(),
            ));
        }
        records
    }
}

fn id(n: u16) -> Vec<u8> {
    let mut id = vec![0x70; 16];
    id[14..].copy_from_slice(&n.to_be_bytes());
    id
}

fn event(n: u16) -> v1::RequestEvent {
    v1::RequestEvent {
        event_id: id(n),
        workspace_id: vec![(n % 3) as u8 + 1; 16],
        endpoint: "/v1/chat/completions".into(),
        cost_nanos: n.into(),
        ..v1::RequestEvent::default()
    }
}

/// Event ids with how often each came; fails when two records of an id differ.
fn counted(records: &[(i32, Vec<u8>, String, v1::RequestEvent)]) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for (.., event) in records {
        *counts.entry(event.event_id.clone()).or_default() += 1;
        let first = seen.entry(event.event_id.clone()).or_insert(event);
        assert_eq!(*first, event);
    }
    counts
}

fn ids(range: std::ops::Range<u16>) -> BTreeSet<Vec<u8>> {
    range.map(id).collect()
}

#[tokio::test]
async fn a_workspace_keeps_its_partition_and_its_order() {
    let bus = Bus::start().await;
    bus.report_until_heard(0..100).await;
    let records = bus.records();
    assert_eq!(records.len(), 100);
    let mut partitions = BTreeMap::<Vec<u8>, BTreeSet<i32>>::new();
    for (partition, key, node, event) in &records {
        assert_eq!((key, node.as_str()), (&event.workspace_id, "envoy-1"));
        partitions.entry(key.clone()).or_default().insert(*partition);
    }
    assert!(
        partitions.values().all(|places| places.len() == 1),
        "{partitions:?}"
    );
    for key in partitions.keys() {
        let of_key = records.iter().filter(|(_, other, ..)| other == key);
        let costs: Vec<i64> = of_key.map(|(.., event)| event.cost_nanos).collect();
        assert!(costs.is_sorted(), "{costs:?}");
    }
}

#[tokio::test]
async fn ev_02_a_report_whose_answer_was_lost_comes_again_under_the_same_ids() {
    let mut bus = Bus::start().await;
    bus.report_until_heard(0..10).await;
    bus.broker().freeze().unwrap();
    // The caller gives up before the broker has answered.
    let lost = tokio::time::timeout(Duration::from_millis(500), bus.report(10..20)).await;
    assert!(lost.is_err(), "{lost:?}");
    bus.broker().thaw().unwrap();
    bus.report_until_heard(10..20).await;
    let counts = counted(&bus.records());
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), ids(0..20));
    assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
}

#[tokio::test]
async fn ev_03_a_killed_broker_acknowledges_nothing_and_keeps_what_it_did() {
    let mut bus = Bus::start().await;
    for start in (0..500).step_by(100) {
        bus.report_until_heard(start..start + 100).await;
    }
    bus.broker().kill();
    let started = Instant::now();
    let refused = bus.report(500..600).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    // The filter's outbox waits 5 s: it must hear of it.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    bus.start_broker().await;
    bus.report_until_heard(500..600).await;
    let counts = counted(&bus.records());
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), ids(0..600));
    let acknowledged = (0..500).map(id);
    assert!(acknowledged.into_iter().all(|id| counts[&id] == 1), "once per id");
}

#[tokio::test]
async fn ev_12_an_event_that_no_broker_takes_does_not_hold_up_the_others() {
    let bus = Bus::start().await;
    bus.report_until_heard(0..1).await;
    let mut huge = event(1);
    huge.endpoint = "/".repeat(1_100_000);
    bus.report_events(vec![huge, event(2)]).await.unwrap();
    let counts = counted(&bus.records());
    assert_eq!(
        counts.keys().cloned().collect::<BTreeSet<_>>(),
        BTreeSet::from([id(0), id(2)])
    );
}

#[tokio::test]
async fn the_service_starts_without_its_broker_and_makes_the_topic_later() {
    let mut bus = Bus::without_broker().await;
    let refused = bus.report(0..10).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    bus.start_broker().await;
    bus.report_until_heard(0..10).await;
    let counts = counted(&bus.records());
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), ids(0..10));
}
