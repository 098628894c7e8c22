//! Sticky tokens: how a client names the member it was at, without learning which server that is.
//!
//! A token is a keyed hash of the member's identity. It is the same on every balancer with the same key, whatever the order of
//! the servers, and nothing else is stored anywhere. What carries it to the client and back is not decided here.

use std::fmt;

use crate::backend::Backend;
use crate::config::settings::Sticky;

/// What a client shows to get to its member again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(u64);

impl Token {
    /// Reads what [`Display`](fmt::Display) wrote: sixteen hexadecimal digits, in lower case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.iter().all(digit) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The tokens of a pool's members.
#[derive(Debug)]
pub(super) struct Tokens {
    /// In the order of the members.
    of: Box<[Token]>,
    /// In their own order, each with its member.
    sorted: Box<[(Token, u32)]>,
}

impl Tokens {
    pub(super) fn new(sticky: &Sticky, servers: &[Backend]) -> Self {
        let keys = [0, 1].map(|half| siphash([half, 0], &[&sticky.key]));
        let token = |server: &Backend| {
            let address = server.address.to_string();
            Token(siphash(keys, &[&server.name, &address]))
        };
        let of: Box<[Token]> = servers.iter().map(token).collect();
        let mut sorted: Vec<_> = of.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        Self {
            of,
            sorted: sorted.into(),
        }
    }

    /// The token of the member with this index.
    pub(super) fn of(&self, index: u32) -> Option<Token> {
        self.of.get(usize::try_from(index).ok()?).copied()
    }

    /// The index of the member with this token.
    pub(super) fn find(&self, token: Token) -> Option<u32> {
        let at = self.sorted.binary_search_by_key(&token, |entry| entry.0);
        at.ok().map(|at| self.sorted[at].1)
    }
}

/// SipHash-2-4 (Aumasson, Bernstein 2012) over texts that are told apart.
fn siphash(keys: [u64; 2], texts: &[&str]) -> u64 {
    #[expect(
        deprecated,
        reason = "its successor takes no key and may change its algorithm; tokens outlive this program"
    )]
    let mut hasher = std::hash::SipHasher::new_with_keys(keys[0], keys[1]);
    for text in texts {
        std::hash::Hasher::write(&mut hasher, text.as_bytes());
        // No name or address contains it.
        std::hash::Hasher::write(&mut hasher, &[0]);
    }
    std::hash::Hasher::finish(&hasher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::testing::backends;

    fn tokens(key: &str, servers: &[Backend]) -> Tokens {
        let sticky = Sticky {
            cookie: "lb".into(),
            ttl: None,
            key: key.into(),
        };
        Tokens::new(&sticky, servers)
    }

    #[test]
    fn a_token_names_its_member_in_any_order_of_the_servers() {
        let mut servers = backends(100);
        let before = tokens("k", &servers);
        for index in 0..100 {
            let token = before.of(index).unwrap();
            assert_eq!(before.find(token), Some(index));
        }
        servers.reverse();
        let after = tokens("k", &servers);
        assert_eq!(after.find(before.of(7).unwrap()), Some(92));
        assert_eq!(before.of(100), None);
    }

    #[test]
    fn another_key_another_token_and_the_same_one_for_ever() {
        let servers = backends(1);
        let [a, b] = ["a", "b"].map(|key| tokens(key, &servers));
        let token = a.of(0).unwrap();
        assert_ne!(Some(token), b.of(0));
        assert_eq!(b.find(token), None);
        assert_eq!(Token::parse(token.to_string().as_bytes()), Some(token));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in [
            "",
            "0",
            "0123456789abcde",
            "0123456789ABCDEF",
            "+123456789abcdef",
            "0123456789abcdef0",
        ] {
            assert_eq!(Token::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Token::parse(b"0123456789abcdef").is_some());
    }
}
