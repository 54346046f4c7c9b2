//! A small proxy that does to requests what networks and servers do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// The connection ends before the server hears of it.
    Reset,
    /// The server did it, and its answer is lost.
    AnswerLost,
    /// The server answers so, and did nothing.
    Status(u16),
    /// The server did it, and answers so.
    DoneBut(u16),
    /// Half of the answer's body comes.
    Truncated,
}

pub struct Proxy {
    pub port: u16,
    pub requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// The number of a request, from 1, and its head.
type Decide = dyn Fn(u64, &str) -> Fate + Send + Sync;

impl Proxy {
    /// In front of `upstream`; `decide` is told the number of a request, from 1, and its method.
    pub fn new(upstream: u16, decide: impl Fn(u64, &str) -> Fate + Send + Sync + 'static) -> Self {
        Self::that_reads(upstream, move |n, head| decide(n, head.split(' ').next().unwrap_or("")))
    }

    /// The same, told the whole head in place of the method.
    pub fn that_reads(upstream: u16, decide: impl Fn(u64, &str) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let (requests, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let decide: Arc<Decide> = Arc::new(decide);
        let (counted, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(SeqCst) {
                    return;
                }
                let (decide, counted) = (Arc::clone(&decide), Arc::clone(&counted));
                std::thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = serve(client, upstream, &*decide, &counted);
                });
            }
        });
        Self { port, requests, stop }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request; each has a connection of its own to the server, and ends that to the client.
fn serve(mut client: TcpStream, upstream: u16, decide: &Decide, counted: &AtomicU64) -> io::Result<()> {
    let Some((head, body)) = message(&mut client)? else { return Ok(()) };
    let fate = decide(counted.fetch_add(1, SeqCst) + 1, &head);
    match fate {
        Fate::Reset => return client.shutdown(Shutdown::Both),
        Fate::Status(code) => return client.write_all(no(code).as_bytes()),
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.set_read_timeout(Some(Duration::from_secs(30)))?;
    server.write_all(with_close(&head).as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fate {
        Fate::AnswerLost => return client.shutdown(Shutdown::Both),
        Fate::DoneBut(code) => answer = no(code).into_bytes(),
        Fate::Truncated => {
            let begin = find(&answer, b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
            answer.truncate(begin + (answer.len() - begin) / 2);
        }
        _ => {}
    }
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Both)
}

fn no(code: u16) -> String {
    format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// A request's head with its empty line, and its body.
pub fn message(from: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let (mut read, mut piece) = (Vec::new(), [0; 64 << 10]);
    let end = loop {
        if let Some(at) = find(&read, b"\r\n\r\n") {
            break at + 4;
        }
        match from.read(&mut piece)? {
            0 => return Ok(None),
            n => read.extend_from_slice(&piece[..n]),
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let len = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = read.split_off(end);
    let len: usize = len.unwrap_or(0);
    while body.len() < len {
        match from.read(&mut piece)? {
            0 => return Ok(None),
            n => body.extend_from_slice(&piece[..n]),
        }
    }
    Ok(Some((head, body)))
}

fn with_close(head: &str) -> String {
    let kept = head.trim_end().lines().filter(|l| !l.to_ascii_lowercase().starts_with("connection:"));
    kept.chain(["Connection: close", "", ""]).collect::<Vec<_>>().join("\r\n")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
