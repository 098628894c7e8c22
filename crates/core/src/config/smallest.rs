//! The smallest form of a file: the keys of the tutorial, which behave as its program did.

use std::num::NonZeroU32;

use http::Method;

use super::address::listen;
use super::health::{self, PATH_ROOT};
use super::settings::{
    Check, Health, HttpCheck, Listener, PoolSettings, ProbeSettings, StatusRanges,
};
use super::table::Table;
use super::{file, pool};

/// The keys of this form.
const KEYS: [&str; 3] = ["port", "healthCheckInterval", "servers"];

/// Is this a file of this form? Any of its keys makes it one.
pub(super) fn is_form_of(file: &Table<'_>) -> bool {
    KEYS.iter().any(|key| file.has(key))
}

/// `port`, `healthCheckInterval` and `servers`.
pub(super) fn form(file: &mut Table<'_>) -> (Option<Vec<Listener>>, Option<PoolSettings>) {
    let sections = sections(file);
    let listeners = listeners(file, sections.listen);
    let own = listeners.as_deref().unwrap_or_default();
    let pool = the_pool(file, sections.pool, own);
    (listeners, pool)
}

/// Which sections of the other form stand there, too.
struct Sections {
    listen: bool,
    pool: bool,
}

/// The sections of the other form are refused, and read all the same: their own mistakes are reported, too.
fn sections(file: &mut Table<'_>) -> Sections {
    const HELP: &str = "use either port, healthCheckInterval and servers, or the sections [listen] and [pool.NAME]";
    let here: Vec<String> = KEYS
        .iter()
        .filter(|key| file.has(key))
        .map(|key| format!("`{key}`"))
        .collect();
    let problem = format!("this section can't stand beside {}", here.join(" and "));
    let (listen, pool) = (file.take("listen"), file.take("pool"));
    let sections = Sections {
        listen: listen.is_some(),
        pool: pool.is_some(),
    };
    for section in listen.iter().chain(&pool) {
        section.fail(&*problem, "", HELP);
    }
    let own = listen.and_then(file::listeners).unwrap_or_default();
    if let Some(pool) = pool {
        file::the_pool(pool, &own);
    }
    sections
}

/// What `port` says; a section that stands there, too, says it `elsewhere`.
fn listeners(file: &mut Table<'_>, elsewhere: bool) -> Option<Vec<Listener>> {
    let Some(item) = file.take("port") else {
        if !elsewhere {
            let help = "add a line such as port = \":8080\"";
            file.fail_absent("port", "where to listen", help);
        }
        return None;
    };
    let address = listen(&item)?;
    Some(vec![Listener {
        name: "web".into(),
        address,
        origin: item.origin(),
    }])
}

/// What `servers` and `healthCheckInterval` say; a section that stands there, too, says it `elsewhere`.
fn the_pool(file: &mut Table<'_>, elsewhere: bool, own: &[Listener]) -> Option<PoolSettings> {
    let mut probes = ProbeSettings {
        check: Check::from(HttpCheck {
            method: Method::HEAD,
            expect: StatusRanges::new(vec![200..=200]),
            ..HttpCheck::get(PATH_ROOT)
        }),
        rise: NonZeroU32::MIN,
        fall: NonZeroU32::MIN,
        ..ProbeSettings::default()
    };
    if let Some(item) = file.take("healthCheckInterval") {
        health::set_interval(&mut probes, item.duration());
    }
    let Some(item) = file.take("servers") else {
        if !elsewhere {
            let help = "add a line such as servers = [\"http://localhost:5001\"]";
            file.fail_absent("servers", "the servers", help);
        }
        return None;
    };
    let servers = pool::servers(item, own)?;
    Some(PoolSettings {
        health: Health::Probes(probes),
        // The tutorial knows probes and nothing else: one that passes brings a server back.
        passive: None,
        slow_start: None,
        ..PoolSettings::new("app", servers)
    })
}
