//! The cookie that brings a client back to the member it was at.
//!
//! Its value is a [`Token`]; the pool says whose. It is set only when the member is another one than the client named.

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::config::settings::Sticky;
use crate::pool::Token;

/// The rule of one pool.
pub(super) struct StickyCookie {
    name: Box<str>,
    ttl: Option<Duration>,
}

impl From<&Sticky> for StickyCookie {
    fn from(sticky: &Sticky) -> Self {
        Self {
            name: sticky.cookie.clone(),
            ttl: sticky.ttl,
        }
    }
}

impl StickyCookie {
    /// The token that the client shows: the first one under our name (RFC 6265 §4.2.1).
    pub(super) fn shown(&self, headers: &HeaderMap) -> Option<Token> {
        let fields = headers.get_all(COOKIE).iter();
        let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        pairs.find_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(self.name.as_bytes())?;
            Token::parse(value.strip_prefix(b"=")?)
        })
    }

    /// Tells the client its token. Over TLS the cookie stays there.
    pub(super) fn set(&self, headers: &mut HeaderMap, token: Token, secure: bool) {
        let age = match self.ttl {
            Some(ttl) => format!("; Max-Age={}", ttl.as_secs()),
            None => String::new(),
        };
        let secure = if secure { "; Secure" } else { "" };
        let name = &self.name;
        let cookie = format!("{name}={token}{age}; Path=/; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::testing::map;
    use super::*;

    fn sticky(ttl: Option<u64>) -> StickyCookie {
        StickyCookie {
            name: "lb".into(),
            ttl: ttl.map(Duration::from_secs),
        }
    }

    #[test]
    fn the_token_is_found_among_other_cookies_and_nothing_else_is_taken_for_it() {
        let token = Token::parse(b"00000000000000ff");
        for (cookies, expected) in [
            (&["lb=00000000000000ff"][..], token),
            (&["a=b; lb=00000000000000ff;c=d"], token),
            (&["a=b", "c=d;  lb=00000000000000ff "], token),
            (&["lb=; lb=00000000000000ff"], token),
            (&["xlb=00000000000000ff"], None),
            (&["lbx=00000000000000ff"], None),
            (&["LB=00000000000000ff"], None),
            (&["a=lb=00000000000000ff"], None),
            (&["lb"], None),
            (&[], None),
        ] {
            let fields: Vec<_> = cookies.iter().map(|value| ("cookie", *value)).collect();
            assert_eq!(sticky(None).shown(&map(&fields)), expected, "{cookies:?}");
        }
    }

    #[test]
    fn the_cookie_is_for_the_whole_site_and_out_of_reach_of_scripts() {
        let token = Token::parse(b"00000000000000ff").unwrap();
        let mut headers = map(&[("set-cookie", "own=1")]);
        sticky(None).set(&mut headers, token, false);
        sticky(Some(3600)).set(&mut headers, token, true);
        let all: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(
            all,
            [
                "own=1",
                "lb=00000000000000ff; Path=/; HttpOnly; SameSite=Lax",
                "lb=00000000000000ff; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax; Secure",
            ]
        );
    }
}
