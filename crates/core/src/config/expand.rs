//! `${VAR}` and `${VAR:-default}` inside string values.
//!
//! What a variable holds is taken as it is, never expanded again.

use super::error::{Collector, Note};
use super::raw::{Entry, Node, Value};
use super::source::{join, quoted};

/// Looks up a variable of the environment.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands all strings of a tree; one that fails is reported and becomes [`Value::Broken`].
pub(super) fn expand(entries: &mut [Entry], prefix: &str, env: Lookup<'_>, out: &Collector<'_>) {
    for entry in entries {
        let path = || join(prefix, &entry.key);
        expand_node(&mut entry.node, &path, env, out);
    }
}

/// `path` is only made where it is needed: names may be long and many.
fn expand_node(node: &mut Node, path: &dyn Fn() -> String, env: Lookup<'_>, out: &Collector<'_>) {
    match &mut node.value {
        Value::String(text) if text.contains("${") => {
            let value = expanded(text, env).map_or_else(
                |(problem, help)| {
                    out.add(Note {
                        span: Some(node.span.clone()),
                        key: path(),
                        problem,
                        expected: "${NAME} or ${NAME:-default}".to_owned(),
                        help: help.to_owned(),
                        ..Note::default()
                    });
                    Value::Broken
                },
                Value::String,
            );
            node.value = value;
        }
        Value::Array(nodes) => {
            for (at, node) in nodes.iter_mut().enumerate() {
                expand_node(node, &|| format!("{}[{}]", path(), at + 1), env, out);
            }
        }
        Value::Table(entries) => expand(entries, &path(), env, out),
        _ => {}
    }
}

fn expanded(text: &str, env: Lookup<'_>) -> Result<String, (String, &'static str)> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err(("`${` without `}`".to_owned(), ""));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            let problem = format!("{} is no name of a variable", quoted(name));
            return Err((problem, "a name has letters, digits and `_`"));
        }
        // As in a shell, `:-` also stands in for an empty value.
        let value = match (env(name), default) {
            (Some(value), Some(default)) if value.is_empty() => default.to_owned(),
            (Some(value), _) => value,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                let problem = format!("the variable {} is not set", quoted(name));
                return Err((problem, "set it, or give a default"));
            }
        };
        result.push_str(&value);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, result) in [
            ("${HOST}:80", "db:80"),
            ("${PORT:-90}", "90"),
            ("${HOST:-x}${EMPTY}${EMPTY:-y}", "dby"),
            ("${PORT:-}", ""),
            ("${TRICK}", "${HOST}"),
            ("a$b {c} $", "a$b {c} $"),
        ] {
            assert_eq!(expanded(text, &env).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error() {
        for (text, problem) in [
            ("${PORT}", "the variable `PORT` is not set"),
            ("${HOST", "`${` without `}`"),
            ("${}", "`` is no name of a variable"),
            ("${A B}", "`A B` is no name of a variable"),
            ("${1A}", "`1A` is no name of a variable"),
        ] {
            assert_eq!(expanded(text, &env).unwrap_err().0, problem, "{text}");
        }
    }
}
