use super::*;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_env(&|name| {
        variables
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.clone())
    })
}

fn production(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut variables = vec![
        ("DATABASE_URL", "postgres://u:p@localhost/db"),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("ENCRYPTION_KEY", KEY),
    ];
    for (name, value) in extra {
        variables.retain(|(n, _)| n != name);
        variables.push((name, value));
    }
    variables
}

#[test]
fn production_is_the_default_and_accepts_good_secrets() {
    let config = parse(&production(&[])).unwrap();
    assert_eq!(config.environment, Environment::Production);
    assert_eq!(config.listen_addr.to_string(), "127.0.0.1:3000");
    assert_eq!(
        &config.encryption_keys.current,
        b"0123456789abcdef0123456789abcdef"
    );
}

#[test]
fn production_refuses_missing_and_example_secrets_and_names_them_all() {
    let error = parse(&[("DATABASE_URL", "postgres://u@localhost/db")]).unwrap_err();
    let names: Vec<_> = error.0.iter().map(|p| p.variable).collect();
    assert_eq!(names, ["JWT_SECRET", "ENCRYPTION_KEY"]);
    for (name, example) in [
        ("JWT_SECRET", EXAMPLE_JWT_SECRET),
        ("ENCRYPTION_KEY", EXAMPLE_ENCRYPTION_KEY),
    ] {
        let error = parse(&production(&[(name, example)])).unwrap_err();
        assert_eq!(error.0[0].variable, name);
        assert!(error.to_string().contains("openssl rand"), "{error}");
    }
}

#[test]
fn development_does_without_secrets() {
    let config = parse(&[
        ("RATEGUARD_ENV", "development"),
        ("DATABASE_URL", "postgres://u@localhost/db"),
    ])
    .unwrap();
    assert_eq!(
        config.jwt_secret.kid(),
        SigningKey::parse(EXAMPLE_JWT_SECRET).unwrap().kid()
    );
}

#[test]
fn each_bad_value_is_named() {
    let table: &[(&'static str, &'static str)] = &[
        ("RATEGUARD_ENV", "staging"),
        ("DATABASE_URL", "mysql://u@localhost/db"),
        ("LISTEN_ADDR", "localhost"),
        ("JWT_SECRET", "short"),
        ("ENCRYPTION_KEY", "bm90IDMyIGJ5dGVz"),
        ("ENCRYPTION_KEY", "not base64!"),
        ("LIMITS_URL", "127.0.0.1:50051"),
        ("LIMITS_TOKEN", "secret"),
        ("GATEWAY_PUBLIC_URL", "gateway"),
        ("REGISTRATION", "yes"),
        ("LOG_FORMAT", "xml"),
        ("JWT_SECRET_PREVIOUS", "short"),
        ("JWT_SECRET_PREVIOUS", EXAMPLE_JWT_SECRET),
        ("CONSOLE_PUBLIC_URL", "console"),
        ("TRUSTED_PROXY_HOPS", "-1"),
    ];
    for (name, value) in table {
        let error = parse(&production(&[(name, value)])).unwrap_err();
        assert!(
            error.0.iter().any(|p| p.variable == *name),
            "{name}={value}: {error}"
        );
    }
}

#[test]
fn kafka_is_the_bus_where_brokers_are_named() {
    let with = |extra: &[(&'static str, &'static str)]| parse(&production(extra));
    let redis = ("REDIS_URL", "redis://127.0.0.1:6379/");
    let events = with(&[redis, ("KAFKA_BROKERS", "k1:9092, k2:9092,")])
        .unwrap()
        .events;
    let Some(EventBus::Kafka(kafka)) = events else {
        panic!("{events:?}");
    };
    assert_eq!(
        (kafka.brokers.as_str(), kafka.topic.as_str()),
        ("k1:9092,k2:9092", "api-events")
    );
    let events = with(&[redis, ("KAFKA_BROKERS", " ")]).unwrap().events;
    assert!(matches!(events, Some(EventBus::Redis(_))), "{events:?}");
    let variables = [
        ("RATEGUARD_ENV", "development"),
        ("CLICKHOUSE_URL", "http://127.0.0.1:8123/rateguard"),
        ("KAFKA_BROKERS", "k1:9092"),
    ];
    let lookup = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let alone = AnalyticsConfig::from_env(&lookup).unwrap();
    assert!(matches!(alone.events, EventBus::Kafka(_)), "needs no Redis");
    for (brokers, topic, variable) in [
        ("k1", "api-events", "KAFKA_BROKERS"),
        ("k1:9092", "api events", "KAFKA_TOPIC"),
    ] {
        let refused = with(&[("KAFKA_BROKERS", brokers), ("KAFKA_TOPIC", topic)]).unwrap_err();
        let variables: Vec<_> = refused.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(variables, [variable]);
    }
}

