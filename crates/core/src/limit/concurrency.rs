//! How many attempts one member can use at a time, learned from its times to the first byte.
//!
//! More in flight than a server works on at once only waits there: answers get slower and not more. So the limit follows the
//! ratio of what is usual (`base`) to what is now (`short`), as TCP Vegas does with round trips (Brakmo and Peterson, *TCP Vegas:
//! end to end congestion avoidance*, 1995), and Netflix' concurrency-limits (`Gradient2Limit`) and Envoy's adaptive
//! concurrency filter with requests:
//!
//! ```text
//! gradient = TOLERANCE · base / short, between 0.5 and 1
//! wanted   = gradient · limit + √limit          (√limit is the queue that is allowed)
//! limit    moves a part of the way to what is wanted, between its floor and its ceiling
//! ```
//!
//! A window of a tenth of a second or more, with enough samples, makes one step. Its time is the geometric mean, so that a few long
//! polls do not decide. The limit grows only while it is used, and begins at its ceiling: a pool that is well never meets it.
//!
//! What is usual must not follow an overload, or the limit would follow it, too, and grow without end. So it rises only in windows
//! that are neither slow nor near the limit. A server that has become slower for good looks like an overloaded one; when the
//! limit has pressed for half a minute it goes to its floor for a moment, and what is measured there is usual from
//! then on (as Envoy's `min_rtt` windows). So it does where the ceiling is in full use, because whoever has begun under an
//! overload takes that for usual. Somebody who only observes cannot do that and believes what he sees.

use std::time::Duration;

use crate::time::Instant;

/// How much slower than usual an answer may be before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// How much of the way a step goes.
const SMOOTHING: f64 = 0.2;
/// A window lasts at least so long, and has at least so many samples.
const WINDOW: Duration = Duration::from_millis(100);
const SAMPLES: u32 = 20;
/// In what time the usual is forgotten.
const FADES_IN: Duration = Duration::from_secs(60);
/// After so long under pressure what is usual is measured anew.
const PRESSED: Duration = Duration::from_secs(30);
/// That takes so long at most, counted from when what is in flight had last sunk to such a part of what it was.
const MEASURING: Duration = Duration::from_secs(2);
const DRAINS: f64 = 0.95;
/// A change is told when the limit is so many times what was told last, or the other way round, and not more often.
const MUCH: f64 = 1.5;
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Between what the limit moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// A step of the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// The limit from now on.
    pub(crate) limit: u32,
    /// It has changed much since that was last said.
    pub(crate) much: bool,
}

/// The limit of one member.
#[derive(Debug)]
pub(crate) struct Gradient {
    bounds: Bounds,
    /// Does somebody keep to it?
    applied: bool,
    limit: f64,
    window: Window,
    /// The usual time, as the logarithm of nanoseconds; `None` before the first window.
    base: Option<f64>,
    /// How many windows it knows, up to where that no longer matters.
    windows: f64,
    /// For how long the limit has pressed, less the time since.
    pressed: Duration,
    /// The limit is at its floor in order to measure.
    measuring: Option<Measuring>,
    told: f64,
    tell_from: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Measuring {
    /// When what is in flight had last become less.
    since: Instant,
    /// How much that was.
    peak: u32,
}

impl Measuring {
    fn is_over(self, now: Instant) -> bool {
        now >= self.since + MEASURING
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    samples: u32,
    /// Of the logarithms.
    sum: f64,
    /// The most attempts in flight.
    peak: u32,
}

impl Window {
    fn new(since: Instant) -> Self {
        Self {
            since,
            samples: 0,
            sum: 0.0,
            peak: 0,
        }
    }

    /// Of the logarithms; only where there are samples.
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.samples)
    }
}

impl Gradient {
    /// A limit at its ceiling. `applied`: somebody keeps to it.
    pub(crate) fn new(bounds: Bounds, applied: bool) -> Self {
        Self {
            bounds,
            applied,
            limit: bounds.max.into(),
            window: Window::new(Instant::ORIGIN),
            base: None,
            windows: 0.0,
            pressed: Duration::ZERO,
            measuring: None,
            told: bounds.max.into(),
            tell_from: Instant::ORIGIN,
        }
    }

