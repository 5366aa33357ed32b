//! Migrations only expand: a program of the version before goes on while they run and after (CP-10).

use crate::replica::{DEADLINE, eventually};
use crate::support::postgres;
use rateguard_control_plane::db::migrate;
use rateguard_control_plane::serve::MIGRATOR;
use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use uuid::Uuid;

/// Statements that do more than add, each with why the version before does not notice: (migration, how it begins, why).
const EXCEPTIONS: &[(i64, &str, &str)] = &[(
    20_261_122_000_051,
    "DO BEGIN IF NOT EXISTS (SELECT FROM pg_roles",
    "a role that no version before knows",
)];

/// What a migration may begin a statement with. `CREATE INDEX` on a table that is there blocks its writers for as long
/// as it takes, so that one has to be argued.
const ADDING: &[&str] = &[
    "CREATE TABLE ",
    "CREATE FUNCTION ",
    "CREATE TRIGGER ",
    "INSERT INTO ",
    "UPDATE ",
    "COMMENT ",
    "GRANT ",
    "CREATE POLICY ",
];

/// What no `ALTER TABLE` may have besides `ADD COLUMN`.
const NARROWING: &[&str] = &[
    "DROP ",
    "RENAME ",
    "ALTER COLUMN",
    "ADD CONSTRAINT",
    "ADD CHECK",
    "ADD UNIQUE",
    "ADD PRIMARY",
    "ADD FOREIGN",
    "SET NOT NULL",
    "SET DATA",
];

fn migrations() -> impl Iterator<Item = &'static Migration> {
    MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
}

