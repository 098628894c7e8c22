//! What the observer hears, and in which order, when others make transitions while it listens.

use std::sync::{Mutex, OnceLock, Weak};

use super::*;
use crate::config::settings::PoolSettings;
use crate::event::State::{Draining, Maintenance};
use crate::event::{Observer, Transition};
use crate::pool::testing::backends;

/// An observer during whose first call another thread makes a transition.
#[derive(Default)]
struct Interrupted {
    pool: OnceLock<Weak<SharedPool>>,
    begun: AtomicBool,
    heard: Mutex<Vec<(State, State)>>,
}

impl Observer for Interrupted {
    fn transition(&self, transition: &Transition<'_>) {
        if !self.begun.swap(true, Ordering::SeqCst) {
            let pool = self.pool.get().and_then(Weak::upgrade).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| pool.maintain("m0", at(20)).unwrap());
            });
        }
        let heard = (transition.from, transition.to);
        self.heard.lock().unwrap().push(heard);
    }
}

#[test]
fn transitions_are_told_in_the_order_in_which_they_happened() {
    let observer = Arc::new(Interrupted::default());
    let settings = PoolSettings {
        health: Health::Off,
        ..PoolSettings::new("app", backends(2))
    };
    let listening = Arc::clone(&observer) as Arc<dyn Observer>;
    let pool = SharedPool::new(&settings, Rng::new(1), listening, at(0));
    observer.pool.set(Arc::downgrade(&pool)).unwrap();
    pool.drain("m0", at(10)).unwrap();
    assert_eq!(
        *observer.heard.lock().unwrap(),
        [(Up, Draining), (Draining, Maintenance)]
    );
}
