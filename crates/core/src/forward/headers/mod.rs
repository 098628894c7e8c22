//! Header rules: what a proxy removes, sets and refuses, in both directions.
//!
//! Framing is decided in [`framing`] alone; identity (`Host`, `X-Forwarded-*`, request id) in [`host`] and
//! [`identity`]; [`request`] and [`response`] are the two lists of rules in the order they apply. Nothing here looks
//! at content.

mod framing;
mod host;
mod identity;
mod names;
mod request;
mod response;
mod trailers;

pub(super) use framing::Shape;
pub use identity::EXPLAIN;
pub(super) use identity::request_id;
pub(super) use request::{Asked, RequestRules, prepare as prepare_request};
pub(super) use response::{Context, prepare as prepare_response};
pub(super) use trailers::keep_allowed as keep_allowed_trailers;

#[cfg(test)]
pub(super) mod testing {
    //! Header maps as short lists.

    use http::{HeaderMap, HeaderName, HeaderValue};

    pub(in crate::forward) fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    /// The fields as `name: value` lines, sorted by name; values of one name keep their order.
    pub(in crate::forward) fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        lines
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }
}