/// A script's statements without comments, each on one line. Bodies of functions stay whole.
fn statements(sql: &str) -> Vec<String> {
    let without_comments: String = sql
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
        .fold(String::new(), |text, line| text + line + " ");
    let mut found = vec![String::new()];
    for (number, part) in without_comments.split("$$").enumerate() {
        // Odd parts stand between two $$.
        let pieces: Vec<&str> = if number % 2 == 1 {
            vec![part]
        } else {
            part.split(';').collect()
        };
        for (place, piece) in pieces.into_iter().enumerate() {
            if place > 0 {
                found.push(String::new());
            }
            let words: Vec<&str> = piece.split_whitespace().collect();
            if let Some(last) = found.last_mut() {
                last.push_str(&words.join(" "));
                last.push(' ');
            }
        }
    }
    found
        .into_iter()
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

fn only_adds(statement: &str, is_new: impl Fn(&str) -> bool) -> bool {
    let upper = statement.to_uppercase();
    if upper.starts_with("ALTER TABLE ") {
        return upper.contains(" ADD COLUMN ") && !NARROWING.iter().any(|word| upper.contains(word));
    }
    if upper.starts_with("CREATE INDEX ") || upper.starts_with("CREATE UNIQUE INDEX ") {
        let table = statement
            .split(" ON ")
            .nth(1)
            .and_then(|rest| rest.split([' ', '(']).next());
        return table.is_some_and(is_new);
    }
    ADDING.iter().any(|start| upper.starts_with(start))
}

#[test]
fn cp_10_every_migration_after_the_first_only_adds() {
    let mut used = 0;
    for migration in migrations().skip(1) {
        let statements = statements(&migration.sql);
        let is_new = |table: &str| {
            let made = format!("CREATE TABLE {table} ");
            statements.iter().any(|statement| statement.starts_with(&made))
        };
        // Row-level security shuts everybody out whom no policy lets in.
        let lets_in = |statement: &str| {
            let secured = statement.strip_prefix("ALTER TABLE ");
            let table = secured.and_then(|rest| rest.strip_suffix(" ENABLE ROW LEVEL SECURITY"));
            table.is_some_and(|table| {
                let policy =
                    format!("CREATE POLICY tenant ON {table} USING (current_user <> 'rateguard_tenant' OR ");
                statements.iter().any(|statement| statement.starts_with(&policy))
            })
        };
        for statement in &statements {
            let argued = EXCEPTIONS
                .iter()
                .filter(|(version, start, _)| *version == migration.version && statement.starts_with(start))
                .count();
            used += argued;
            assert!(
                argued > 0 || lets_in(statement) || only_adds(statement, is_new),
                "migration {}: the version before may not survive this, see EXCEPTIONS: {statement}",
                migration.version
            );
        }
    }
    assert_eq!(used, EXCEPTIONS.len(), "an exception is for nothing");
}

#[test]
fn what_narrows_is_seen() {
    let found = statements(
        "-- DROP TABLE a;\nALTER TABLE a ADD COLUMN b text; ALTER TABLE a\n  DROP COLUMN c;
         CREATE FUNCTION f() AS $$ BEGIN; DELETE; END $$; CREATE INDEX i ON a (b)",
    );
    assert_eq!(
        found,
        [
            "ALTER TABLE a ADD COLUMN b text",
            "ALTER TABLE a DROP COLUMN c",
            "CREATE FUNCTION f() AS BEGIN; DELETE; END",
            "CREATE INDEX i ON a (b)"
        ]
    );
    let verdicts: Vec<bool> = found.iter().map(|one| only_adds(one, |_| false)).collect();
    assert_eq!(verdicts, [true, false, true, false]);
    assert!(only_adds("CREATE INDEX i ON a (b)", |table| table == "a"));
    for narrowing in [
        "DROP TABLE a",
        "TRUNCATE a",
        "DELETE FROM a",
        "ALTER TABLE a ADD COLUMN b text, RENAME c TO d",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (d > 0)",
    ] {
        assert!(!only_adds(narrowing, |_| true), "{narrowing}");
    }
}

/// A database with nothing in it.
async fn empty_database() -> PgConnection {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "rateguard_bare_{}_{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let mut admin = PgConnection::connect(&postgres::url("postgres")).await.unwrap();
    admin
        .execute(format!("CREATE DATABASE {name}").as_str())
        .await
        .unwrap();
    PgConnection::connect(&postgres::url(&name)).await.unwrap()
}

async fn apply(db: &mut PgConnection, migration: &Migration) {
    let applied = sqlx::raw_sql(&migration.sql).execute(db).await;
    applied.unwrap_or_else(|error| panic!("migration {}: {error}", migration.version));
}

/// (table, column): its type, whether it may be NULL, whether a write may leave it out.
type Columns = BTreeMap<(String, String), (String, bool, bool)>;

async fn columns(db: &mut PgConnection) -> Columns {
    let rows: Vec<(String, String, String, bool, bool)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, udt_name::text, is_nullable = 'YES',
                is_nullable = 'YES' OR column_default IS NOT NULL
         FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(table, column, kind, is_nullable, is_optional)| {
            ((table, column), (kind, is_nullable, is_optional))
        })
        .collect()
}

/// What a write must hold to: constraints, unique indexes and triggers, by table and name, with the columns meant.
type Demands = BTreeMap<(String, String), Vec<String>>;

async fn demands(db: &mut PgConnection) -> Demands {
    let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(
        "SELECT t.relname::text, d.name::text,
                ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (d.columns))
         FROM (SELECT conrelid AS id, conname AS name, conkey AS columns FROM pg_constraint WHERE contype <> 'n'
               UNION ALL
               SELECT i.indrelid, c.relname, i.indkey::int2[] FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
               WHERE i.indisunique
               UNION ALL
               SELECT tgrelid, tgname, '{}' FROM pg_trigger WHERE NOT tgisinternal) d
         JOIN pg_class t ON t.oid = d.id WHERE t.relnamespace = 'public'::regnamespace",
    )
    .fetch_all(db)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(table, name, columns)| ((table, name), columns))
        .collect()
}

