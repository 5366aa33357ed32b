//! E-mail, sent off the request path: what cannot be sent is tried again for a quarter of an hour, then dropped. What
//! waits lives in memory and is lost with the process; the link in it was answered to whoever asked for the mail.

use crate::config::Smtp;
use lettre::message::{Mailbox, header::ContentType};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Mails on their way at once, waiting ones included.
const PENDING_MAX: usize = 200;
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Pauses before the second and later attempts, in seconds.
const PAUSES_S: [u64; 5] = [1, 5, 30, 120, 600];

/// A mail to one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// Sends mails, where a server is configured.
#[derive(Clone, Default)]
pub struct Mailer(Option<Arc<Server>>);

struct Server {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    places: Arc<Semaphore>,
}

impl Mailer {
    pub fn new(smtp: Option<&Smtp>) -> Self {
        Self(smtp.and_then(server).map(Arc::new))
    }

    /// Whether mails go out at all.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Takes a mail to be sent soon; drops it if there is no server, or too much waits for it.
    pub fn send(&self, mail: Mail) {
        let Some(server) = self.0.clone() else { return };
        let Ok(place) = Arc::clone(&server.places).try_acquire_owned() else {
            tracing::warn!("a mail is dropped: too many wait for the mail server");
            return;
        };
        let Some(message) = message(&server.from, mail) else {
            tracing::warn!("a mail is dropped: it cannot be written");
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            deliver(&server, message).await;
        });
    }
}

fn server(smtp: &Smtp) -> Option<Server> {
    match AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp.url.expose()) {
        Ok(builder) => Some(Server {
            transport: builder.timeout(Some(SEND_TIMEOUT)).build(),
            from: smtp.from.clone(),
            places: Arc::new(Semaphore::new(PENDING_MAX)),
        }),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "SMTP_URL cannot be used"
            );
            None
        }
    }
}

fn message(from: &Mailbox, mail: Mail) -> Option<Message> {
    let Mail { to, subject, text } = mail;
    let to: Address = to.parse().ok()?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .ok()
}

/// Tries until it is sent, or refused for good, or tried often enough. The mail itself is not logged: it holds a link.
async fn deliver(server: &Server, message: Message) {
    for pause_s in PAUSES_S.iter().map(Some).chain([None]) {
        let Err(error) = server.transport.send(message.clone()).await else {
            return;
        };
        let cause = error.to_string();
        match pause_s {
            Some(pause_s) if !error.is_permanent() => {
                tracing::warn!(error = %cause, pause_s, "a mail cannot be sent yet");
                tokio::time::sleep(Duration::from_secs(*pause_s)).await;
            }
            Some(_) | None => {
                tracing::error!(error = %cause, "a mail is dropped");
                return;
            }
        }
    }
}
