//! The thread that lets a renderer show quantities while the work goes on elsewhere.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Renderer;

/// Ticks until dropped; then the renderer is cleared.
pub struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    renderer: Arc<dyn Renderer>,
}

impl Ticker {
    /// Tick at this pace, for the first time after one interval. Without a thread there is no
    /// progress, which is not worth failing for.
    pub fn start(renderer: Arc<dyn Renderer>, every: Duration) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (theirs, listener) = (Arc::clone(&stop), Arc::clone(&renderer));
        let run = move || {
            let begin = Instant::now();
            while !wait(&theirs, every) {
                listener.tick(begin.elapsed());
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(run).ok();
        Self { stop, thread, renderer }
    }
}

/// Wait for the interval to pass; true if it is time to stop.
fn wait(stop: &(Mutex<bool>, Condvar), every: Duration) -> bool {
    let Ok(stopped) = stop.0.lock() else {
        return true;
    };
    match stop.1.wait_timeout_while(stopped, every, |s| !*s) {
        Ok((stopped, _)) => *stopped,
        Err(_) => true,
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Ok(mut stopped) = self.stop.0.lock() {
            *stopped = true;
        }
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.renderer.clear();
    }
}