    /// The limit.
    pub(crate) fn limit(&self) -> u32 {
        match self.measuring {
            Some(_) => self.bounds.min,
            // Within the bounds, which are `u32`.
            None => self.limit.round() as u32,
        }
    }

    /// A first byte came after `time`, with so many attempts in flight. Returns a step when there is one.
    pub(crate) fn sample(&mut self, time: Duration, in_flight: u32, now: Instant) -> Option<Step> {
        let window = &mut self.window;
        if window.samples == 0 {
            window.since = now;
        }
        window.samples += 1;
        window.sum += (time.as_nanos().max(1) as f64).ln();
        window.peak = window.peak.max(in_flight);
        let full = window.samples >= SAMPLES && now >= window.since + WINDOW;
        let over = self.measuring.is_some_and(|m| m.is_over(now));
        (full || over).then(|| self.end_window(now))
    }

    /// Nothing need come for the limit to leave its floor again. Returns the step, if it does.
    pub(crate) fn wake(&mut self, now: Instant) -> Option<Step> {
        let over = self.measuring.is_some_and(|m| m.is_over(now));
        over.then(|| self.end_window(now))
    }

    fn end_window(&mut self, now: Instant) -> Step {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        if window.samples > 0 {
            self.close(window, now);
        } else {
            self.measuring = None;
        }
        let much = self.is_worth_telling(now);
        Step {
            limit: self.limit(),
            much,
        }
    }

    fn close(&mut self, window: Window, now: Instant) {
        let short = window.mean();
        let Some(base) = self.base else {
            self.base = Some(short);
            self.windows = 1.0;
            return;
        };
        if let Some(measuring) = &mut self.measuring {
            let drained = window.peak <= self.bounds.min;
            if drained || measuring.is_over(now) {
                self.base = Some(short);
                self.measuring = None;
            } else if f64::from(window.peak) <= f64::from(measuring.peak) * DRAINS {
                // It works off what it has, which costs nothing yet.
                *measuring = Measuring {
                    since: now,
                    peak: window.peak,
                };
            }
            return;
        }
        let gradient = (TOLERANCE * (base - short).exp()).clamp(0.5, 1.0);
        let used = f64::from(window.peak);
        let is_near = used * 2.0 >= self.limit;
        let took = now.saturating_since(window.since);
        if short < base || (gradient >= 1.0 && !is_near) {
            self.learn(short, took);
        }
        self.step(gradient, used, is_near);
        let presses = gradient < 1.0 && is_near || window.peak >= self.bounds.max;
        self.press(presses, &window, now);
    }

    /// Moves what is usual towards `short`: the mean of the first windows, and then of about the last minute.
    fn learn(&mut self, short: f64, took: Duration) {
        let most = FADES_IN.as_secs_f64() / took.max(WINDOW).as_secs_f64();
        self.windows = (self.windows + 1.0).min(most.max(1.0));
        if let Some(base) = &mut self.base {
            *base += (short - *base) / self.windows;
        }
    }

    fn step(&mut self, gradient: f64, used: f64, is_near: bool) {
        let from = if gradient < 1.0 {
            self.limit.min(used)
        } else if is_near {
            self.limit
        } else {
            return;
        };
        let wanted = gradient * from + from.sqrt();
        let (min, max) = (f64::from(self.bounds.min), f64::from(self.bounds.max));
        self.limit = (self.limit + SMOOTHING * (wanted - self.limit)).clamp(min, max);
    }

    /// After long pressure it is time to see what is usual without it.
    fn press(&mut self, presses: bool, window: &Window, now: Instant) {
        let took = now.saturating_since(window.since);
        if !presses {
            self.pressed = self.pressed.saturating_sub(took);
            return;
        }
        self.pressed += took;
        if self.pressed < PRESSED {
            return;
        }
        self.pressed = Duration::ZERO;
        if self.applied {
            self.measuring = Some(Measuring {
                since: now,
                peak: window.peak,
            });
        } else {
            self.base = Some(window.mean());
        }
    }

    fn is_worth_telling(&mut self, now: Instant) -> bool {
        let much = self.limit >= self.told * MUCH || self.limit * MUCH <= self.told;
        let tells = much && now >= self.tell_from;
        if tells {
            self.told = self.limit;
            self.tell_from = now + TELL_EVERY;
        }
        tells
    }
}

#[cfg(test)]
mod tests;
