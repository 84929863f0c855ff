//! A TLS port whose certificate can be changed and whose connections can be cut, also automatically when idle for a
//! while. Used by the proxy and the fake API server; knows nothing of HTTP.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::line::{Line, Moved};

/// One accepted connection.
pub type Stream = TlsStream<Line>;

/// How a load balancer cuts an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleCut {
    /// RST.
    Reset(Duration),
    /// FIN, without TLS's close_notify before it.
    Close(Duration),
}

pub struct Listener {
    pub port: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    certificate: Mutex<Arc<ServerConfig>>,
    /// Changes when all connections are to end.
    cuts: watch::Sender<u32>,
    connections: AtomicUsize,
    idle: Mutex<Option<IdleCut>>,
    idle_cuts: AtomicUsize,
}

impl Listener {
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        certificate: Arc<ServerConfig>,
        serve: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = socket.local_addr().expect("an address").port().to_string();
        let shared = Arc::new(Shared {
            certificate: Mutex::new(certificate),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            idle: Mutex::new(None),
            idle_cuts: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(socket, shared.clone(), serve));
        Listener { port, shared, task }
    }

    /// For new connections from now on.
    pub fn present(&self, certificate: Arc<ServerConfig>) {
        *self.shared.certificate.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// For new connections from now on.
    pub fn cut_idle(&self, how: IdleCut) {
        *self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }

    /// The number of connections cut because they were idle.
    pub fn idle_cuts(&self) -> usize {
        self.shared.idle_cuts.load(Ordering::Relaxed)
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    socket: TcpListener,
    shared: Arc<Shared>,
    serve: impl Fn(Stream) -> F + Send + Sync + 'static,
) {
    let serve = Arc::new(serve);
    while let Ok((stream, _)) = socket.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let certificate = shared.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut cuts, serve) = (shared.cuts.subscribe(), serve.clone());
        let idle = *shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, moved) = Line::new(stream);
        let shared = shared.clone();
        tokio::spawn(async move {
            let served = async {
                // A client that rejects the certificate reports that in its own log.
                if let Ok(stream) = TlsAcceptor::from(certificate).accept(stream).await {
                    serve(stream).await;
                }
            };
            tokio::select! {
                _ = cuts.changed() => {}
                () = is_idle(idle, &moved) => {
                    shared.idle_cuts.fetch_add(1, Ordering::Relaxed);
                    if matches!(idle, Some(IdleCut::Reset(_))) {
                        moved.reset();
                    }
                }
                () = served => {}
            }
        });
    }
}

async fn is_idle(how: Option<IdleCut>, moved: &Moved) {
    let Some(IdleCut::Reset(longest) | IdleCut::Close(longest)) = how else { return std::future::pending().await };
    loop {
        let idle = moved.last().elapsed();
        if idle >= longest {
            return;
        }
        tokio::time::sleep(longest.saturating_sub(idle)).await;
    }
}
