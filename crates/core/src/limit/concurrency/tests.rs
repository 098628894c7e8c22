use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::*;
use crate::rng::Rng;

const BOUNDS: Bounds = Bounds { min: 4, max: 100 };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(millis: u64) -> Instant {
    Instant::ORIGIN + ms(millis)
}

/// A window's worth of answers that took so long, with so many in flight: the step that ends it, at `end`.
fn window(gradient: &mut Gradient, took: u64, in_flight: u32, end: u64) -> Option<Step> {
    (0..SAMPLES).fold(None, |step, sample| {
        assert_eq!(step, None);
        let begin = if sample == 0 { end - 100 } else { end };
        gradient.sample(ms(took), in_flight, at(begin))
    })
}

#[test]
fn the_table_of_steps() {
    // what is usual is 10 ms; times of the next windows, attempts in flight, limits after them
    let table: [(_, &[u64], _, &[u32]); 7] = [
        ("as usual", &[10, 10, 10], 90, &[100, 100, 100]),
        ("a little slower", &[14, 14], 90, &[100, 100]),
        ("much slower", &[40, 40, 40], 100, &[92, 85, 78]),
        ("beyond all measure", &[9_000, 9_000], 100, &[92, 85]),
        ("slow with few in flight", &[40, 40], 6, &[81, 66]),
        (
            "slow and then well, in use",
            &[40, 10, 10],
            100,
            &[92, 94, 96],
        ),
        ("fast", &[1, 1], 90, &[100, 100]),
    ];
    for (name, times, in_flight, limits) in table {
        let mut gradient = Gradient::new(BOUNDS, true);
        window(&mut gradient, 10, in_flight, 100);
        let mut now = 100;
        let after = times.iter().map(|&took| {
            now += 100;
            window(&mut gradient, took, in_flight, now).unwrap().limit
        });
        assert_eq!(after.collect::<Vec<_>>(), limits, "{name}");
    }
}

#[test]
fn the_limit_stays_between_its_bounds_and_grows_only_while_it_is_used() {
    let mut gradient = Gradient::new(BOUNDS, false);
    let mut now = 100;
    let mut run = |gradient: &mut Gradient, took, in_flight: u32, windows| {
        for _ in 0..windows {
            now += 100;
            window(gradient, took, in_flight, now);
        }
        gradient.limit()
    };
    run(&mut gradient, 10, 50, 1);
    assert_eq!(run(&mut gradient, 1_000, 1, 100), 4);
    assert_eq!(run(&mut gradient, 10, 1, 100), 4, "nobody needs more");
    let grown = run(&mut gradient, 10, 20, 100);
    assert!((36..=45).contains(&grown), "as far as it is used: {grown}");
    assert_eq!(run(&mut gradient, 10, 100, 100), 100);
}

#[test]
fn a_window_needs_time_and_samples() {
    let mut gradient = Gradient::new(BOUNDS, true);
    let mut sample = |now| gradient.sample(ms(5), 1, at(now)).is_some();
    assert!(
        (1..=30).all(|now| !sample(now)),
        "enough samples, too early"
    );
    assert!(sample(101));
    assert!((102..=120).all(|now| !sample(1000 * now)), "long, too few");
    assert!(sample(1000 * 121));
}

#[test]
fn a_much_changed_limit_is_told_every_ten_seconds_at_most() {
    let mut gradient = Gradient::new(BOUNDS, true);
    window(&mut gradient, 10, 100, 100);
    let mut told = Vec::new();
    for now in (200..=30_000).step_by(100) {
        // It sinks for five seconds and rises for five.
        let took = if now / 5_000 % 2 == 0 { 100 } else { 10 };
        let step = window(&mut gradient, took, 100, now).unwrap();
        if step.much {
            told.push(now);
        }
    }
    assert!(
        told.windows(2).all(|pair| pair[1] - pair[0] >= 10_000),
        "{told:?}"
    );
    assert!(told.len() >= 2 && told[0] < 2_000, "{told:?}");
}

/// A server that works on so many requests at a time, the first that came first, and a stream of requests at it.
struct World {
    gradient: Gradient,
    rng: Rng,
    /// When each of its workers is free, in microseconds.
    workers: Vec<u64>,
    /// Ends of the attempts in flight, with their beginnings.
    running: BinaryHeap<Reverse<(u64, u64)>>,
    now: u64,
}

#[derive(Debug, Default)]
struct Run {
    answered: usize,
    refused: usize,
    /// The times to the answers, in microseconds.
    took: Vec<u64>,
}

impl Run {
    fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.took.sort_unstable();
        self.took[self.took.len() * percent / 100] as f64 / 1000.0
    }
}

impl World {
    fn new(workers: usize, gradient: Gradient) -> Self {
        Self {
            gradient,
            rng: Rng::new(3),
            workers: vec![0; workers],
            running: BinaryHeap::new(),
            now: 0,
        }
    }

    fn answer_until(&mut self, now: u64, run: &mut Run) {
        while let Some(&Reverse((end, begin))) = self.running.peek()
            && end <= now
        {
            let in_flight = u32::try_from(self.running.len()).unwrap();
            self.running.pop();
            let (took, at) = (
                Duration::from_micros(end - begin),
                Duration::from_micros(end),
            );
            self.gradient.sample(took, in_flight, Instant::ORIGIN + at);
            run.answered += 1;
            run.took.push(end - begin);
        }
    }

