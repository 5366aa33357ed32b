//! Invitations go out by e-mail, off the request path, and again if the server was not ready.

use crate::support::app::App;
use axum::http::StatusCode;
use rateguard_control_plane::config::{Secret, Smtp};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_secs(30);

/// Speaks SMTP with one client and gives what it sent; with `busy` it refuses for now.
async fn receive(stream: TcpStream, busy: bool) -> String {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.test\r\n").await.unwrap();
    let (mut mail, mut in_data) = (String::new(), false);
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                write.write_all(b"250 taken\r\n").await.unwrap();
                return mail;
            }
            _ if in_data => {
                mail.push_str(&line);
                mail.push('\n');
                continue;
            }
            "EHLO" => b"250 mail.test\r\n",
            "MAIL" if busy => b"451 try again later\r\n",
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        if write.write_all(answer).await.is_err() {
            break;
        }
    }
    mail
}

#[tokio::test]
async fn an_invitation_is_mailed_and_a_busy_server_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        receive(first, true).await;
        let (second, _) = listener.accept().await.unwrap();
        receive(second, false).await
    });
    let app = App::start_with(|config| {
        config.smtp = Some(Smtp {
            url: Secret::new(&format!("smtp://{address}")),
            from: "RateGuard <rateguard@example.org>".parse().unwrap(),
        });
    })
    .await;
    let ada = app.register("ada").await;
    let body = json!({"email": "grace@example.com", "role": "MEMBER"});
    let made = app.post(&ada.path("/invitations"), &ada.token, body).await;
    assert_eq!(
        (made.status, &made.body["mailed"]),
        (StatusCode::CREATED, &json!(true))
    );
    let mail = tokio::time::timeout(DEADLINE, server).await.unwrap().unwrap();
    assert!(mail.contains("To: grace@example.com"), "{mail}");
    assert!(mail.contains("From: RateGuard <rateguard@example.org>"), "{mail}");
    // Long lines are cut by quoted-printable: `=` at the end, `=3D` for itself.
    let text = mail.replace("=\n", "").replace("=3D", "=");
    assert!(text.contains(made.str("/acceptUrl")), "{mail}");
}
