//! A TCP proxy between two parts of the Stack: passes, delays, swallows or resets, switched while it runs.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the wire behaves, for connections that exist as for new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Pass,
    /// Every piece of data waits this long, in both directions.
    Delay(Duration),
    /// Data disappears and nothing is ever closed: a NAT that forgot the connection, a half-open peer.
    Swallow,
    /// Connections end with RST.
    Reset,
}

/// A running proxy; stops when dropped.
pub struct TcpProxy {
    addr: SocketAddr,
    wire: watch::Sender<Wire>,
    accept: JoinHandle<()>,
}

impl TcpProxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    pub async fn start(upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (wire, watched) = watch::channel(Wire::Pass);
        let accept = tokio::spawn(accept(listener, upstream, watched));
        Ok(Self { addr, wire, accept })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, wire: watch::Receiver<Wire>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(connect(client, upstream, wire.clone()));
    }
}

async fn connect(mut client: TcpStream, upstream: SocketAddr, mut wire: watch::Receiver<Wire>) {
    if *wire.borrow() == Wire::Reset {
        let _ = client.set_zero_linger();
        return;
    }
    // A swallowed connection is accepted, as a half-open peer's would be.
    if wire.wait_for(|w| *w != Wire::Swallow).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let reset = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = copy(client_read, server_write, wire.clone());
        let down = copy(server_read, client_write, wire.clone());
        tokio::select! {
            _ = wire.wait_for(|w| *w == Wire::Reset) => true,
            _ = async { tokio::join!(up, down) } => false,
        }
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return;
        };
        let now = *wire.borrow_and_update();
        match now {
            Wire::Pass => {}
            Wire::Delay(time) => tokio::time::sleep(time).await,
            // Ended by `connect`, which resets both sides.
            Wire::Reset => std::future::pending().await,
            Wire::Swallow => {
                if read == 0 {
                    // The end of a swallowed connection is not passed on either.
                    let _ = wire.wait_for(|w| *w != Wire::Swallow).await;
                    return;
                }
                continue;
            }
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        let Some(data) = buffer.get(..read) else { return };
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}
