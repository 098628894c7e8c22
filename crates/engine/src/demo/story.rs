//! What happened so far, told from the events: conditions, incidents, counters, and in the end a summary.
//!
//! Plain code that is told the time. It starts nothing and writes nothing.

use std::time::Duration;

use lb_core::event::{State, Transition, Trigger};
use lb_core::time::Instant;

use super::picture::{Clients, Condition, EVENTS, Server, View};
use super::programme::{Act, NAMES, PROGRAMME, SERVERS, Step, incident};
use super::tally::{Ending, Tally};

/// After a server is back, failures are not excused for longer than this.
const GRACE: Duration = Duration::from_secs(1);

/// A transition that outlives its event.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    at: Instant,
    member: Box<str>,
    from: State,
    to: State,
    trigger: Trigger,
}

impl From<&Transition<'_>> for Notice {
    fn from(transition: &Transition<'_>) -> Self {
        Self {
            at: transition.at,
            member: transition.member.into(),
            from: transition.from,
            to: transition.to,
            trigger: transition.trigger,
        }
    }
}

/// Something bad that was done to servers, and how it went on.
#[derive(Debug)]
struct Incident {
    name: String,
    at: Instant,
    victims: Vec<Victim>,
}

#[derive(Debug)]
struct Victim {
    server: usize,
    /// When the balancer took it out.
    noticed: Option<Instant>,
    /// When it could work again.
    revived: Option<Instant>,
    /// When it first answered a request that was sent after that.
    answered: Option<Instant>,
}

impl Incident {
    /// From the incident until the balancer had taken out every victim.
    fn noticed_after(&self) -> Option<Duration> {
        let after = |victim: &Victim| Some(victim.noticed?.saturating_since(self.at));
        longest(self.victims.iter().map(after))
    }

    /// From revival until every victim answered again.
    fn back_after(&self) -> Option<Duration> {
        let after = |victim: &Victim| Some(victim.answered?.saturating_since(victim.revived?));
        longest(self.victims.iter().map(after))
    }
}

/// The longest of all, if all are known.
fn longest(mut times: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    times.try_fold(Duration::ZERO, |longest, time| Some(longest.max(time?)))
}

/// The time without any server: failures in it are nobody's fault.
#[derive(Debug)]
struct Outage {
    from: Instant,
    /// When the first server was started again.
    revived: Option<Instant>,
    /// When the first answer came.
    until: Option<Instant>,
}

impl Outage {
    fn end(&self) -> Option<Instant> {
        self.until.or(self.revived.map(|revived| revived + GRACE))
    }

    fn covers(&self, sent: Instant, ended: Instant) -> bool {
        ended >= self.from && self.end().is_none_or(|end| sent <= end)
    }
}

/// One run through the programme.
#[derive(Debug)]
pub(super) struct Story {
    started: Instant,
    step: usize,
    conditions: [Condition; SERVERS],
    states: [State; SERVERS],
    tally: Tally,
    incidents: Vec<Incident>,
    outage: Option<Outage>,
    events: Vec<String>,
}

