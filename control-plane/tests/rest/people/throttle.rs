//! Guessing passwords is slow, and locks nobody out.

use super::{behind_a_proxy, call, log_in};
use crate::support::app::{App, PASSWORD};
use axum::http::{Method, StatusCode, header};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::Cell;

const HOME: [(&str, &str); 1] = [("x-forwarded-for", "198.51.100.1")];
const ATTACKER: [(&str, &str); 1] = [("x-forwarded-for", "203.0.113.66")];

async fn register_at_home(app: &App) -> String {
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "ada"});
    let made = call(app, Method::POST, "/api/auth/register", &HOME, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.cookie()
}

#[tokio::test]
async fn au_12_guessing_slows_down_and_the_owner_gets_in() {
    let app = behind_a_proxy().await;
    let cookie = register_at_home(&app).await;
    let mut told = Vec::new();
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            let wrong = log_in(&app, name, "a wrong guess", &ATTACKER).await;
            assert_eq!(wrong.problem().0, 401, "{name}");
        }
        let refused = log_in(&app, name, PASSWORD, &ATTACKER).await;
        assert_eq!(
            refused.problem(),
            (429, "too_many_requests".into(), vec![]),
            "{name}"
        );
        told.push((refused.headers[header::RETRY_AFTER].clone(), refused.body));
    }
    assert_eq!(told[0], told[1], "an address without an account is told alike");
    assert_eq!(told[0].0, "1");

    // From where the account is known, and from the attacker's own network with the browser's cookie.
    assert_eq!(log_in(&app, "ada", PASSWORD, &HOME).await.status, StatusCode::OK);
    let browser = [ATTACKER[0], ("cookie", cookie.as_str())];
    assert_eq!(
        log_in(&app, "ada", PASSWORD, &browser).await.status,
        StatusCode::OK
    );

    // The delay doubles; waiting it out gives one more guess.
    app.clock.advance_ms(1_000);
    assert_eq!(
        log_in(&app, "ada", "a wrong guess", &ATTACKER).await.problem().0,
        401
    );
    let refused = log_in(&app, "ada", PASSWORD, &ATTACKER).await;
    assert_eq!(refused.headers[header::RETRY_AFTER], "2");
    app.clock.advance_ms(2_000);
    let right = log_in(&app, "ada", PASSWORD, &ATTACKER).await;
    assert_eq!(right.status, StatusCode::OK, "the right password at last");
    for _ in 0..5 {
        let wrong = log_in(&app, "ada", "a wrong guess", &ATTACKER).await;
        assert_eq!(wrong.problem().0, 401, "a success clears the count");
    }
}

#[tokio::test]
async fn au_12_many_addresses_together_are_bound_and_known_ones_not() {
    let app = behind_a_proxy().await;
    let cookie = register_at_home(&app).await;
    sqlx::query(
        "INSERT INTO login_failure VALUES (sha256('ada@example.com'), '*', 60, to_timestamp($1 / 1000.0))",
    )
    .bind(crate::support::app::START_MS as f64)
    .execute(&app.db)
    .await
    .unwrap();
    let fresh = [("x-forwarded-for", "203.0.113.200")];
    assert_eq!(log_in(&app, "ada", PASSWORD, &fresh).await.problem().0, 429);
    let known = [fresh[0], ("cookie", cookie.as_str())];
    assert_eq!(log_in(&app, "ada", PASSWORD, &known).await.status, StatusCode::OK);
    assert_eq!(log_in(&app, "ada", PASSWORD, &HOME).await.status, StatusCode::OK);
    app.clock.advance_ms(60_000);
    assert_eq!(log_in(&app, "ada", PASSWORD, &fresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn au_12_spraying_from_one_network_is_429_before_anything_is_asked() {
    let app = behind_a_proxy().await;
    let guesses = (0..80).map(|n| {
        let app = &app;
        async move {
            log_in(
                app,
                &format!("user{n}"),
                "a wrong guess",
                &[("x-forwarded-for", "2001:db8::1")],
            )
            .await
            .status
        }
    });
    let statuses = join_all(guesses).await;
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    // The whole /64 is one network; what was refused for want of a hash was given back.
    let asked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM login_failure WHERE origin = 'ip:2001:db8::' AND failure_count > 0",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!((1..=60).contains(&asked), "{asked}");
}

#[tokio::test]
async fn au_13_a_login_flood_is_429_at_once_and_others_are_answered_meanwhile() {
    let app = behind_a_proxy().await;
    let ada = app.register("ada").await;
    let hashed = Cell::new(0);
    let logins = (0..200).map(|n| {
        let (app, hashed) = (&app, &hashed);
        async move {
            let address = format!("203.0.{}.{}", 113 + n / 100, n % 100);
            let answer = log_in(
                app,
                &format!("user{n}"),
                "a wrong guess",
                &[("x-forwarded-for", &address)],
            )
            .await;
            if answer.status == StatusCode::UNAUTHORIZED {
                hashed.set(hashed.get() + 1);
            }
            answer.status
        }
    });
    let others = async {
        let mut most = 0;
        for _ in 0..10 {
            let answer = app.get(&ada.path("/keys"), &ada.token).await;
            assert_eq!(answer.status, StatusCode::OK);
            most = hashed.get();
        }
        most
    };
    let (statuses, hashed_meanwhile) = tokio::join!(join_all(logins), others);
    let refused = statuses
        .iter()
        .filter(|s| **s == StatusCode::TOO_MANY_REQUESTS)
        .count();
    assert_eq!(refused + hashed.get(), 200, "{statuses:?}");
    assert!(refused >= 100, "{refused} refused");
    assert!(
        hashed_meanwhile < hashed.get(),
        "reads waited for the flood: {hashed_meanwhile} of {} hashes",
        hashed.get()
    );
}
