//! A limit service that misbehaves: what FAULTS DP-16 puts behind the filter's Reserve call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What every call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcFault {
    /// Never answers.
    Slow,
    /// RST as soon as data came.
    Rst,
    /// A GOAWAY frame instead of an answer.
    GoAway,
    /// Answers HTTP/1.1 on an HTTP/2 connection.
    Http1,
    /// OK, with bytes that are no protobuf.
    GarbageProtobuf,
    /// OK, with an empty message: decodes to "unspecified".
    EmptyMessage,
    /// gRPC status INTERNAL.
    Internal,
}

/// A running fault server; stops when dropped.
pub struct GrpcFaultServer {
    addr: SocketAddr,
    accept: JoinHandle<()>,
}

impl GrpcFaultServer {
    pub async fn start(fault: GrpcFault) -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let accept = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                if let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, fault));
                }
            }
        });
        Ok(Self { addr, accept })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for GrpcFaultServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(stream: TcpStream, fault: GrpcFault) {
    match fault {
        GrpcFault::Rst | GrpcFault::GoAway | GrpcFault::Http1 => {
            let _ = raw(stream, fault).await;
        }
        GrpcFault::Slow | GrpcFault::GarbageProtobuf | GrpcFault::EmptyMessage | GrpcFault::Internal => {
            let service = service_fn(move |request| answer(request, fault));
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    }
}

async fn raw(mut stream: TcpStream, fault: GrpcFault) -> std::io::Result<()> {
    /// An empty SETTINGS frame (RFC 9113, 6.5).
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// GOAWAY, last stream 0, INTERNAL_ERROR (RFC 9113, 6.8).
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await?;
    match fault {
        GrpcFault::Rst => stream.set_zero_linger()?,
        GrpcFault::Http1 => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
                .await?;
        }
        _ => {
            stream.write_all(&SETTINGS).await?;
            stream.write_all(&GOAWAY).await?;
        }
    }
    Ok(())
}

type GrpcBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, fault: GrpcFault) -> Result<Response<GrpcBody>, Infallible> {
    let _ = request.into_body().collect().await;
    if fault == GrpcFault::Slow {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    // gRPC's length-prefixed message: flag, 4 bytes of length, data.
    let message: &'static [u8] = match fault {
        GrpcFault::GarbageProtobuf => b"\0\0\0\0\x06\xff\xff\xff\xff\xff\xff",
        _ => b"\0\0\0\0\0",
    };
    let mut trailers = HeaderMap::new();
    let status = if fault == GrpcFault::Internal { "13" } else { "0" };
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(Bytes::from_static(message))
        .with_trailers(async move { Some(Ok(trailers)) })
        .boxed();
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