    /// So many requests a second for so long; the work on each takes a time within `work_us`.
    fn run(&mut self, per_second: u64, seconds: u64, work_us: Range<u64>) -> Run {
        let mut run = Run::default();
        let end = self.now + seconds * 1_000_000;
        while self.now < end {
            // Up to twice the mean, so that they bunch a little.
            self.now += self.rng.below(2_000_000 / per_second) + 1;
            self.answer_until(self.now, &mut run);
            if self.running.len() >= self.gradient.limit() as usize {
                run.refused += 1;
                continue;
            }
            let work = work_us.start + self.rng.below(work_us.end - work_us.start);
            let worker = self.workers.iter_mut().min().unwrap();
            *worker = self.now.max(*worker) + work;
            self.running.push(Reverse((*worker, self.now)));
        }
        run
    }
}

fn gradient(applied: bool) -> Gradient {
    Gradient::new(Bounds { min: 4, max: 1024 }, applied)
}

/// Ten workers that take 10 ms: a thousand answers a second.
const WORK_US: Range<u64> = 5_000..15_000;

#[test]
fn under_overload_goodput_stays_and_latency_is_bounded_for_as_long_as_it_lasts() {
    let mut world = World::new(10, gradient(true));
    world.run(500, 30, WORK_US);
    world.run(2_000, 20, WORK_US);
    for minute in 0..15 {
        let mut run = world.run(2_000, 60, WORK_US);
        assert!(run.answered > 54_000, "minute {minute}: {}", run.answered);
        let slow = run.percentile_ms(99);
        assert!(slow < 60.0, "minute {minute}: {slow} ms");
    }
    // Without it everybody waits for everybody.
    let mut world = World::new(
        10,
        Gradient::new(
            Bounds {
                min: 1024,
                max: 1024,
            },
            true,
        ),
    );
    world.run(2_000, 10, WORK_US);
    assert!(world.run(2_000, 10, WORK_US).percentile_ms(50) > 900.0);
}

#[test]
fn a_balancer_that_starts_in_the_middle_of_an_overload_gets_out_of_it() {
    // work of ten workers, answers a second, seconds of work that was there before, the most that half of the answers may take
    for (work_us, capacity, backlog, median_ms) in
        [(WORK_US, 1_000, 1, 40.0), (50_000..150_000, 100, 11, 400.0)]
    {
        let mut world = World::new(10, gradient(true));
        world.workers.fill(backlog * 1_000_000);
        world.run(2 * capacity, 90, work_us.clone());
        let mut run = world.run(2 * capacity, 60, work_us);
        let median = run.percentile_ms(50);
        assert!(median < median_ms, "{capacity}: {median} ms");
        let least = usize::try_from(capacity).unwrap() * 54;
        assert!(run.answered > least, "{capacity}: {}", run.answered);
    }
}

/// What is usual has been learned, and then for half a minute the limit pressed: it is at its floor.
fn measuring() -> Gradient {
    let mut gradient = Gradient::new(BOUNDS, true);
    window(&mut gradient, 10, 100, 100);
    for now in (200..=30_100).step_by(100) {
        window(&mut gradient, 10, 100, now);
    }
    assert_eq!(gradient.limit(), 4);
    gradient
}

#[test]
fn the_limit_leaves_its_floor_in_time_whatever_comes() {
    let mut nothing = measuring();
    assert_eq!(nothing.wake(at(32_099)), None);
    assert_eq!(nothing.wake(at(32_100)).map(|step| step.limit), Some(100));
    assert_eq!(nothing.wake(at(32_100)), None);
    let mut little = measuring();
    assert_eq!(little.sample(ms(900), 90, at(31_000)), None);
    let step = little.sample(ms(900), 90, at(32_100));
    assert_eq!(step.map(|step| step.limit), Some(100));
}

#[test]
fn what_was_in_flight_may_take_its_time_to_end_as_long_as_it_gets_less() {
    let mut gradient = measuring();
    for (now, in_flight, limit) in [
        (31_900, 90, 4),
        (33_800, 50, 4),
        (35_000, 49, 4),
        (35_700, 49, 4),
    ] {
        let step = window(&mut gradient, 10, in_flight, now).unwrap();
        assert_eq!(step.limit, limit, "{now}");
    }
    assert_eq!(gradient.sample(ms(10), 49, at(35_799)), None);
    assert_eq!(gradient.wake(at(35_800)).unwrap().limit, 100);
}

#[test]
fn a_healthy_pool_never_meets_its_limit() {
    for per_second in [5, 50, 500, 800] {
        let mut world = World::new(10, gradient(true));
        let run = world.run(per_second, 300, WORK_US);
        assert_eq!(run.refused, 0, "{per_second} a second");
    }
}

#[test]
fn after_an_overload_all_is_served_again() {
    let mut world = World::new(10, gradient(true));
    world.run(500, 30, WORK_US);
    world.run(3_000, 60, WORK_US);
    world.run(500, 10, WORK_US);
    let run = world.run(500, 60, WORK_US);
    assert_eq!(run.refused, 0);
}

#[test]
fn what_has_become_slower_for_good_becomes_usual() {
    let slower = 20_000..40_000;
    for applied in [true, false] {
        let mut world = World::new(20, gradient(applied));
        world.run(300, 60, WORK_US);
        world.run(300, 120, slower.clone());
        let run = world.run(300, 60, slower.clone());
        assert_eq!(run.refused, 0, "{applied}");
    }
}

#[test]
fn a_few_long_polls_do_not_decide() {
    let mut gradient = gradient(true);
    let rng = Rng::new(9);
    for now in 0..60_000 {
        let took = if rng.below(100) == 0 {
            30_000
        } else {
            5 + rng.below(5)
        };
        gradient.sample(ms(took), 40, at(now));
    }
    assert!(gradient.limit() > 80, "{}", gradient.limit());
}