impl Story {
    /// All servers run; the balancer knows nothing of them.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            step: 0,
            conditions: [Condition::Running; SERVERS],
            states: [State::Unknown; SERVERS],
            tally: Tally::new(now),
            incidents: Vec::new(),
            outage: None,
            events: Vec::new(),
        }
    }

    /// The next run: counted from zero, with the servers as they are.
    pub(super) fn again(self, now: Instant) -> Self {
        Self {
            conditions: self.conditions,
            states: self.states,
            events: self.events,
            ..Self::new(now)
        }
    }

    /// The step that runs.
    pub(super) fn step(&self) -> &'static Step {
        &PROGRAMME[self.step]
    }

    /// Step `index` begins.
    pub(super) fn enter(&mut self, index: usize) {
        self.step = index.min(PROGRAMME.len() - 1);
    }

    /// `act` was carried out.
    pub(super) fn acted(&mut self, act: Act, now: Instant) {
        let victims: &[usize] = match &act {
            Act::Watch => return,
            Act::Kill(who) => who,
            Act::Freeze(one) => std::slice::from_ref(one),
            Act::Start(who) => {
                for &server in *who {
                    self.conditions[server] = Condition::Starting;
                }
                return;
            }
            Act::Thaw(one) => return self.revived(*one, now),
        };
        for &server in victims {
            self.conditions[server] = match act {
                Act::Freeze(_) => Condition::Frozen,
                _ => Condition::Killed,
            };
        }
        let victim = |&server| Victim {
            server,
            noticed: None,
            revived: None,
            answered: None,
        };
        self.incidents.push(Incident {
            name: incident(act).unwrap_or_default(),
            at: now,
            victims: victims.iter().map(victim).collect(),
        });
        if self
            .conditions
            .iter()
            .all(|condition| *condition == Condition::Killed)
        {
            self.outage = Some(Outage {
                from: now,
                revived: None,
                until: None,
            });
        }
    }

    /// A server can work again: it said its address, or it was thawed.
    pub(super) fn revived(&mut self, server: usize, now: Instant) {
        self.conditions[server] = Condition::Running;
        if let Some(victim) = self.victim(server) {
            victim.revived.get_or_insert(now);
        }
        if let Some(outage) = &mut self.outage {
            outage.revived.get_or_insert(now);
        }
    }

    /// The balancer changed its mind about a server. Returns the line that tells of it.
    pub(super) fn noticed(&mut self, notice: &Notice) -> Option<&str> {
        let server = NAMES.iter().position(|name| **name == *notice.member)?;
        self.states[server] = notice.to;
        if notice.to != State::Up
            && let Some(victim) = self.victim(server)
            && victim.revived.is_none()
        {
            victim.noticed.get_or_insert(notice.at);
        }
        let seconds = notice.at.saturating_since(self.started).as_secs_f64();
        if self.events.len() == EVENTS {
            self.events.remove(0);
        }
        self.events.push(format!(
            "{seconds:6.2} s  {}: {} -> {} ({})",
            notice.member,
            notice.from.as_str(),
            notice.to.as_str(),
            notice.trigger
        ));
        self.events.last().map(String::as_str)
    }

    /// A client sent request `id`.
    pub(super) fn sent(&mut self, id: u64, now: Instant) {
        self.tally.sent(id, now);
    }

    /// Request `id` ended: with the answer of that server, or without one.
    pub(super) fn ended(&mut self, id: u64, answer: Option<usize>, now: Instant) {
        let Some(sent) = self.tally.sent_at(id) else {
            return;
        };
        let ending = match answer {
            Some(server) => {
                self.answered(server, sent, now);
                Ending::Answered(server)
            }
            None if self
                .outage
                .as_ref()
                .is_some_and(|outage| outage.covers(sent, now)) =>
            {
                Ending::Excused
            }
            None => Ending::Failed,
        };
        self.tally.ended(id, ending, now);
    }

    fn answered(&mut self, server: usize, sent: Instant, now: Instant) {
        if let Some(victim) = self.victim(server)
            && victim.revived.is_some_and(|revived| sent >= revived)
        {
            victim.answered.get_or_insert(now);
        }
        if let Some(outage) = &mut self.outage
            && outage.revived.is_some_and(|revived| now >= revived)
        {
            outage.until.get_or_insert(now);
        }
    }

    /// The server's part in the last incident it had.
    fn victim(&mut self, server: usize) -> Option<&mut Victim> {
        let victims = self
            .incidents
            .iter_mut()
            .rev()
            .flat_map(|incident| &mut incident.victims);
        victims.into_iter().find(|victim| victim.server == server)
    }

    /// What is to be seen now; `in_flight` are the balancer's own counts.
    pub(super) fn view<'a>(
        &'a self,
        url: &'a str,
        load: u32,
        in_flight: [u32; SERVERS],
        now: Instant,
    ) -> View<'a> {
        let second = self.tally.last_second(now);
        View {
            url,
            load,
            step: (self.step(), self.step + 1, PROGRAMME.len()),
            servers: std::array::from_fn(|index| Server {
                name: NAMES[index],
                condition: self.conditions[index],
                state: self.states[index],
                per_second: second.answered[index],
                in_flight: in_flight[index],
            }),
            clients: Clients {
                per_second: second.sent,
                waiting: self.tally.waiting(),
                failed: self.tally.failed,
                excused: self.tally.excused,
                slowest: second.slowest,
            },
            events: &self.events,
        }
    }

    /// Nothing failed that somebody could have answered, every incident happened and was overcome, and nobody waits.
    pub(super) fn is_as_wanted(&self, now: Instant) -> bool {
        let planned = PROGRAMME
            .iter()
            .filter_map(|step| incident(step.act))
            .count();
        self.tally.failed == 0
            && self.tally.answered > 0
            && self.incidents.len() == planned
            && self
                .incidents
                .iter()
                .all(|incident| incident.back_after().is_some())
            && self.tally.still_stuck(now) == 0
    }

    /// The summary, line by line.
    pub(super) fn summary(&self, now: Instant) -> Vec<String> {
        let tally = &self.tally;
        let seconds = now.saturating_since(self.started).as_secs_f64();
        let mut lines = vec![
            format!("Summary of {seconds:.1} seconds"),
            format!("  requests sent             {:>6}", tally.sent),
            format!("  answered by a server      {:>6}", tally.answered),
            format!("  503, no server was there  {:>6}", tally.excused),
            format!("  failed                    {:>6}", tally.failed),
            format!("  stuck for over 250 ms     {:>6}", tally.stuck(now)),
            "  incident      balancer reacts after   server answers again, once revived, after"
                .to_owned(),
        ];
        lines.extend(self.incidents.iter().map(|incident| {
            format!(
                "  {:<12}  {:>21}   {:>41}",
                incident.name,
                shown(incident.noticed_after()),
                shown(incident.back_after())
            )
        }));
        lines.push(if self.is_as_wanted(now) {
            "As wanted: no request failed that another server could have answered.".to_owned()
        } else {
            "NOT as wanted: a request failed or hangs, or a server did not come back.".to_owned()
        });
        lines
    }
}

