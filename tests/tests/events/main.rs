//! Events from the gateway into ClickHouse, on each bus: none lost, none twice. One Stack per bus for all tests.

mod books;
mod bus;
mod chaos;
mod client;
mod outages;
mod refusals;
mod suite;

use books::Books;
use bus::Bus;
use rateguard_tests::stack::{Link, Stack};
use tokio::sync::{OnceCell, RwLock};

/// Tests that break a part have their bus' Stack for themselves.
static BREAKING: [RwLock<()>; 2] = [const { RwLock::const_new(()) }; 2];

fn breaking(bus: Bus) -> &'static RwLock<()> {
    let [redis, kafka] = &BREAKING;
    match bus {
        Bus::Redis => redis,
        Bus::Kafka => kafka,
    }
}

/// The one Stack of a bus. It ends with this process.
async fn books(bus: Bus) -> Books {
    static REDIS: OnceCell<&'static Stack> = OnceCell::const_new();
    static KAFKA: OnceCell<&'static Stack> = OnceCell::const_new();
    let builder = Stack::builder()
        .durable()
        .clickhouse()
        .proxied(Link::ControlPlaneToClickHouse);
    let (cell, builder) = match bus {
        Bus::Redis => (&REDIS, builder),
        Bus::Kafka => (&KAFKA, builder.kafka()),
    };
    let start = async || builder.start().await.expect("the Stack starts").share();
    let stack = cell.get_or_init(start).await;
    Books { stack, bus }
}

/// Every test of the suite, on one bus.
macro_rules! on {
    ($name:ident, $bus:expr) => {
        mod $name {
            use crate::bus::Bus;
            use crate::{books, breaking, chaos, outages, refusals, suite};

            #[tokio::test]
            async fn a_request_is_visible_within_seconds() {
                let _shared = breaking($bus).read().await;
                suite::visible(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_02_a_report_that_comes_twice_is_stored_once() {
                let _shared = breaking($bus).read().await;
                suite::twice(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_09_a_client_that_leaves_early_is_billed() {
                let _shared = breaking($bus).read().await;
                suite::left_early(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_10_events_of_another_workspace_are_refused_whole() {
                let _shared = breaking($bus).read().await;
                suite::forged(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_11_odd_texts_and_times_are_stored_safely() {
                let _shared = breaking($bus).read().await;
                suite::odd(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_12_poison_becomes_a_dead_letter_and_holds_up_nothing() {
                let _shared = breaking($bus).read().await;
                suite::poison(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_13_upstream_log_rows_redis_and_ledger_agree_to_the_nano() {
                let _shared = breaking($bus).read().await;
                suite::agree(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_01_events_outlast_a_limit_service_that_is_away() {
                let _alone = breaking($bus).write().await;
                outages::limits_away(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_03_a_bus_that_is_away_acknowledges_nothing_and_gets_everything() {
                let _alone = breaking($bus).write().await;
                outages::bus_away(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_03_a_bus_with_a_full_disk_acknowledges_nothing_and_gets_everything() {
                let _alone = breaking($bus).write().await;
                refusals::disk_full(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_05_a_limit_service_killed_with_reports_under_way_loses_and_doubles_none() {
                let _alone = breaking($bus).write().await;
                outages::producer_killed(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_06_a_consumer_that_reads_again_what_it_stored_stores_once() {
                let _alone = breaking($bus).write().await;
                outages::consumer_killed(&books($bus).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ev_13_books_agree_after_every_part_was_killed_under_load() {
                // On a Stack of its own.
                chaos::run($bus).await;
            }

            #[tokio::test]
            async fn ev_06_a_consumer_killed_between_insert_and_acknowledgement_stores_once() {
                let _alone = breaking($bus).write().await;
                outages::killed_before_the_answer(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_03_a_consumer_ends_when_it_is_told_though_its_bus_is_away() {
                let _alone = breaking($bus).write().await;
                outages::stopped_without_bus(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_06_consumers_that_come_and_go_and_die_share_without_loss() {
                let _alone = breaking($bus).write().await;
                outages::rebalanced(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_08_clickhouse_away_is_caught_up_with_each_once() {
                let _alone = breaking($bus).write().await;
                outages::clickhouse_away(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_08_a_slow_clickhouse_whose_answer_is_lost_stores_once() {
                let _alone = breaking($bus).write().await;
                outages::clickhouse_slow(&books($bus).await).await;
            }

            #[tokio::test]
            async fn ev_08_too_many_parts_are_waited_out_without_dead_letters() {
                let _alone = breaking($bus).write().await;
                refusals::too_many_parts(&books($bus).await).await;
            }
        }
    };
}

on!(redis, Bus::Redis);
on!(kafka, Bus::Kafka);

#[tokio::test]
async fn ev_03_a_redis_without_memory_acknowledges_nothing_and_gets_everything() {
    let _alone = breaking(Bus::Redis).write().await;
    refusals::redis_set(&books(Bus::Redis).await, "maxmemory").await;
}

#[tokio::test]
async fn ev_03_a_redis_without_replicas_acknowledges_nothing_and_gets_everything() {
    let _alone = breaking(Bus::Redis).write().await;
    refusals::redis_set(&books(Bus::Redis).await, "min-replicas-to-write").await;
}

#[tokio::test]
async fn ev_03_a_kafka_without_enough_replicas_acknowledges_nothing_and_gets_everything() {
    // On a Stack of its own.
    refusals::too_few_replicas().await;
}

#[tokio::test]
async fn the_doctor_tells_of_kafkas_topic_and_what_waits_in_it() {
    let _shared = breaking(Bus::Kafka).read().await;
    suite::examined(&books(Bus::Kafka).await).await;
}
