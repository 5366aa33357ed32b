//! A control plane that answers polls wrongly when told to, and passes everything else on: what FAULTS CP-05 puts
//! behind the filter's poll.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What every poll meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollFault {
    /// The real answer.
    Pass,
    /// 200 of the feed's content type, with these bytes.
    Body(Bytes),
    /// The same, and the connection breaks before the body has ended.
    Broken(Bytes),
}

/// A running server; stops when dropped.
pub struct FeedFaultServer {
    addr: SocketAddr,
    fault: watch::Sender<PollFault>,
    accept: JoinHandle<()>,
}

type Body = BoxBody<Bytes, std::io::Error>;

#[derive(Clone)]
struct Relay {
    control_plane: SocketAddr,
    client: reqwest::Client,
    fault: watch::Receiver<PollFault>,
}

impl FeedFaultServer {
    /// Listens on a free loopback port, in front of the control plane there.
    pub async fn start(control_plane: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (fault, watched) = watch::channel(PollFault::Pass);
        let relay = Relay {
            control_plane,
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .map_err(std::io::Error::other)?,
            fault: watched,
        };
        let accept = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                if let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, relay.clone()));
                }
            }
        });
        Ok(Self { addr, fault, accept })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on, for polls that hang too.
    pub fn set(&self, fault: PollFault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for FeedFaultServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(stream: TcpStream, relay: Relay) {
    let service = service_fn(move |request| answer(request, relay.clone()));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, mut relay: Relay) -> Result<Response<Body>, std::io::Error> {
    if request.uri().path() != "/v1/config:poll" {
        return pass(request, &relay).await;
    }
    let mut fault = relay.fault.borrow_and_update().clone();
    if fault == PollFault::Pass {
        let mut watched = relay.fault.clone();
        tokio::select! {
            answer = pass(request, &relay) => return answer,
            changed = watched.wait_for(|fault| *fault != PollFault::Pass) => {
                fault = changed.map_err(std::io::Error::other)?.clone();
            }
        }
    }
    let body = match fault {
        PollFault::Pass => Bytes::new(),
        PollFault::Body(bytes) => return Ok(protobuf(full(bytes))),
        PollFault::Broken(bytes) => bytes,
    };
    let frames = stream::iter([Ok(Frame::data(body)), Err(std::io::Error::other("broken off"))]);
    Ok(protobuf(BoxBody::new(StreamBody::new(frames))))
}

/// Hands a request to the control plane.
async fn pass(request: Request<Incoming>, relay: &Relay) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let url = format!("http://{}{}", relay.control_plane, parts.uri);
    let answered = relay
        .client
        .request(parts.method, url)
        .headers(parts.headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = answered else {
        let mut response = Response::new(full(Bytes::new()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(response);
    };
    let (status, kind) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    let bytes = answer.bytes().await.map_err(std::io::Error::other)?;
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

fn protobuf(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(std::io::Error::other).boxed()
}
