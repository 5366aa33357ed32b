//! Redis killed, emptied of scripts, back again.

use crate::{BUSY, eventually, governed};
use rateguard_tests::scene::{Answer, Scene};
use rateguard_tests::stack::{Part, Stack};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn rl_08_redis_killed_means_degraded_and_nothing_is_lost() {
    let stack = Stack::builder()
        .durable()
        .start()
        .await
        .expect("the Stack starts");
    let scene = Scene::new(&stack).await.unwrap();
    scene.openai(stack.stub().addr()).await.unwrap();
    scene.flat(stack.stub().addr(), "1").await.unwrap();
    // Hard: BOUNDED_OPEN while Redis is away.
    scene.hard_budget(json!(50)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let mut spent = 0;
    for _ in 0..5 {
        assert_eq!(Answer::of(scene.flat_request(&key)).await.status, 200);
        spent += 1;
    }
    eventually("settled", Duration::from_secs(10), async || {
        scene
            .costs()
            .await
            .is_ok_and(|c| c["currentSpendCents"] == json!(spent))
    })
    .await;

    stack.kill(Part::Redis);
    let mut degraded = 0;
    for _ in 0..100 {
        let answer = Answer::of(scene.flat_request(&key)).await;
        match answer.status {
            200 => {
                assert_eq!(
                    answer.header("x-rateguard-degraded"),
                    "true",
                    "{:#?}",
                    answer.headers
                );
                degraded += 1;
            }
            402 => {}
            other => panic!("{other}: {}", answer.text),
        }
    }
    // 45 were left: the share may be smaller, never larger.
    assert!(
        (1..=45).contains(&degraded),
        "{degraded} admitted while Redis was away"
    );
    let ready = Answer::of(
        stack
            .client()
            .get(format!("http://{}/ready", stack.addresses().limits_http)),
    )
    .await;
    assert_eq!(
        (ready.status, ready.json()["status"].clone()),
        (200, json!("degraded")),
        "{}",
        ready.text
    );

    stack.restart(Part::Redis).await.expect("Redis comes back");
    let back = Instant::now();
    eventually("not degraded", Duration::from_secs(5) + BUSY, async || {
        let answer = Answer::of(scene.flat_request(&key)).await;
        if answer.status == 200 {
            spent += 1;
        }
        answer.status == 200 && answer.header("x-rateguard-degraded").is_empty()
    })
    .await;
    println!("used again {:?} after it came back", back.elapsed());
    eventually(
        "the spend of the outage is in the ledger",
        Duration::from_secs(30),
        async || {
            scene.costs().await.is_ok_and(|c| {
                c["currentSpendCents"] == json!(spent + degraded) && c["reservedCents"] == json!(0)
            })
        },
    )
    .await;
}

#[tokio::test]
async fn rl_12_script_flush_under_load_is_not_noticed() {
    let stack = Stack::start().await.expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    let flushing = async {
        for _ in 0..20 {
            stack
                .redis_command(&["SCRIPT", "FLUSH"])
                .await
                .expect("SCRIPT FLUSH");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asking = async {
        for _ in 0..100 {
            let answer = Answer::of(scene.chat(&key)).await;
            assert_eq!(
                (answer.status, answer.header("x-rateguard-degraded")),
                (200, ""),
                "{}",
                answer.text
            );
        }
    };
    tokio::join!(flushing, asking);
}
