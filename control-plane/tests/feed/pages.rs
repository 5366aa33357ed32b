//! Full answers in pages, from any replica, and what a client is told when they leave much out.

use crate::replica::{
    DEADLINE, Replica, after, filter, hanging, make_api, make_key, operator_token, own_token,
};
use crate::support::app::{App, Person, START_MS};
use rateguard_control_plane::db::feed::let_shrink_until;
use rateguard_wire::v1::{PollRequest, PollResponse, ResourceType};
use std::collections::BTreeSet;
use tokio::time::{Instant, timeout};

const PAGE_BYTES: u32 = 16 * 1024;

/// Keys written as no REST call would, all at once.
pub(crate) async fn import_keys(app: &App, person: &Person, count: i32) {
    sqlx::query(
        "WITH v AS (UPDATE feed_version SET version = version + 1 RETURNING version),
              k AS (INSERT INTO api_key (id, workspace_id, name, environment, prefix, created_at, updated_at,
                                         feed_version)
                    SELECT gen_random_uuid(), $1, 'k', 'live', 'rg_live_xxxx', now(), now(), version
                    FROM v, generate_series(1, $2) RETURNING id)
         INSERT INTO api_key_secret (api_key_id, sha256, created_at) SELECT id, sha256(uuid_send(id)), now() FROM k",
    )
    .bind(person.workspace_id.parse::<uuid::Uuid>().unwrap())
    .bind(count)
    .execute(&app.db)
    .await
    .unwrap();
}

fn paged(request: PollRequest) -> PollRequest {
    PollRequest {
        page_bytes: PAGE_BYTES,
        ..request
    }
}

fn next(page: &PollResponse) -> PollRequest {
    PollRequest {
        page: page.next_page.clone(),
        ..paged(filter())
    }
}

#[tokio::test]
async fn pages_from_two_replicas_are_the_whole_and_deltas_go_on_from_the_first() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    make_api(&app, &ada, "openai").await;
    let early = make_key(&app, &ada).await;
    import_keys(&app, &ada, 900).await;
    let token = operator_token(&app).await;
    let replicas = [Replica::start(&app).await, Replica::start(&app).await];
    let whole = replicas[0].poll(&token, filter()).await;
    let first = replicas[0].poll(&token, paged(filter())).await;
    assert!(first.full && first.page.is_empty() && !first.next_page.is_empty());
    assert_eq!((first.workspaces.len(), first.apis.len()), (1, 1));

    // What changes while the pages come is in the delta from the first page's version on.
    app.delete(&ada.path(&format!("/keys/{early}")), &ada.token).await;
    let late = make_key(&app, &ada).await;
    for replica in &replicas {
        replica.caught_up(&app).await;
    }
    let mut keys: BTreeSet<Vec<u8>> = first.keys.iter().map(|key| key.id.clone()).collect();
    let mut page = first.clone();
    let mut count = 1;
    while !page.next_page.is_empty() {
        let request = next(&page);
        let asked = request.page.clone();
        page = replicas[count % 2].poll(&token, request).await;
        assert_eq!(
            (page.full, page.page.as_str(), &page.version),
            (true, asked.as_str(), &first.version)
        );
        keys.extend(page.keys.iter().map(|key| key.id.clone()));
        count += 1;
    }
    assert!(count > 4, "{count}");
    let delta = replicas[1].poll(&token, paged(after(&page))).await;
    assert!(!delta.full);
    for gone in delta
        .removals
        .iter()
        .filter(|gone| gone.r#type() == ResourceType::Key)
    {
        keys.remove(&gone.id);
    }
    keys.extend(delta.keys.iter().map(|key| key.id.clone()));
    let bytes = |id: &str| id.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec();
    let mut expected: BTreeSet<Vec<u8>> = whole.keys.iter().map(|key| key.id.clone()).collect();
    expected.remove(&bytes(&early));
    expected.insert(bytes(&late));
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_page_of_another_history_starts_over_and_large_changes_come_in_pages() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let small = replica.poll(&token, paged(filter())).await;
    assert!(small.full && small.next_page.is_empty());
    import_keys(&app, &ada, 4_000).await;
    replica.caught_up(&app).await;
    let large = replica.poll(&token, paged(after(&small))).await;
    assert!(large.full && !large.next_page.is_empty());
    for page in ["x", "0123456789abcdef.1/3/00", &format!("{}/3/zz", large.version)] {
        let request = PollRequest {
            page: page.into(),
            ..paged(filter())
        };
        let over = replica.poll(&token, request).await;
        assert!(over.full && over.page.is_empty(), "{page}");
        assert_eq!(over.workspaces.len(), 1);
    }
}

