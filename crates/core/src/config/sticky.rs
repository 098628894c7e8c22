//! How clients are kept at their member.

use super::reader::Item;
use super::settings::Sticky;
use super::source::quoted;

const EXPECTED: &str =
    "a table such as { cookie = \"lb\", key = \"${LB_COOKIE_KEY}\", ttl = \"1h\" }";
const KEY: &str = "a secret of at least 16 bytes, such as key = \"${LB_COOKIE_KEY}\"";
const NAME_MAX: usize = 64;

/// A pool's `sticky`. `None` if somebody complained.
///
/// It has no default key: what others know would let them find out addresses by trying, and what is drawn at the start
/// would send every client elsewhere after a restart.
pub(super) fn sticky(item: Item<'_>) -> Option<Sticky> {
    let mut table = item.table(EXPECTED, "")?;
    let cookie = table.take("cookie");
    if cookie.is_none() {
        table.fail_absent(
            "cookie",
            "the name of a cookie",
            "write { cookie = \"lb\" }",
        );
    }
    let cookie = cookie.and_then(|item| name(&item));
    let ttl = table.take("ttl").map(|item| {
        let ttl = item.duration()?;
        if ttl.as_secs() == 0 || ttl.subsec_nanos() > 0 {
            item.fail("a cookie's age is in whole seconds", "at least \"1s\"", "");
            return None;
        }
        Some(ttl)
    });
    let key = table.take("key");
    if key.is_none() {
        table.fail_absent(
            "key",
            KEY,
            "clients could find out the servers' addresses by trying; the same secret at each start and at each balancer \
             keeps them at their servers",
        );
    }
    let key = key.and_then(|item| self::key(&item));
    table.finish(&[]);
    Some(Sticky {
        cookie: cookie?,
        ttl: match ttl {
            Some(ttl) => Some(ttl?),
            None => None,
        },
        key: key?,
    })
}

/// RFC 6265 §4.1.1: a token.
fn name(item: &Item<'_>) -> Option<Box<str>> {
    const EXPECTED: &str = "the name of a cookie such as \"lb\"";
    let text = item.string(EXPECTED)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(token) {
        let help = "letters, digits, - and _, at most 64";
        item.fail(
            format!("{} is no cookie's name", quoted(text)),
            EXPECTED,
            help,
        );
        return None;
    }
    // RFC 6265bis §4.1.3: from anything but TLS a browser does not keep these.
    let prefixed = |prefix: &str| {
        text.get(..prefix.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(prefix))
    };
    if ["__Secure-", "__Host-"].into_iter().any(prefixed) {
        let problem = format!("browsers keep {} over TLS only", quoted(text));
        let help = "without TLS no client would ever come back with it";
        item.fail(problem, "a name without this prefix", help);
        return None;
    }
    Some(text.into())
}

fn key(item: &Item<'_>) -> Option<Box<str>> {
    let text = item.string("a secret text")?;
    if text.len() < 16 {
        let help = "the value shows nothing to whoever can't guess this";
        // Not quoted: it may be a secret.
        item.fail("this is too short for a secret", "at least 16 bytes", help);
        return None;
    }
    Some(text.into())
}
