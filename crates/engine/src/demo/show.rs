//! The show: carries out the programme, tells the story what happened, and shows it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::{Stream, StreamExt as _};
use lb_core::pool::SharedPool;
use lb_core::time::{Instant, Timer as _};

use super::backend::{Home, Process};
use super::load::Did;
use super::programme::{Act, NAMES, PROGRAMME, SERVERS};
use super::screen::Screen;
use super::story::{Notice, Story};
use super::{Failure, LOAD, picture};
use crate::cli::Demo;
use crate::rt::{Runtime, Signal, Spawn as _};

/// How long the summary can be read before the next run.
const INTERMISSION: Duration = Duration::from_secs(8);

/// Time between two status lines.
const STATUS: Duration = Duration::from_secs(1);

/// Something to react to.
pub(super) enum Event {
    /// A client sent a request, or one ended.
    Client(Did),
    /// The balancer changed its mind about a server.
    Notice(Notice),
    /// A server that was started again listens, or does not.
    Started(usize, bool),
    /// The outside asks for something.
    Signal(Signal),
    /// Time for a picture.
    Tick,
}

/// How the show ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Somebody stopped it.
    Stopped,
    /// The programme went through.
    AsWanted,
    /// The programme went through, and something failed that should not.
    NotAsWanted,
}

/// Whether the programme runs.
enum Scene {
    /// The current step ends then.
    Step(Instant),
    /// The next run begins then.
    Intermission(Instant),
}

/// Everything that is on the stage. Dropping it ends the servers and restores the terminal.
pub(super) struct Show<'a, R: Runtime> {
    runtime: &'a R,
    options: Demo,
    homes: [Home; SERVERS],
    processes: [Option<Process>; SERVERS],
    starts: mpsc::Sender<(usize, bool)>,
    pool: Arc<SharedPool>,
    url: String,
    screen: Screen<io::Stdout>,
    story: Story,
    scene: Scene,
    status_due: Instant,
}

impl<'a, R: Runtime> Show<'a, R> {
    /// A show with running servers, and the stream of servers that were started again.
    pub(super) fn new(
        runtime: &'a R,
        options: Demo,
        homes: [Home; SERVERS],
        processes: [Option<Process>; SERVERS],
        pool: Arc<SharedPool>,
        address: SocketAddr,
    ) -> (Self, mpsc::Receiver<(usize, bool)>) {
        let (starts, started) = mpsc::channel(SERVERS);
        let now = runtime.timer().now();
        let show = Self {
            runtime,
            options,
            homes,
            processes,
            starts,
            pool,
            url: format!("http://{address}/"),
            screen: Screen::stdout(),
            story: Story::new(now),
            scene: Scene::Step(now),
            status_due: now,
        };
        (show, started)
    }

