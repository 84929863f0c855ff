//! Ports of programs that a test starts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Below those that the system hands out, which another test would get before the program listens, and below those of
/// the clusters (`random_port` in scripts/lib.sh).
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that was free just now, and that no other test of this process gets.
pub fn free_port() -> u16 {
    // Test programs run side by side.
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap_or(0);
    let port = || FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..COUNT).map(|_| port()).find(is_free).expect("a free port")
}

/// Status and body of what a program says at its port. As of HTTP 1.0, which has no chunks and ends the connection.
pub async fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
