//! Upstreams behind TLS: the certificate must be of the gateway's authorities and name the host (SPEC 3.3). An Envoy of
//! the test ends TLS in front of the stub; `openssl` makes what it shows.

use crate::gateway_with;
use rateguard_tests::scene::{Answer, Scene};
use rateguard_tests::stack::process::{Process, run};
use rateguard_tests::stack::{Stack, envoy, ports, wait};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An authority, made anew for each test.
struct Authority {
    folder: PathBuf,
    name: &'static str,
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments);
    run("openssl", &mut command).expect("openssl");
}

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Self {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        openssl(
            folder,
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
        Self {
            folder: folder.to_owned(),
            name,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// A certificate for one name (`DNS:…` or `IP:…`), and its key.
    fn certify(&self, file: &str, name: &str) -> (PathBuf, PathBuf) {
        let [key, request, certificate, extension] =
            ["key", "csr", "crt", "ext"].map(|end| format!("{file}.{end}"));
        std::fs::write(self.folder.join(&extension), format!("subjectAltName={name}\n")).expect("written");
        let (ca, ca_key) = (format!("{}.pem", self.name), format!("{}.key", self.name));
        openssl(
            &self.folder,
            &[
                "req",
                "-new",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=upstream",
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        openssl(
            &self.folder,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &extension,
                "-out",
                &certificate,
            ],
        );
        (self.folder.join(certificate), self.folder.join(key))
    }
}

/// Ends TLS with each certificate on a port of its own, and goes on to the stub.
async fn terminate(
    folder: &Path,
    stub: SocketAddr,
    shown: &[(PathBuf, PathBuf)],
) -> (Process, Vec<SocketAddr>) {
    let addresses: Vec<SocketAddr> = shown
        .iter()
        .map(|_| ports::loopback(ports::free().expect("a port")))
        .collect();
    let listeners: Vec<_> = shown
        .iter()
        .zip(&addresses)
        .map(|((certificate, key), address)| {
            json!({
                "address": {"socket_address": {"address": address.ip(), "port_value": address.port()}},
                "filter_chains": [{
                    "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tls", "cluster": "stub",
                    }}],
                    "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                        "common_tls_context": {"tls_certificates": [{
                            "certificate_chain": {"filename": certificate}, "private_key": {"filename": key},
                        }]},
                    }},
                }],
            })
        })
        .collect();
    let config = json!({"static_resources": {"listeners": listeners, "clusters": [{
        "name": "stub", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "stub", "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
            {"socket_address": {"address": stub.ip(), "port_value": stub.port()}},
        }}]}]},
    }]}});
    let path = folder.join("tls.json");
    std::fs::write(&path, config.to_string()).expect("written");
    let mut process = envoy::start(&path, &folder.join("tls.log"), 1).expect("started");
    wait::ready(&mut process, Duration::from_secs(30), async || {
        for address in &addresses {
            tokio::net::TcpStream::connect(address).await?;
        }
        Ok(())
    })
    .await
    .expect("TLS is ended");
    (process, addresses)
}

#[tokio::test]
async fn an_upstream_is_believed_by_authority_and_name_and_nothing_is_sent_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let config = gateway_with(
        &folder,
        r#"caFile: "${CA_FILE}""#,
        &format!(r#"caFile: "{}""#, ours.file().display()),
    );
    let stack = Stack::builder()
        .envoy_config(&config)
        .control_plane_env(
            "UPSTREAM_ALLOW",
            "http://127.0.0.0/8:*,https://127.0.0.0/8:*,https://[::1/128]:*",
        )
        .start()
        .await
        .expect("the Stack starts");
    let shown = [
        ours.certify("address", "IP:127.0.0.1"),
        ours.certify("name", "DNS:localhost"),
        theirs.certify("stranger", "IP:127.0.0.1"),
        ours.certify("elsewhere", "IP:127.0.0.2"),
        ours.certify("other-name", "DNS:example.com"),
    ];
    let (_terminator, addresses) = terminate(folder.path(), stack.stub().addr(), &shown).await;
    let cases = [
        ("address", "127.0.0.1", 200),
        ("name", "localhost", 200),
        ("stranger", "127.0.0.1", 502),
        ("elsewhere", "127.0.0.1", 502),
        ("other-name", "localhost", 502),
    ];
    let scene = Scene::new(&stack).await.unwrap();
    for ((slug, host, _), address) in cases.iter().zip(&addresses) {
        scene
            .api(json!({
                "name": slug, "slug": slug, "baseUrl": format!("https://{host}:{}", address.port()), "authType": "BEARER",
                "credential": "sk-upstream-canary",
            }))
            .await
            .unwrap();
    }
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    for (slug, host, status) in cases {
        let request = scene.request(reqwest::Method::GET, &format!("/proxy/{slug}/things"), &key);
        let answer = Answer::of(request.header("x-test-id", slug)).await;
        assert_eq!(answer.status, status, "{slug}: {}", answer.text);
        let reached = stack.stub().log().of_test(slug);
        if status == 200 {
            let [received] = reached.as_slice() else {
                panic!("{slug}: {reached:?}")
            };
            assert_eq!(
                received.header("authorization"),
                Some("Bearer sk-upstream-canary")
            );
            assert!(received.header("host").is_some_and(|to| to.starts_with(host)));
        } else {
            assert_eq!(answer.code(), "upstream_error", "{slug}");
            assert!(reached.is_empty(), "{slug}: the credential went to a stranger");
            let text = answer.text.to_lowercase();
            for inner in ["certificate", "tls", "ssl", "canary", "127.0.0"] {
                assert!(!text.contains(inner), "{slug}: {text}");
            }
        }
    }
}