    /// Gives the show until it is over.
    pub(super) async fn play(
        &mut self,
        events: &mut (impl Stream<Item = Event> + Unpin),
    ) -> Result<End, Failure> {
        if !self.screen.is_live() {
            let load = LOAD;
            self.screen.write(&[
                format!(
                    "Three servers behind a load balancer, which gets {load} requests per second."
                ),
                format!("Ask it yourself: curl {}", self.url),
            ])?;
        }
        self.enter(0)?;
        while let Some(event) = events.next().await {
            let now = self.now();
            match event {
                Event::Client(Did::Send(id)) => self.story.sent(id, now),
                Event::Client(Did::End(id, reply)) => self.story.ended(id, reply, now),
                Event::Notice(notice) => self.notice(&notice)?,
                Event::Started(server, true) => self.story.revived(server, now),
                Event::Started(server, false) => {
                    let what = format!("server {} was started again", NAMES[server]);
                    return Err(Failure::new(what, "it does not listen"));
                }
                Event::Signal(Signal::Stop) => return Ok(End::Stopped),
                Event::Signal(Signal::Reload) => {}
                Event::Tick => {
                    if let Some(end) = self.tick(now)? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(End::Stopped)
    }

    fn now(&self) -> Instant {
        self.runtime.timer().now()
    }

    fn tick(&mut self, now: Instant) -> Result<Option<End>, Failure> {
        match self.scene {
            Scene::Step(end) if now < end => self.picture(now)?,
            Scene::Step(_) => {
                let next = self.story.step_index() + 1;
                if next < PROGRAMME.len() {
                    self.enter(next)?;
                } else {
                    return self.summarize(now);
                }
            }
            Scene::Intermission(end) if now < end => {}
            Scene::Intermission(_) => {
                self.story.restart(now);
                self.enter(0)?;
            }
        }
        Ok(None)
    }

    /// Begins step `index`.
    fn enter(&mut self, index: usize) -> Result<(), Failure> {
        self.story.enter(index);
        let step = self.story.step();
        self.carry_out(step.act)
            .map_err(|error| Failure::new("a server cannot be controlled", error))?;
        let now = self.now();
        self.story.acted(step.act, now);
        self.scene = Scene::Step(now + step.lasts);
        if self.screen.is_live() {
            return self.picture(now);
        }
        // The numbers of this step begin a second later.
        self.status_due = now + STATUS;
        let mut lines = vec![
            String::new(),
            format!("{}/{}  {}", index + 1, PROGRAMME.len(), step.title),
        ];
        lines.extend(picture::explanation(step));
        Ok(self.screen.write(&lines)?)
    }

    fn carry_out(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Watch => {}
            Act::Kill(who) => who.iter().for_each(|&server| self.processes[server] = None),
            Act::Start(who) => {
                for &server in who {
                    self.start(server)?;
                }
            }
            Act::Freeze(server) => {
                if let Some(process) = &self.processes[server] {
                    process.freeze()?;
                }
            }
            Act::Thaw(server) => {
                if let Some(process) = &self.processes[server] {
                    process.thaw()?;
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, server: usize) -> io::Result<()> {
        let home = self.homes[server].address;
        let (process, listens) = Process::start(self.runtime, NAMES[server], home)?;
        self.processes[server] = Some(process);
        let mut starts = self.starts.clone();
        self.runtime.spawn().spawn(async move {
            // When the show is over, nobody wants to know.
            let _ = starts.try_send((server, listens.await == Ok(true)));
        });
        Ok(())
    }

    fn notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        let line = self.story.noticed(notice);
        match line {
            Some(line) if !self.screen.is_live() => Ok(self.screen.write(&[line])?),
            _ => Ok(()),
        }
    }

    /// The picture, or from time to time a line.
    fn picture(&mut self, now: Instant) -> Result<(), Failure> {
        let live = self.screen.is_live();
        if !live && now < self.status_due {
            return Ok(());
        }
        let view = self.story.view(&self.url, LOAD, self.in_flight(), now);
        if live {
            let lines = picture::draw(&view, self.screen.style());
            return Ok(self.screen.draw(&lines)?);
        }
        self.status_due = self.status_due + STATUS;
        let line = format!("{} {}", self.story.clock(now), picture::status(&view));
        Ok(self.screen.write(&[line])?)
    }

    /// As the balancer counts.
    fn in_flight(&self) -> [u32; SERVERS] {
        let mut in_flight = [0; SERVERS];
        for member in self.pool.view() {
            if let Some(server) = NAMES.iter().position(|name| **name == *member.name) {
                in_flight[server] = member.in_flight;
            }
        }
        in_flight
    }

    fn summarize(&mut self, now: Instant) -> Result<Option<End>, Failure> {
        let mut lines = vec![String::new()];
        lines.extend(self.story.summary(now));
        if !self.options.once {
            let seconds = INTERMISSION.as_secs();
            lines.push(format!(
                "It begins again in {seconds} seconds. Ctrl-C ends."
            ));
        }
        self.screen.write(&lines)?;
        if !self.options.once {
            self.scene = Scene::Intermission(now + INTERMISSION);
            return Ok(None);
        }
        Ok(Some(if self.story.is_as_wanted(now) {
            End::AsWanted
        } else {
            End::NotAsWanted
        }))
    }
}
