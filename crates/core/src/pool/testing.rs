//! What the tests of several files need.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use super::{Member, MemberView, SharedPool};
use crate::backend::{Address, Backend};
use crate::config::settings::{Health, PoolSettings};
use crate::event::{Adapted, Observer, State, Transition};
use crate::rng::Rng;
use crate::time::Instant;

/// Backends `m0`, `m1`, … at 192.0.2.1, 192.0.2.2, …
pub(crate) fn backends(count: usize) -> Vec<Backend> {
    let backend = |index| Backend {
        name: format!("m{index}").into(),
        ..Backend::new(Address {
            host: format!("192.0.2.{}", index + 1).into(),
            port: 80,
        })
    };
    (0..count).map(backend).collect()
}

pub(crate) fn members(count: usize) -> Vec<Arc<Member>> {
    let numbered = (0u32..).zip(backends(count));
    numbered
        .map(|(index, backend)| Arc::new(Member::new(index, backend)))
        .collect()
}

/// Members with these weights, in this order.
pub(crate) fn weighted(weights: &[u32]) -> Vec<Arc<Member>> {
    let numbered = (0u32..).zip(backends(weights.len())).zip(weights);
    numbered
        .map(|((index, mut backend), weight)| {
            backend.weight = NonZeroU32::new(*weight).unwrap();
            Arc::new(Member::new(index, backend))
        })
        .collect()
}

pub(crate) fn pool_of(count: usize, health: Health, heard: &Arc<Heard>) -> Arc<SharedPool> {
    let settings = PoolSettings {
        health,
        ..PoolSettings::new("app", backends(count))
    };
    pool_with(&settings, heard)
}

pub(crate) fn pool_with(settings: &PoolSettings, heard: &Arc<Heard>) -> Arc<SharedPool> {
    SharedPool::new(
        settings,
        Rng::new(7),
        Arc::clone(heard) as Arc<dyn Observer>,
        Instant::ORIGIN,
    )
}

pub(crate) fn states(view: &[MemberView]) -> Vec<State> {
    view.iter().map(|member| member.state).collect()
}

/// An observer that keeps one line for each transition.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Heard {
    fn adapted(&self, a: &Adapted<'_>) {
        let how = if a.applied { "applied" } else { "observed" };
        self.0.lock().unwrap().push(format!(
            "{} limit {} ({} in flight, {how})",
            a.member, a.limit, a.in_flight
        ));
    }

    fn transition(&self, t: &Transition<'_>) {
        self.0.lock().unwrap().push(format!(
            "{} {} to {}: {} ({}/{})",
            t.member,
            t.from.as_str(),
            t.to.as_str(),
            t.trigger,
            t.eligible,
            t.members
        ));
    }
}
