//! What all benches share: a median over a few runs, sizes by environment, memory from the kernel.

#![allow(dead_code)]

use std::time::{Duration, Instant};

/// Whether full sizes were asked for: `--long`, or `ORLOP_BENCH_LONG`.
pub fn long() -> bool {
    std::env::args().any(|a| a == "--long") || std::env::var_os("ORLOP_BENCH_LONG").is_some()
}

/// The median duration of `runs` runs; `prepare` is not counted.
pub fn median<T>(runs: usize, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T)) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let input = prepare();
            let begun = Instant::now();
            run(input);
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// One line: what, how long, how much per second.
pub fn tell(what: &str, time: Duration, bytes: u64) {
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    println!("{what:<44} {:>10.3} ms {rate:>9.1} MB/s", time.as_secs_f64() * 1e3);
}

/// One line: what, how long, how many per second.
pub fn tell_count(what: &str, time: Duration, count: u64) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{what:<44} {:>10.3} ms {rate:>9.0} /s", time.as_secs_f64() * 1e3);
}

/// Resident anonymous memory of this process, in MiB.
pub fn anonymous_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