#[tokio::test]
async fn a_full_answer_says_what_is_rightly_gone_and_what_the_operator_allows() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let key = make_key(&app, &ada).await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let known = replica.poll(&token, paged(filter())).await;
    app.delete(&ada.path(&format!("/keys/{key}")), &ada.token).await;
    import_keys(&app, &ada, 4_000).await;
    replica.caught_up(&app).await;
    let full = replica.poll(&token, paged(after(&known))).await;
    assert!(full.full && !full.may_shrink);
    let gone: Vec<_> = full.removals.iter().map(|gone| gone.id.clone()).collect();
    assert_eq!(gone, [key.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec()]);

    let_shrink_until(&app.db, START_MS + 60_000).await.unwrap();
    replica.caught_up(&app).await;
    assert!(replica.poll(&token, paged(filter())).await.may_shrink);
    // One that was refused is offered again at once.
    let nack = PollRequest {
        nack_reason: "it would leave 1 of 20 keys".into(),
        nonce: replica.poll(&token, paged(filter())).await.nonce,
        wait_ms: 25_000,
        ..paged(filter())
    };
    assert!(replica.poll(&token, nack).await.may_shrink);
    app.clock.advance_ms(60_000);
    assert!(!replica.poll(&token, paged(filter())).await.may_shrink);
}

/// Follows the feed until it has told a key of this workspace; gives how many answers that took.
async fn until_told(replica: &Replica, token: &str, known: &PollResponse, workspace_id: &[u8]) -> usize {
    let mut request = hanging(paged(after(known)));
    let mut answers = 0;
    loop {
        let answer = replica.poll(token, request).await;
        answers += 1;
        if answer.keys.iter().any(|key| key.workspace_id == workspace_id) {
            return answers;
        }
        request = if answer.next_page.is_empty() {
            hanging(paged(after(&answer)))
        } else {
            next(&answer)
        };
    }
}

#[tokio::test]
async fn ti_08_a_large_import_does_not_hold_back_what_another_workspace_changes() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let everybodys = operator_token(&app).await;
    let (bobs, _) = own_token(&app, &bob).await;
    let replica = Replica::start(&app).await;
    replica.caught_up(&app).await;
    let bobs_id = bob
        .workspace_id
        .parse::<uuid::Uuid>()
        .unwrap()
        .as_bytes()
        .to_vec();
    let known = [
        replica.poll(&everybodys, paged(filter())).await,
        replica.poll(&bobs, paged(filter())).await,
    ];
    let started = Instant::now();
    let change = async {
        // At the same moment: whichever commits first, both followers see Bob's key.
        tokio::join!(import_keys(&app, &ada, 20_000), make_key(&app, &bob));
        started.elapsed()
    };
    let by_all = async {
        let answers = until_told(&replica, &everybodys, &known[0], &bobs_id).await;
        (answers, started.elapsed())
    };
    let by_own = async {
        let answers = until_told(&replica, &bobs, &known[1], &bobs_id).await;
        (answers, started.elapsed())
    };
    let all = async { tokio::join!(change, by_all, by_own) };
    let (written, by_all, by_own) = timeout(DEADLINE, all).await.expect("Bob's key is told");
    println!(
        "written after {written:?}; told (answers, after): everybody's {by_all:?}, Bob's own {by_own:?}"
    );
    // What Ada imported is no business of Bob's data plane: neither a page nor a waking.
    assert!(by_own.0 <= 2, "{by_own:?}");
}
