//! The state machine of a pool: every transition of every member, and who is eligible.
//!
//! It is plain and synchronous: told what happened and when, it changes its members and notes what to report. It does no
//! I/O, takes no lock and reads no clock.

mod asking;
mod census;
mod considered;
mod leaving;
mod looking;
mod publishing;

use std::sync::Arc;
use std::time::Duration;

pub(super) use census::Census;
use leaving::Accused;
use looking::Looks;
use publishing::Publishing;

use super::eligible::Bar;
use super::slot::Slot;
use super::view::{MemberView, Passage, Timeline};
use super::{Member, Snapshot};
use crate::config::settings::{Balance, Health, Passive, PoolSettings, ProbeSettings, WhenAllDown};
use crate::error::Cause;
use crate::event::{State, Trigger};
use crate::health::normal::Counts;
use crate::health::probe::{Finding, Probe};
use crate::health::schedule::{Schedule, anywhere, jittered};
use crate::health::tracker::{Limits, Tracker, Verdict};
use crate::health::trial::TrialEnd;
use crate::picker::{Algorithm, algorithm};
use crate::rng::Rng;
use crate::time::Instant;

pub(super) struct Pool {
    slots: Vec<Slot>,
    census: Census,
    algorithm: Box<dyn Algorithm>,
    /// The members in the published snapshot, and what was asked of them.
    published: Vec<usize>,
    /// How many of them still are of the best tier.
    published_in: usize,
    bar: Bar,
    /// The first few that are not in it, for those who ask why.
    out: Vec<usize>,
    publishing: Publishing,
    /// `None` when nobody probes.
    probes: Option<Arc<ProbeSettings>>,
    schedule: Schedule,
    /// `None` when failing requests eject nobody.
    passive: Option<Passive>,
    when_all_down: WhenAllDown,
    /// When the window began over which shares are taken.
    window: Instant,
    rng: Rng,
    looks: Looks,
    accused: Accused,
    reports: Vec<Report>,
    /// How long the answers of all members took, as of the last regular look.
    learned: Counts,
    /// The members about whom the stall guard has a question of its own.
    inquiries: Vec<usize>,
    /// Where to look for the next one to ask besides.
    next_witness: usize,
    /// Members that were just found stalled.
    stuck: Vec<Arc<Member>>,
    /// Something became due before what the monitor was told.
    urgent: bool,
}

/// How long a pool of so many members rests between two works that go over all of them: five microseconds each, in whole
/// milliseconds, which is nothing below two hundred.
fn pause(members: usize) -> Duration {
    Duration::from_millis(u64::try_from(members / 200).unwrap_or(u64::MAX))
}

/// A transition that happened and has not been told to anybody yet.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) member: Arc<Member>,
    pub(super) from: State,
    pub(super) to: State,
    pub(super) trigger: Trigger,
    pub(super) at: Instant,
}

