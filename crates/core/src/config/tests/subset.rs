//! The share of one balancer in a fleet.

use std::collections::BTreeSet;

use super::wrong::said_of;
use crate::config::settings::Settings;
use crate::config::{parse, summary};

fn text(servers: usize, lines: &str) -> String {
    let list: Vec<String> = (1..=servers).map(|port| format!("\"a:{port}\"")).collect();
    format!(
        "[listen]\nweb = \":1\"\n[pool.app]\nservers = [{}]\n{lines}\n",
        list.join(", ")
    )
}

fn read(servers: usize, lines: &str) -> Settings {
    let env = |name: &str| (name == "ORDINAL").then(|| "2".to_owned());
    parse("lb.toml", text(servers, lines).as_bytes(), &env).unwrap()
}

#[test]
fn a_pool_has_the_servers_of_its_balancer_and_no_others() {
    let mut used = BTreeSet::new();
    for balancer in 0..4 {
        let lines = format!("subset = {{ size = 3, balancer = {balancer}, of = 4 }}");
        let settings = read(12, &lines);
        assert_eq!(settings.pool.servers.len(), 3);
        used.extend(settings.pool.servers.into_iter().map(|server| server.name));
    }
    assert_eq!(used.len(), 12);
}

#[test]
fn the_ordinal_may_come_from_the_environment() {
    let from = |balancer: &str| {
        let lines = format!("subset = {{ size = 5, balancer = {balancer}, of = \"4\" }}");
        read(12, &lines).pool
    };
    assert_eq!(from("\"${ORDINAL}\""), from("2"));
    assert_ne!(from("2").servers, from("3").servers);
}

#[test]
fn the_summary_shows_what_is_used_of_what() {
    let settings = read(12, "subset = { size = 3, balancer = 2, of = 4 }");
    let text = summary(&settings);
    let expected = "pool     app: 3 servers, round-robin\nsubset   these of 12, for balancer 2 of 4 (from 0 on)\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn wrong_combinations_are_refused_with_the_reason() {
    for (lines, messages) in [
        (
            "subset = 3",
            &[
                "pool.app.subset: found the number 3 | a table such as { size = 20, balancer = 0, of = 10 } | ",
            ][..],
        ),
        (
            "subset = { of = 4 }",
            &[
                "pool.app.subset.size: missing | servers for each balancer | a table such as { size = 20, balancer = 0, of = 10 }",
                "pool.app.subset.balancer: missing | which of them this one is, from 0 on | a table such as { size = 20, balancer = 0, of = 10 }",
            ],
        ),
        (
            "subset = { size = 3, balancer = 4, of = 4 }",
            &[
                "pool.app.subset.balancer: found 4 | a number from 0 to 3 | the first is 0, and the last is one less than of",
            ],
        ),
        (
            "subset = { size = 0, balancer = 0, of = 0 }",
            &[
                "pool.app.subset.size: found 0 | a number from 1 to 100000 | a balancer without servers can serve nobody",
                "pool.app.subset.of: found 0 | a number from 1 to 1000 | the servers are shared out among so many",
            ],
        ),
        (
            "subset = { size = \"some\", balancer = 0, of = 4 }",
            &["pool.app.subset.size: found a string | a number from 1 to 100000 | "],
        ),
        (
            "subset = { size = 13, balancer = 0, of = 4 }",
            &[
                "pool.app.subset: 13 servers for each balancer, and there are 12 | a size of at most 12 | ",
            ],
        ),
        (
            "subset = { size = 2, balancer = 0, of = 5 }",
            &[
                "pool.app.subset: 5 balancers with 2 servers each leave some of 12 out | a size of at least 3 | ",
            ],
        ),
        (
            "balance = { by = \"hash\", key = \"client\" }\nsubset = { size = 6, balancer = 0, of = 4 }",
            &[
                "pool.app.subset: a hash sends a key to one server, and here each balancer has others | no hash | leave out the subset, or balance by p2c",
            ],
        ),
        (
            "sticky = { cookie = \"lb\", key = \"0123456789abcdef\" }\nsubset = { size = 6, balancer = 0, of = 4 }",
            &[
                "pool.app.subset: sticky keeps a client at its server, and here each balancer has others | no sticky | leave out one of the two",
            ],
        ),
        (
            "subset = { size = 6, balancer = 0, of = 1001 }",
            &[
                "pool.app.subset.of: found 1001 | a number from 1 to 1000 | the servers are shared out among so many",
            ],
        ),
        (
            "subset = { size = 1, balancer = 0, of = 12 }\nlimits = { hedge = \"50ms\" }",
            &[
                "pool.app.limits.hedge: a hedge together with one server is never made | \"off\", or several servers | it goes to a second server, and never to a backup while others serve",
            ],
        ),
        (
            // The share of the pool is that of the subset.
            "passive = { max-ejected = \"10%\" }\nsubset = { size = 6, balancer = 0, of = 4 }",
            &[
                "pool.app.passive.max-ejected: 10% of 6 servers is less than one | at least \"17%\" | nobody would ever be ejected; passive = \"off\" says so",
            ],
        ),
    ] {
        assert_eq!(said_of("lb.toml", &text(12, lines)), messages, "{lines}");
    }
    let weight = "[listen]\nweb = \":1\"\n[pool.app]\nservers = [\"a:1\", { url = \"a:2\", weight = 2 }]\n\
                  subset = { size = 1, balancer = 0, of = 2 }";
    assert_eq!(
        said_of("lb.toml", weight),
        [
            "pool.app.subset: each balancer has one server, and so no use for their weights | a larger size, or no weights | a weight is a share relative to the other servers of the same balancer"
        ]
    );
}