fn shown(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{} ms", time.as_millis()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_core::error::Cause;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    fn notice(server: usize, from: State, to: State, ms: u64) -> Notice {
        let trigger = match to {
            State::Up => Trigger::ProbesPassed(1),
            _ => Trigger::ConnectFailed(Cause::Refused),
        };
        Notice {
            at: at(ms),
            member: NAMES[server].into(),
            from,
            to,
            trigger,
        }
    }

    fn request(story: &mut Story, id: u64, sent: u64, ended: u64, answer: Option<usize>) {
        story.sent(id, at(sent));
        story.ended(id, answer, at(ended));
    }

    /// The whole programme as it should go, with one request or two in each step.
    fn good() -> Story {
        let mut story = Story::new(at(0));
        request(&mut story, 1, 10, 12, Some(0));
        story.acted(Act::Kill(&[1]), at(3_000));
        story.noticed(&notice(1, State::Up, State::Suspect, 3_004));
        request(&mut story, 2, 3_001, 3_005, Some(2));
        story.acted(Act::Start(&[1]), at(7_000));
        story.revived(1, at(7_010));
        story.noticed(&notice(1, State::Suspect, State::Up, 7_100));
        request(&mut story, 3, 7_110, 7_112, Some(1));
        story.acted(Act::Freeze(2), at(10_000));
        story.sent(4, at(10_001));
        story.noticed(&notice(2, State::Up, State::Stalled, 11_003));
        story.acted(Act::Thaw(2), at(15_000));
        story.ended(4, Some(2), at(15_001));
        request(&mut story, 5, 15_002, 15_003, Some(2));
        story.acted(Act::Kill(&[0, 1, 2]), at(18_000));
        for (server, ms) in [(0, 18_002), (1, 18_003), (2, 18_004)] {
            story.noticed(&notice(server, State::Up, State::Suspect, ms));
        }
        request(&mut story, 6, 18_001, 18_004, None);
        request(&mut story, 7, 20_000, 20_001, None);
        story.acted(Act::Start(&[0, 1, 2]), at(20_500));
        for server in 0..SERVERS {
            story.revived(server, at(20_510));
        }
        request(&mut story, 8, 20_520, 20_521, None);
        for (id, server) in [(9, 0), (10, 1), (11, 2)] {
            request(&mut story, id, 20_600 + id, 20_601 + id, Some(server));
        }
        story
    }

    #[test]
    fn the_summary_of_a_good_run_counts_and_measures() {
        let story = good();
        assert!(story.is_as_wanted(at(24_000)));
        assert_eq!(
            story.summary(at(24_000)),
            [
                "Summary of 24.0 seconds",
                "  requests sent                 11",
                "  answered by a server           8",
                "  503, no server was there       3",
                "  failed                         0",
                "  stuck for over 250 ms          1",
                "  incident      balancer reacts after   server answers again, once revived, after",
                "  b killed                       4 ms                                      102 ms",
                "  c frozen                    1003 ms                                        3 ms",
                "  all killed                     4 ms                                      102 ms",
                "As wanted: no request failed that another server could have answered.",
            ]
        );
    }

    #[test]
    fn one_failure_while_a_server_could_have_answered_spoils_the_run() {
        let mut story = good();
        request(&mut story, 12, 23_000, 23_001, None);
        assert!(!story.is_as_wanted(at(24_000)));
        assert!(story.summary(at(24_000)).last().unwrap().starts_with("NOT"));
    }

    #[test]
    fn a_request_that_still_hangs_or_an_incident_without_recovery_spoils_the_run() {
        let mut hanging = good();
        hanging.sent(12, at(23_000));
        assert!(!hanging.is_as_wanted(at(24_000)));
        assert!(
            hanging.is_as_wanted(at(23_100)),
            "it may still be answered in time"
        );

        let mut lost = Story::new(at(0));
        request(&mut lost, 1, 10, 12, Some(0));
        lost.acted(Act::Kill(&[1]), at(3_000));
        assert!(!lost.is_as_wanted(at(4_000)));
        assert!(lost.summary(at(4_000))[7].ends_with("never"));
    }

    #[test]
    fn failures_are_excused_while_nobody_is_there_and_a_second_longer_at_most() {
        let all = &[0, 1, 2];
        let mut story = Story::new(at(0));
        request(&mut story, 1, 990, 995, None);
        assert_eq!((story.tally.failed, story.tally.excused), (1, 0));
        story.acted(Act::Kill(all), at(1_000));
        request(&mut story, 2, 999, 1_001, None);
        request(&mut story, 3, 5_000, 5_001, None);
        story.acted(Act::Start(all), at(6_000));
        story.revived(0, at(6_000));
        request(&mut story, 4, 6_900, 6_901, None);
        assert_eq!((story.tally.failed, story.tally.excused), (1, 3));
        request(&mut story, 5, 7_001, 7_002, None);
        assert_eq!((story.tally.failed, story.tally.excused), (2, 3));
    }

    #[test]
    fn the_first_answer_ends_the_excuse() {
        let mut story = Story::new(at(0));
        story.acted(Act::Kill(&[0, 1, 2]), at(1_000));
        story.revived(0, at(2_000));
        request(&mut story, 1, 2_100, 2_101, Some(0));
        request(&mut story, 2, 2_102, 2_103, None);
        assert_eq!((story.tally.failed, story.tally.excused), (1, 0));
    }

    #[test]
    fn an_answer_to_a_request_from_before_the_thaw_is_no_recovery() {
        let mut story = Story::new(at(0));
        story.acted(Act::Freeze(2), at(1_000));
        story.sent(1, at(1_001));
        story.acted(Act::Thaw(2), at(5_000));
        story.ended(1, Some(2), at(5_001));
        assert_eq!(story.incidents[0].back_after(), None);
        request(&mut story, 2, 5_002, 5_004, Some(2));
        assert_eq!(
            story.incidents[0].back_after(),
            Some(Duration::from_millis(4))
        );
    }

    #[test]
    fn a_view_shows_conditions_states_and_the_last_transitions() {
        let mut story = Story::new(at(0));
        for server in 0..SERVERS {
            story.noticed(&notice(server, State::Unknown, State::Up, 5));
        }
        story.enter(1);
        story.acted(Act::Kill(&[1]), at(3_000));
        let line = story
            .noticed(&notice(1, State::Up, State::Suspect, 3_004))
            .unwrap();
        assert_eq!(line, "  3.00 s  b: up -> suspect (connect failed: refused)");
        let view = story.view("http://127.0.0.1:1/", 120, [0, 0, 1], at(3_010));
        assert_eq!(view.step.1, 2);
        assert_eq!(view.servers[1].condition, Condition::Killed);
        assert_eq!(
            view.servers.map(|server| server.state),
            [State::Up, State::Suspect, State::Up]
        );
        assert_eq!(view.servers[2].in_flight, 1);
        assert_eq!(view.events.len(), 4);
    }

    #[test]
    fn the_next_run_counts_from_zero_and_remembers_what_is_known_of_the_servers() {
        let mut story = good();
        for server in 0..SERVERS {
            story.noticed(&notice(server, State::Suspect, State::Up, 20_600));
        }
        let next = story.again(at(30_000));
        assert_eq!((next.tally.sent, next.incidents.len()), (0, 0));
        assert_eq!(next.states, [State::Up; SERVERS]);
        assert_eq!(next.events.len(), EVENTS);
    }
}