#[test]
fn mail_needs_a_server_and_a_sender_and_is_never_sent_in_the_clear_in_production() {
    let config = parse(&production(&[])).unwrap();
    assert!(config.smtp.is_none());
    for url in ["smtps://u:p@mail.test", "smtp://mail.test:587?tls=required"] {
        let config = parse(&production(&[
            ("SMTP_URL", url),
            ("SMTP_FROM", "RateGuard <rg@example.org>"),
        ]));
        assert!(config.unwrap().smtp.is_some(), "{url}");
    }
    let plain = [("SMTP_URL", "smtp://mail.test"), ("SMTP_FROM", "rg@example.org")];
    let error = parse(&production(&plain)).unwrap_err();
    assert_eq!(error.0[0].variable, "SMTP_URL");
    for (url, from, variable) in [
        ("http://mail.test", "rg@example.org", "SMTP_URL"),
        ("smtps://mail.test", "nobody", "SMTP_FROM"),
        ("smtps://mail.test", "", "SMTP_FROM"),
        ("", "rg@example.org", "SMTP_URL"),
    ] {
        let error = parse(&production(&[("SMTP_URL", url), ("SMTP_FROM", from)])).unwrap_err();
        assert_eq!(error.0[0].variable, variable, "{url} {from}");
    }
}

#[test]
fn no_secret_is_shown_by_debug() {
    let config = parse(&production(&[])).unwrap();
    let shown = format!("{:?} {:?}", config.encryption_keys, config.database_url);
    assert!(!shown.contains(KEY) && shown.ends_with("Secret(…)"), "{shown}");
}

#[test]
fn the_example_file_names_every_variable_and_only_example_secrets() {
    let text = include_str!("../../../.env.example");
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(value("JWT_SECRET").as_deref(), Some(EXAMPLE_JWT_SECRET));
    assert_eq!(value("ENCRYPTION_KEY").as_deref(), Some(EXAMPLE_ENCRYPTION_KEY));
    let lookup = |name: &str| value(name).filter(|value| !value.is_empty());
    let config = Config::from_env(&lookup).expect("the example file is a working configuration");
    assert_eq!(config.environment, Environment::Development);
}

#[test]
fn keys_can_come_from_files_and_older_ones_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let current = write("current", &format!("{KEY}\n"));
    let other = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    let previous = write("previous", &format!("{other}\n{KEY}\n"));
    let base = [
        ("DATABASE_URL", "postgres://u:p@localhost/db"),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    let with = |extra: &[(&str, &str)]| parse(&[&base[..], extra].concat());
    let files = [
        ("ENCRYPTION_KEY_FILE", current.as_str()),
        ("ENCRYPTION_KEY_PREVIOUS_FILE", &previous),
    ];
    let keys = with(&files).unwrap().encryption_keys;
    assert_eq!(&keys.current, b"0123456789abcdef0123456789abcdef");
    assert_eq!(
        keys.previous,
        [*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", keys.current]
    );
    assert!(!format!("{keys:?}").contains("48, 49"));

    let refused = |extra: &[(&str, &str)]| with(extra).unwrap_err().0[0].variable;
    assert_eq!(
        refused(&[("ENCRYPTION_KEY", KEY), files[0]]),
        "ENCRYPTION_KEY_FILE"
    );
    assert_eq!(
        refused(&[("ENCRYPTION_KEY_FILE", "/nowhere/at/all")]),
        "ENCRYPTION_KEY_FILE"
    );
    let example = write("example", EXAMPLE_ENCRYPTION_KEY);
    assert_eq!(refused(&[("ENCRYPTION_KEY_FILE", &example)]), "ENCRYPTION_KEY");
    let short = [("ENCRYPTION_KEY", KEY), ("ENCRYPTION_KEY_PREVIOUS", "c2hvcnQ=")];
    assert_eq!(refused(&short), "ENCRYPTION_KEY_PREVIOUS");
}

#[test]
fn a_secret_may_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "fedcba9876543210fedcba9876543210\r\n").unwrap();
    let path = file.path().to_str().unwrap();
    let parse_with = |extra: &[(&str, &str)]| {
        let mut variables = vec![
            ("DATABASE_URL", "postgres://u@localhost/db"),
            ("ENCRYPTION_KEY", KEY),
        ];
        variables.extend_from_slice(extra);
        parse(&variables)
    };
    let config = parse_with(&[("JWT_SECRET_FILE", path)]).unwrap();
    let wanted = SigningKey::parse("fedcba9876543210fedcba9876543210").unwrap();
    assert_eq!(config.jwt_secret.kid(), wanted.kid());
    let twice = parse_with(&[
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("JWT_SECRET_FILE", path),
    ]);
    assert_eq!(twice.unwrap_err().0[0].variable, "JWT_SECRET_FILE");
    let gone = parse_with(&[("JWT_SECRET_FILE", "/nowhere/secret")]).unwrap_err();
    assert_eq!(gone.0[0].variable, "JWT_SECRET_FILE");
}

#[test]
fn cp_13_the_feed_is_not_served_in_plain_text_beyond_loopback_outside_development() {
    for address in ["0.0.0.0:3000", "10.0.0.1:3000", "[::]:3000"] {
        let error = parse(&production(&[("LISTEN_ADDR", address)])).unwrap_err();
        let names: Vec<_> = error.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(names, ["LISTEN_ADDR"], "{address}");
        let allowed = [("RATEGUARD_ENV", "development"), ("LISTEN_ADDR", address)];
        assert!(parse(&production(&allowed)).is_ok());
    }
    assert!(parse(&production(&[("LISTEN_ADDR", "[::1]:3000")])).is_ok());
}