impl Pool {
    /// A pool whose members are unknown, or up when nobody probes, and the first snapshot.
    pub(super) fn new(settings: &PoolSettings, rng: Rng, now: Instant) -> (Self, Snapshot) {
        let (probes, verdict) = match &settings.health {
            Health::Off => (None, Verdict::Up),
            Health::Probes(probes) => (Some(Arc::new(probes.clone())), Verdict::Unknown),
        };
        let limits = Limits::from(&*probes.clone().unwrap_or_default());
        let crowd = settings.balance.is_bounded().then(Arc::default);
        let slot = |(index, backend): (usize, &crate::backend::Backend)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let member = Member::new(index, backend.clone())
                .in_crowd(crowd.as_ref())
                .timed(settings.balance == Balance::PeakEwma)
                .limited(&settings.limits)
                .slowly(settings.slow_start);
            let member = Arc::new(member);
            Slot::new(member, Tracker::new(verdict, limits), now)
        };
        let slots: Vec<_> = settings.servers.iter().enumerate().map(slot).collect();
        let census = Census::of(&slots);
        let bar = Bar::among(&census, settings.when_all_down);
        let mut pool = Self {
            schedule: match &probes {
                Some(probes) => Schedule::new(slots.len(), probes.interval, now),
                None => Schedule::idle(slots.len()),
            },
            slots,
            census,
            algorithm: algorithm(settings),
            published: Vec::new(),
            published_in: 0,
            bar,
            out: Vec::new(),
            publishing: Publishing::new(settings.servers.len()),
            probes,
            passive: settings.passive.clone(),
            when_all_down: settings.when_all_down,
            window: now,
            rng,
            looks: Looks::new(settings.servers.len(), now),
            accused: Accused::default(),
            reports: Vec::new(),
            learned: Counts::default(),
            inquiries: Vec::new(),
            next_witness: 0,
            stuck: Vec::new(),
            urgent: false,
        };
        pool.set_published(bar.eligible(&pool.slots));
        let first = pool.snapshot(None);
        (pool, first)
    }

    /// Nobody is eligible by right, and requests are sent anyway.
    fn is_desperate(&self) -> bool {
        self.when_all_down == WhenAllDown::TryAnyway && self.census.present() == 0
    }

    /// The new snapshot, if it is time for one and the eligible members are no longer those of `before`.
    pub(super) fn publish(&mut self, before: &Snapshot) -> Option<Snapshot> {
        let bar = Bar::among(&self.census, self.when_all_down);
        let deserted = self.published_in == 0 && bar.is_met();
        if !self.publishing.take(bar != self.bar || deserted) {
            return None;
        }
        self.bar = bar;
        if self.is_desperate() {
            for slot in self.slots.iter_mut().filter(|slot| slot.is_wanted()) {
                self.census.track(slot, Slot::try_anyway);
            }
        }
        let eligible = self.bar.eligible(&self.slots);
        let same = eligible == self.published;
        self.set_published(eligible);
        (!same).then(|| self.snapshot(Some(before)))
    }

    /// The monitor's step is over: what takes a look at all is done, and what has changed is published.
    pub(super) fn end_step(&mut self, now: Instant) {
        self.hear(now);
        self.publishing.step(now);
    }

    /// How many members may be picked.
    pub(super) fn eligible(&self) -> usize {
        self.bar.count(&self.census)
    }

    fn snapshot(&self, before: Option<&Snapshot>) -> Snapshot {
        let member = |&index: &usize| Arc::clone(&self.slots[index].member);
        let members = self.published.iter().map(member).collect();
        Snapshot::new(members, &*self.algorithm, before)
    }

    /// What happened since this was last asked.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The members at which requests wait in vain since this was last asked.
    pub(super) fn take_stuck(&mut self) -> Vec<Arc<Member>> {
        std::mem::take(&mut self.stuck)
    }

    /// Must the monitor ask again before the time it was given?
    pub(super) fn take_urgent(&mut self) -> bool {
        std::mem::take(&mut self.urgent)
    }

    /// How long the answers of all members took, as of the last regular look.
    pub(super) fn learned(&self) -> &Counts {
        &self.learned
    }

    /// The probes to start now, and when to ask again. Those who `rang` may be silent and were not expected to be.
    pub(super) fn due(
        &mut self,
        rang: impl IntoIterator<Item = u32>,
        now: Instant,
    ) -> (Vec<Probe>, Instant) {
        for index in rang {
            self.looks.rang(index as usize);
        }
        self.look(now);
        let mut started = Vec::new();
        if let Some(settings) = &self.probes {
            while let Some(index) = self.schedule.start(now) {
                started.push(self.slots[index].probe_starts(settings, now));
            }
        }
        self.end_step(now);
        let next = self.schedule.next_due().min(self.looks.next());
        (
            started,
            next.min(self.publishing.next()).min(self.accused.next()),
        )
    }

    /// A probe has its verdict.
    pub(super) fn probed(&mut self, probe: &Probe, finding: Finding, now: Instant) {
        let alone = self.census.count(State::Up) == 0;
        let index = probe.member.index() as usize;
        let was_well = self.is_well(index);
        let slot = &mut self.slots[index];
        let outdated = slot.outdates(probe);
        let answered = slot.probe_ends(probe, finding, now);
        let finding = if slot.state == State::Maintenance {
            Finding::Nothing
        } else {
            finding
        };
        let trigger = match finding {
            Finding::Passed => slot.passed(probe, alone, now),
            Finding::Failed(failure) => slot.failed(failure, now),
            Finding::Nothing => None,
        };
        if finding != Finding::Nothing {
            slot.member.count_probe(finding == Finding::Passed);
        }
        if answered {
            self.testify(index, probe.started, now);
        }
        self.settle(index, trigger, now);
        self.plan(probe, outdated, was_well, now);
        self.urgent = true;
    }

    /// Sets when a member that was just probed is probed next.
    fn plan(&mut self, probe: &Probe, outdated: bool, was_well: bool, now: Instant) {
        let index = probe.member.index() as usize;
        let (settings, rng) = (&probe.settings, &self.rng);
        if self.slots[index].state == State::Maintenance {
            self.schedule.set(index, Instant::NEVER);
        } else if outdated {
            self.schedule.set(index, now);
        } else if self.is_well(index) {
            let pause = match was_well {
                true => jittered(settings.interval, rng),
                false => anywhere(settings.interval, rng),
            };
            let next = now.max(probe.started + pause);
            self.schedule.set_regular(index, next);
        } else {
            let pause = jittered(settings.interval_down, rng);
            self.schedule.set(index, now.max(probe.started + pause));
        }
    }

    /// Is a member probed only to see whether it still is as it was?
    fn is_well(&self, index: usize) -> bool {
        matches!(self.slots[index].state, State::Up | State::Draining)
    }

    /// A probe is over, its answer drained; or it was given up, and one without a verdict is due again.
    pub(super) fn probe_over(&mut self, probe: &Probe, judged: bool) {
        self.schedule.over();
        let index = probe.member.index() as usize;
        if !judged && self.slots[index].state != State::Maintenance {
            self.schedule.set(index, probe.started);
        }
    }

    /// No connection could be made for an attempt that was picked at `picked`.
    pub(super) fn connect_failed(
        &mut self,
        index: usize,
        cause: Cause,
        picked: Instant,
        now: Instant,
    ) {
        let trigger = self.slots[index].connect_failed(cause, picked, now);
        self.settle(index, trigger, now);
    }

    /// A stalled member sent a byte.
    pub(super) fn heard_from(&mut self, index: usize, now: Instant) {
        let desperate = self.is_desperate();
        let trigger = self.slots[index].answered(desperate, now);
        self.settle(index, Some(trigger), now);
    }

    /// The one request that tests a member has ended, or shown that the member answers.
    pub(super) fn trial_ended(&mut self, index: usize, end: TrialEnd) {
        if !self.slots[index].is_on_trial() {
            return; // Something else has decided meanwhile.
        }
        match end {
            TrialEnd::Answered(now) => {
                let trigger = self.slots[index].trial_answered(now);
                self.settle(index, Some(trigger), now);
            }
            TrialEnd::Failed(now) => {
                let (slot, rules) = (&mut self.slots[index], self.passive.as_ref());
                self.census
                    .track(slot, |slot| slot.trial_failed(rules, &self.rng, now));
                let trials = slot.trials;
                let due = trials.map_or(Instant::NEVER, |trials| trials.due());
                self.looks.by(index, due);
                self.publishing.note();
                self.urgent = true;
            }
            TrialEnd::Abandoned => self.slots[index].member.offer_trial(),
        }
    }

    /// Makes a change of a slot's facts visible, and notes what follows from it.
    fn settle(&mut self, index: usize, trigger: Option<Trigger>, now: Instant) {
        let Some(trigger) = trigger else { return };
        self.change(index, trigger, now);
        if self.census.present() == 0 && self.census.count(State::Ejected) > 0 {
            self.recall(now);
        }
    }

    fn change(&mut self, index: usize, trigger: Trigger, now: Instant) {
        let probed = self.probes.is_some();
        let slot = &mut self.slots[index];
        let Some(from) = self.census.track(slot, |slot| slot.settle(probed, now)) else {
            return;
        };
        if slot.published {
            let takes = |state| usize::from(self.bar.takes(state, slot.is_backup()));
            self.published_in += takes(slot.state);
            self.published_in -= takes(from);
        }
        let unproven = slot.state == State::Unknown && self.census.count(State::Up) > 0;
        let tried_anyway = self.is_desperate() && self.slots[index].is_wanted();
        let slot = &mut self.slots[index];
        if unproven || slot.is_out() && !tried_anyway {
            slot.member.close();
        }
        slot.remember(Passage {
            from,
            to: slot.state,
            trigger,
            at: now,
        });
        self.reports.push(Report {
            member: Arc::clone(&slot.member),
            from,
            to: slot.state,
            trigger,
            at: now,
        });
        if slot.is_out() {
            self.schedule.hurry(index, now);
        }
        if let Some(trials) = slot.trials {
            self.looks.by(index, trials.due());
        }
        self.publishing.note();
        self.urgent = true;
    }

    /// What each member has been through lately, in file order.
    pub(super) fn timeline(&self) -> Vec<Timeline> {
        let timeline = |slot: &Slot| Timeline {
            name: Arc::clone(slot.member.name()),
            passages: slot.passages.iter().copied().collect(),
        };
        self.slots.iter().map(timeline).collect()
    }

    /// Every member, in file order.
    pub(super) fn view(&self) -> Vec<MemberView> {
        let view = |slot: &Slot| MemberView {
            name: Arc::clone(slot.member.name()),
            state: slot.state,
            since: slot.since,
            in_flight: slot.member.in_flight(),
            waiting: slot.member.waiting(),
            adaptive_limit: slot.member.adaptive_limit(),
            counters: slot.member.counters(),
        };
        self.slots.iter().map(view).collect()
    }
}
