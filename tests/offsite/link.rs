//! A small proxy that is as slow as a line: bytes leave one after the other, at a rate that all
//! connections share, and arrive later. Each direction is a line of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// What goes on the line at once: below a millisecond of it at a gigabit.
const PIECE: usize = 64 << 10;

/// Who is so little ahead of the line does not wait: a sleep is longer than it is asked to be.
const AHEAD: Duration = Duration::from_millis(1);

pub struct Link {
    pub port: u16,
    stop: Arc<AtomicBool>,
    up: Arc<Line>,
    down: Arc<Line>,
}

/// One direction.
struct Line {
    bytes_per_second: f64,
    delay: Duration,
    free_at: Mutex<Instant>,
    carried: AtomicU64,
}

impl Link {
    /// In front of `upstream`: an answer comes no earlier than after `round_trip`.
    pub fn new(upstream: u16, round_trip: Duration, bits_per_second: f64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let line = || {
            let (free_at, carried) = (Mutex::new(Instant::now()), AtomicU64::new(0));
            Arc::new(Line { bytes_per_second: bits_per_second / 8.0, delay: round_trip / 2, free_at, carried })
        };
        let this = Self { port, stop: Arc::new(AtomicBool::new(false)), up: line(), down: line() };
        let (stop, up, down) = (Arc::clone(&this.stop), Arc::clone(&this.up), Arc::clone(&this.down));
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(SeqCst) {
                    return;
                }
                let (up, down) = (Arc::clone(&up), Arc::clone(&down));
                // A connection that breaks ends, and nothing else.
                spawn(move || _ = connect(&client, upstream, &up, &down, round_trip));
            }
        });
        this
    }

    /// Bytes that went up, and down, so far.
    pub fn carried(&self) -> (u64, u64) {
        (self.up.carried.load(SeqCst), self.down.carried.load(SeqCst))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// A connection stands after one round trip.
fn connect(
    client: &TcpStream,
    upstream: u16,
    up: &Arc<Line>,
    down: &Arc<Line>,
    round_trip: Duration,
) -> io::Result<()> {
    sleep(round_trip);
    let server = TcpStream::connect(("127.0.0.1", upstream))?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    up.carry(client.try_clone()?, server.try_clone()?);
    down.carry(server, client.try_clone()?);
    Ok(())
}

impl Line {
    fn carry(self: &Arc<Self>, from: TcpStream, to: TcpStream) {
        let (send, receive) = channel();
        let line = Arc::clone(self);
        spawn(move || _ = line.take(from, &send));
        spawn(move || _ = give(to, &receive));
    }

    /// Read no faster than the line carries, so that nothing piles up here.
    fn take(&self, mut from: TcpStream, send: &Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let n = from.read(&mut piece)?;
            if n == 0 {
                return Ok(());
            }
            let left = self.leave(n);
            if send.send((left + self.delay, piece[..n].to_vec())).is_err() {
                return from.shutdown(Shutdown::Both);
            }
            if let Some(ahead) = left.checked_duration_since(Instant::now()).filter(|a| *a > AHEAD) {
                sleep(ahead);
            }
        }
    }

    /// When so many bytes have left.
    fn leave(&self, n: usize) -> Instant {
        self.carried.fetch_add(n as u64, SeqCst);
        let mut free_at = self.free_at.lock().expect("no panic");
        *free_at = (*free_at).max(Instant::now()) + Duration::from_secs_f64(n as f64 / self.bytes_per_second);
        *free_at
    }
}

fn give(mut to: TcpStream, receive: &Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    for (at, piece) in receive {
        if let Some(early) = at.checked_duration_since(Instant::now()) {
            sleep(early);
        }
        to.write_all(&piece)?;
    }
    to.shutdown(Shutdown::Write)
}