#[tokio::test]
async fn cp_10_what_the_version_before_reads_and_writes_stays_as_it_was() {
    let mut db = empty_database().await;
    let mut all = migrations();
    apply(&mut db, all.next().unwrap()).await;
    for migration in all {
        let (before, asked) = (columns(&mut db).await, demands(&mut db).await);
        apply(&mut db, migration).await;
        let (after, asks) = (columns(&mut db).await, demands(&mut db).await);
        let version = migration.version;
        for (place, (kind, is_nullable, is_optional)) in &before {
            let now = after.get(place);
            let (now_kind, now_nullable, now_optional) =
                now.unwrap_or_else(|| panic!("{version} takes {place:?} away"));
            assert_eq!(
                (kind, is_nullable),
                (now_kind, now_nullable),
                "{version}: {place:?}"
            );
            assert!(
                *now_optional || !is_optional,
                "{version}: {place:?} has to be given now"
            );
        }
        let is_old_table = |table: &str| before.keys().any(|(known, _)| known == table);
        for ((table, column), (_, _, is_optional)) in &after {
            let is_new = !before.contains_key(&(table.clone(), column.clone()));
            assert!(
                !(is_new && is_old_table(table)) || *is_optional,
                "{version}: writes of the version before leave {table}.{column} out"
            );
        }
        for ((table, name), of) in asks.iter().filter(|(place, _)| !asked.contains_key(*place)) {
            let concerns_old = of.is_empty()
                || of
                    .iter()
                    .any(|c| before.contains_key(&(table.clone(), c.clone())));
            assert!(
                !(is_old_table(table) && concerns_old),
                "{version}: {name} on {table} may refuse what the version before writes"
            );
        }
    }
}

/// One change as the first version made it, and the reading of it.
async fn old_change(db: &mut PgConnection, number: u64) -> Result<(), sqlx::Error> {
    let mut tx = db.begin().await?;
    let version: i64 = sqlx::query_scalar("UPDATE feed_version SET version = version + 1 RETURNING version")
        .fetch_one(&mut *tx)
        .await?;
    let id = Uuid::from_u128(number.into());
    sqlx::query(
        "INSERT INTO app_user (id, email, name, password_hash, created_at) VALUES ($1, $1::text, 'a', 'x', now())",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO workspace (id, slug, name, created_at, updated_at, feed_version)
         VALUES ($1, $1::text, 'a', now(), now(), $2)",
    )
    .bind(id)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO session (id, user_id, token_hash, expires_at, created_at)
         VALUES ($1, $1, sha256(uuid_send($1)), now(), now())",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO api (id, workspace_id, name, slug, base_url, auth_type, price_version, created_at, updated_at,
                          feed_version)
         VALUES ($1, $1, 'a', 'a', 'https://a.test', 'NONE', 'v', now(), now(), $2)",
    )
    .bind(id)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let read: (String, String) = sqlx::query_as(
        "SELECT w.slug, a.base_url FROM workspace w JOIN api a ON a.workspace_id = w.id
         WHERE w.id = $1 AND a.feed_version = $2",
    )
    .bind(id)
    .bind(version)
    .fetch_one(db)
    .await?;
    assert_eq!(read, (id.to_string(), "https://a.test".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp_10_a_program_of_the_first_version_works_while_migrations_run() {
    let mut db = empty_database().await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let options: PgConnectOptions = postgres::url(&name).parse().unwrap();
    let first = Migrator {
        migrations: migrations().take(1).cloned().collect(),
        ..Migrator::DEFAULT
    };
    migrate::run(&first, &options).await.unwrap();
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let program = tokio::spawn({
        let (done, stop) = (done.clone(), stop.clone());
        async move {
            // One connection, so that its prepared statements outlive every migration.
            let mut old = PgConnection::connect(&postgres::url(&name)).await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                old_change(&mut old, done.load(Ordering::Relaxed)).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let goes_on = async || {
        let (from, program) = (done.load(Ordering::Relaxed), &program);
        eventually("the program goes on", || async {
            program.is_finished() || done.load(Ordering::Relaxed) >= from + 5
        })
        .await;
        assert!(!program.is_finished(), "it failed");
    };
    goes_on().await;
    migrate::run(&MIGRATOR, &options).await.unwrap();
    goes_on().await;
    stop.store(true, Ordering::Relaxed);
    tokio::time::timeout(DEADLINE, program).await.unwrap().unwrap();
}
