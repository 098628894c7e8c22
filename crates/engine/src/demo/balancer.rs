//! The balancer of the demo: the one that everybody gets, with its default settings, and an ear for what it notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use futures::channel::mpsc;
use lb_core::backend::Backend;
use lb_core::config::settings::{
    DebugSettings, Limits, ListenAddress, Listener, LogSettings, Origin, PoolSettings, Settings,
    Workers,
};
use lb_core::event::{Observer, Transition};

use super::story::Notice;

/// Untouched defaults: round robin, TCP probes; a port that the system chooses, unless it is given.
pub(super) fn settings(listen: Option<Listener>, servers: Vec<Backend>) -> Settings {
    let any_port = || Listener {
        name: "web".into(),
        address: ListenAddress::Exact((Ipv4Addr::LOCALHOST, 0).into()),
        origin: Origin::default(),
    };
    Settings {
        workers: Workers::Auto,
        listeners: vec![listen.unwrap_or_else(any_port)],
        pool: PoolSettings::new("demo", servers),
        limits: Limits::default(),
        log: LogSettings::default(),
        debug: DebugSettings::default(),
    }
}

/// Where to connect for what is bound at `address`: every address of this machine includes its loopback.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// Passes transitions on; a spectator that is too slow misses some.
pub(super) struct Ear(Mutex<mpsc::Sender<Notice>>);

impl Ear {
    pub(super) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(256);
        (Self(Mutex::new(sender)), receiver)
    }
}

impl Observer for Ear {
    fn transition(&self, transition: &Transition<'_>) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Full, or the demo is over.
        let _ = sender.try_send(Notice::from(transition));
    }

    fn wants_exchanges(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_everywhere_is_reached_here() {
        for (bound, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn a_slow_spectator_misses_transitions_and_holds_nobody_up() {
        use lb_core::event::{State, Trigger};
        use lb_core::time::Instant;

        let (ear, mut notices) = Ear::new();
        let transition = Transition {
            pool: "demo",
            member: "a",
            from: State::Unknown,
            to: State::Up,
            trigger: Trigger::ProbesPassed(1),
            eligible: 1,
            members: 3,
            at: Instant::ORIGIN,
        };
        (0..10_000).for_each(|_| ear.transition(&transition));
        let heard = std::iter::from_fn(|| notices.try_recv().ok()).count();
        assert!((256..300).contains(&heard), "{heard}");
    }
}
