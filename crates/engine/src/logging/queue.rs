//! Between those who log and the one who writes: a bounded queue that never makes anybody wait.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use lb_core::time::WallClock;

use super::clock::Timestamp;
use super::form::Form;
use super::{Field, Level};

/// Lines that may wait.
const LINES_MAX: usize = 64 * 1024;
/// Bytes that may wait.
const BYTES_MAX: usize = 32 << 20;
/// Bytes that are written at once, give or take a line.
const BATCH: usize = 64 << 10;

/// What waits, and what did not fit.
#[derive(Debug, Default)]
struct Counts {
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Counts {
    fn taken(&self, line: &str) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(line.len(), Ordering::Relaxed);
    }
}

/// The entrance.
///
/// The bound is ours: a bounded channel of `futures` gives each sender a place of its own, so a sender per call would
/// have no bound, and one for all would need a lock.
pub(super) struct Queue {
    lines: UnboundedSender<String>,
    counts: Arc<Counts>,
}

/// A queue for lines of this form, and its writer.
pub(super) fn queue(form: Form, clock: Arc<dyn WallClock>) -> (Queue, Writer) {
    let (sender, receiver) = unbounded();
    let counts = Arc::new(Counts::default());
    let writer = Writer {
        lines: receiver,
        counts: counts.clone(),
        form,
        clock,
    };
    let queue = Queue {
        lines: sender,
        counts,
    };
    (queue, writer)
}

impl Queue {
    /// Queues `line`, or counts it as dropped.
    pub(super) fn push(&self, line: String) {
        let length = line.len();
        let lines = self.counts.lines.fetch_add(1, Ordering::Relaxed);
        let bytes = self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        if lines >= LINES_MAX || bytes + length > BYTES_MAX {
            self.counts.taken(&line);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        } else if let Err(refused) = self.lines.unbounded_send(line) {
            // The log is stopped or its writer gone: nobody is left to tell.
            self.counts.taken(&refused.into_inner());
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.lines.close_channel();
    }
}

/// Writes what a [`Log`](super::Log) queues.
#[must_use = "nothing is written until the writer runs"]
pub struct Writer {
    lines: UnboundedReceiver<String>,
    counts: Arc<Counts>,
    form: Form,
    clock: Arc<dyn WallClock>,
}

impl Writer {
    /// Writes lines to `out` in batches until the log is stopped, or all its clones are gone, and everything queued is
    /// written.
    ///
    /// Writing blocks the thread that polls this, so it needs one where nothing else has to run. A line that can't be
    /// written is counted as dropped. Dropping the future loses what is queued, and all later lines.
    pub async fn run(mut self, mut out: impl Write) {
        let mut batch = String::new();
        while let Some(line) = self.lines.next().await {
            let mut count = 1;
            self.take(line, &mut batch);
            while batch.len() < BATCH {
                let Ok(line) = self.lines.try_recv() else {
                    break;
                };
                count += 1;
                self.take(line, &mut batch);
            }
            self.write(&mut batch, count, &mut out);
        }
        self.write(&mut batch, 0, &mut out);
    }

    fn take(&self, line: String, batch: &mut String) {
        self.counts.taken(&line);
        batch.push_str(&line);
    }

    /// Writes and empties `batch`, which has `count` lines, and reports what was dropped so far.
    fn write(&self, batch: &mut String, count: u64, out: &mut impl Write) {
        let dropped = self.counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let now = Timestamp(self.clock.since_unix_epoch());
            let message = "log lines dropped: they came faster than they could be written";
            let line = self.form.plain(
                now,
                Level::Warn,
                message,
                &[("dropped", Field::Number(dropped as f64))],
            );
            batch.push_str(&line);
        }
        let written = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
        if written.is_err() {
            let lost = dropped + count;
            self.counts.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use futures::executor::block_on;

    use super::*;

    struct Noon;

    impl WallClock for Noon {
        fn since_unix_epoch(&self) -> Duration {
            Duration::from_secs(12 * 3600)
        }
    }

    fn text() -> (Queue, Writer) {
        queue(Form::Text, Arc::new(Noon))
    }

    fn written(writer: Writer) -> String {
        let mut out = Vec::new();
        block_on(writer.run(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn everything_queued_is_written_before_the_end() {
        let (queue, writer) = text();
        for n in 0..10_000 {
            queue.push(format!("{n}\n"));
        }
        drop(queue);
        let expected: String = (0..10_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(written(writer), expected);
    }

    #[test]
    fn a_closed_queue_lets_the_writer_end_while_loggers_live() {
        let (queue, writer) = text();
        queue.push("before\n".to_owned());
        queue.close();
        queue.push("after\n".to_owned());
        assert_eq!(written(writer), "before\n");
        assert_eq!(queue.counts.lines.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_counted_and_reported() {
        let (queue, writer) = text();
        for _ in 0..LINES_MAX + 3 {
            queue.push("x\n".to_owned());
        }
        drop(queue);
        let out = written(writer);
        assert_eq!(out.lines().filter(|line| *line == "x").count(), LINES_MAX);
        assert!(out.contains(
            "1970-01-01T12:00:00.000Z warn  log lines dropped: they came faster than they could be written dropped=3\n"
        ));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (queue, _writer) = text();
        for _ in 0..40 {
            queue.push("x".repeat(1 << 20));
        }
        assert_eq!(queue.counts.lines.load(Ordering::Relaxed), 32);
        assert_eq!(queue.counts.dropped.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn a_sink_that_fails_for_a_while_is_survived_and_its_losses_are_reported() {
        struct Flaky(Vec<u8>, u32);
        impl Write for Flaky {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.1 > 0 {
                    self.1 -= 1;
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                self.0.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (queue, writer) = text();
        let mut out = Flaky(Vec::new(), 1);
        queue.push("a\n".to_owned());
        queue.push("b\n".to_owned());
        drop(queue);
        block_on(writer.run(&mut out));
        let out = String::from_utf8(out.0).unwrap();
        assert!(out.ends_with("dropped=2\n"), "{out}");
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn a_log_without_a_writer_does_not_grow() {
        let (queue, writer) = text();
        drop(writer);
        queue.push("x\n".to_owned());
        assert_eq!(queue.counts.lines.load(Ordering::Relaxed), 0);
    }
}
