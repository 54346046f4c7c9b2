//! Work that makes more work, on a stack that several threads share. What is found goes on top, so
//! that what waits is bounded by the depth of a tree and the length of a page, not by its size.

use std::sync::{Condvar, Mutex};

use super::locked;
use crate::error::{Error, Result};

struct Stack<T> {
    tasks: Vec<T>,
    busy: usize,
    failed: Option<Error>,
}

/// Do a task and all that comes of it. After a failure nothing new is begun.
pub fn work_off<T: Send>(top: T, threads: usize, visit: impl Fn(&T) -> Result<Vec<T>> + Sync) -> Result<()> {
    let stack = (Mutex::new(Stack { tasks: vec![top], busy: 0, failed: None }), Condvar::new());
    std::thread::scope(|s| {
        (1..threads).for_each(|_| drop(s.spawn(|| work(&stack, &visit))));
        work(&stack, &visit);
    });
    locked(&stack.0).failed.take().map_or(Ok(()), Err)
}

fn work<T>((stack, changed): &(Mutex<Stack<T>>, Condvar), visit: &impl Fn(&T) -> Result<Vec<T>>) {
    let mut s = locked(stack);
    loop {
        let Some(task) = s.tasks.pop() else {
            if s.busy == 0 {
                changed.notify_all();
                return;
            }
            s = changed.wait(s).unwrap_or_else(|p| p.into_inner());
            continue;
        };
        s.busy += 1;
        drop(s);
        let below = visit(&task);
        s = locked(stack);
        s.busy -= 1;
        match below {
            // In order: the first of them is the next.
            Ok(below) if s.failed.is_none() => s.tasks.extend(below.into_iter().rev()),
            Ok(_) => {}
            Err(e) => {
                s.tasks.clear();
                s.failed.get_or_insert(e);
            }
        }
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn everything_is_done_once_and_a_failure_ends_it() {
        for threads in [1, 4] {
            let sum = AtomicU64::new(0);
            let halves = |n: &u64| {
                sum.fetch_add(1, Relaxed);
                Ok(if *n > 1 { vec![n / 2, n - n / 2] } else { vec![] })
            };
            work_off(1000, threads, halves).unwrap();
            assert_eq!(sum.load(Relaxed), 1999);
            let fails = |n: &u64| match n {
                7 => Err(Error::new(ErrorKind::Damaged, "seven")),
                n => Ok(vec![n + 1, n + 1]),
            };
            assert_eq!(work_off(1, threads, fails).unwrap_err().to_string(), "seven");
        }
    }
}
