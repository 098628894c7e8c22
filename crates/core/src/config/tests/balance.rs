//! What can be said about balancing, and what cannot.

use super::wrong::{said, said_of};
use crate::config::settings::{Balance, HashBalance, HashKey, HashRing, Settings};
use crate::config::{parse, summary};

fn read(line: &str) -> Settings {
    let text = format!(
        "[listen]\nweb = \":1\"\n[pool.app]\nservers = [\"a:1\", {{ url = \"b:1\", weight = 1000 }}]\n{line}"
    );
    parse("lb.toml", text.as_bytes(), &|_| None).unwrap()
}

#[test]
fn every_algorithm_has_a_name_and_a_table() {
    for (name, balance) in [
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
        ("least-requests", Balance::LeastRequests),
        ("p2c", Balance::P2c),
        ("peak-ewma", Balance::PeakEwma),
    ] {
        assert_eq!(balance.to_string(), name);
        assert_eq!(read(&format!("balance = \"{name}\"")).pool.balance, balance);
        let table = format!("balance = {{ by = \"{name}\" }}");
        assert_eq!(read(&table).pool.balance, balance);
    }
}

#[test]
fn a_hash_has_a_key_a_ring_and_a_bound() {
    let hash = |key, ring, max_load_percent| {
        Balance::Hash(HashBalance {
            key,
            ring,
            max_load_percent,
        })
    };
    use HashRing::{Ketama, Maglev, Rendezvous};
    let user = http::HeaderName::from_static("x-user");
    for (keys, balance) in [
        ("key = \"client\"", hash(HashKey::Client, Rendezvous, None)),
        (
            "key = \"path\", ring = \"ketama\", max-load = \"off\"",
            hash(HashKey::Path, Ketama, None),
        ),
        (
            "key = \"uri\", max-load = 2",
            hash(HashKey::Uri, Rendezvous, Some(200)),
        ),
        (
            "key = \"header:X-User\", ring = \"maglev\", max-load = 1.25",
            hash(HashKey::Header(user), Maglev, Some(125)),
        ),
        (
            "key = \"cookie:id\", max-load = 1.01",
            hash(HashKey::Cookie("id".into()), Rendezvous, Some(101)),
        ),
        (
            "key = \"query:user[id]\"",
            hash(HashKey::Query("user[id]".into()), Rendezvous, None),
        ),
    ] {
        let settings = read(&format!("balance = {{ by = \"hash\", {keys} }}"));
        assert_eq!(settings.pool.balance, balance, "{keys}");
    }
}

#[test]
fn the_summary_tells_the_algorithm_and_the_weights() {
    let hash =
        "balance = { by = \"hash\", key = \"header:X-User\", ring = \"maglev\", max-load = 1.25 }";
    assert!(summary(&read(hash)).contains(
        "pool     app: 2 servers, hash of header:x-user by maglev, at most 1.25 times a fair load\n         \
         a:1\n         b:1, weight 1000\n"
    ));
}

#[test]
fn what_belongs_to_a_hash_alone_is_refused_elsewhere() {
    for key in ["key = \"client\"", "ring = \"maglev\"", "max-load = 1.25"] {
        let name = key.split(' ').next().unwrap();
        assert_eq!(
            said(&format!("balance = {{ by = \"p2c\", {key} }}")),
            [format!(
                "pool.app.balance.{name}: only a hash has this |  | leave it out, or write by = \"hash\""
            )]
        );
    }
    assert_eq!(
        said("balance = { key = \"client\" }"),
        [
            "pool.app.balance.by: missing | the name of an algorithm | write balance = \"round-robin\""
        ]
    );
}

#[test]
fn a_hash_that_is_wrong_is_told_what_it_needs() {
    let keys = "\"client\", \"path\", \"uri\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";
    let load = "\"off\" or a number from 1.01 to 100 such as 1.25";
    for (balance, complaint) in [
        (
            "\"hash\"",
            format!("balance: a hash needs something to hash | {keys} | write balance = {{ by = \"hash\", key = \"client\" }}"),
        ),
        (
            "\"maglev\"",
            "balance: `maglev` is a ring of a hash |  | write balance = { by = \"hash\", key = \"client\", ring = \"maglev\" }".to_owned(),
        ),
        (
            "{ by = \"hash\" }",
            format!("balance.key: missing | {keys} | a hash needs something to hash, such as key = \"client\""),
        ),
        (
            "{ by = \"hash\", key = \"ip\" }",
            format!("balance.key: `ip` is no key | {keys} | "),
        ),
        (
            "{ by = \"hash\", key = \"header:a b\" }",
            "balance.key: `header:a b` is no key | the name of a header field, as in \"header:x-user\" | ".to_owned(),
        ),
        (
            "{ by = \"hash\", key = \"cookie:\" }",
            "balance.key: `cookie:` is no key | the name of a cookie, as in \"cookie:session\" | ".to_owned(),
        ),
        (
            "{ by = \"hash\", key = \"query:a=b\" }",
            "balance.key: `query:a=b` is no key | the name of a parameter, as in \"query:user\" | ".to_owned(),
        ),
        (
            "{ by = \"hash\", key = \"client:x\" }",
            format!("balance.key: `client:x` is no key | {keys} | "),
        ),
        (
            "{ by = \"hash\", key = \"client\", ring = \"mag\" }",
            "balance.ring: unknown: `mag` | \"rendezvous\", \"ketama\" or \"maglev\" | ".to_owned(),
        ),
        (
            "{ by = \"hash\", key = \"client\", max-load = 0.9 }",
            format!("balance.max-load: found the number 0.9 | {load} | somebody must carry the mean"),
        ),
        (
            "{ by = \"hash\", key = \"client\", max-load = 101 }",
            format!("balance.max-load: found the number 101 | {load} | a bound that high bounds nothing"),
        ),
        (
            "{ by = \"hash\", key = \"client\", max-load = nan }",
            format!("balance.max-load: found the number NaN | {load} | "),
        ),
        (
            "{ by = \"hash\", key = \"client\", seed = 1 }",
            "balance.seed: unknown key |  | the keys here are by, key, ring, max-load".to_owned(),
        ),
    ] {
        let wanted = format!("pool.app.{complaint}");
        assert_eq!(said(&format!("balance = {balance}")), [wanted], "{balance}");
    }
}

#[test]
fn weights_have_bounds() {
    let servers =
        |server: &str| said_of("lb.toml", &format!("port = \":1\"\nservers = [{server}]"));
    assert_eq!(
        servers("{ url = \"a:1\", weight = 0 }"),
        [
            "servers[1].weight: found a weight of zero | a number from 1 to 1000 | a server that shall get nothing is left out"
        ]
    );
    for weight in ["-1", "1001"] {
        assert_eq!(
            servers(&format!("{{ url = \"a:1\", weight = {weight} }}")),
            [format!(
                "servers[1].weight: found {weight} | a number from 1 to 1000 | weights are relative: 1 and 2 are as good as \
                 500 and 1000"
            )]
        );
    }
}
