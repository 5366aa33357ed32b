//! A name server for one test: every name has the addresses that the test says at the moment, and one second of life.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Envoy asks again when it is over.
const TTL_SECONDS: u32 = 1;
/// In a label's place: a pointer to the name in the question, which follows the header.
const NAME_OF_QUESTION: u16 = 0xc00c;

/// A running name server; stops when dropped.
pub struct NameServer {
    addr: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
    serve: JoinHandle<()>,
}

impl NameServer {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(addresses: &[Ipv4Addr]) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = socket.local_addr()?;
        let addresses = Arc::new(Mutex::new(addresses.to_vec()));
        let said = Arc::clone(&addresses);
        let serve = tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let Ok((length, peer)) = socket.recv_from(&mut query).await else {
                    continue;
                };
                let now = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(answer) = query.get(..length).and_then(|query| answer(query, &now)) {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        Ok(Self {
            addr,
            addresses,
            serve,
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What every name resolves to from now on.
    pub fn say(&self, addresses: &[Ipv4Addr]) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serve.abort();
    }
}

/// `None`: not a query with one question.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let name_end = HEADER_BYTES + query.get(HEADER_BYTES..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER_BYTES..name_end + 4)?;
    let wanted = u16::from_be_bytes(query.get(name_end..name_end + 2)?.try_into().ok()?);
    let addresses = if wanted == TYPE_A { addresses } else { &[] };
    let mut answer = query.get(..2)?.to_vec();
    // A response, recursion available; one question, the answers, nothing more.
    answer.extend([0x81, 0x80]);
    for count in [1, addresses.len() as u16, 0, 0] {
        answer.extend(count.to_be_bytes());
    }
    answer.extend(question);
    for address in addresses {
        for number in [NAME_OF_QUESTION, TYPE_A, CLASS_IN] {
            answer.extend(number.to_be_bytes());
        }
        answer.extend(TTL_SECONDS.to_be_bytes());
        answer.extend(4_u16.to_be_bytes());
        answer.extend(address.octets());
    }
    Some(answer)
}
