//! Patterns over paths, as a user writes them: fields in braces, or a regular expression with named groups.

use regex::{Regex, RegexBuilder};

use super::PlateIdentity;
use super::fields::{FIELDS, fields_of};

/// The user's patterns, compiled, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct IdentityPatterns {
    patterns: Vec<Regex>,
}

/// A pattern that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}, character {position}: {message}")]
pub struct PatternError {
    /// The pattern as typed.
    pub pattern: String,
    /// Character of the pattern where it goes wrong, from 1.
    pub position: usize,
    /// What was expected there.
    pub message: String,
}

/// What starts a regular expression.
const EXPRESSION_PREFIX: &str = "re:";
/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

impl IdentityPatterns {
    /// Compiles patterns.
    ///
    /// A pattern in braces is compared with the end of the path, from the start of a folder's or the file's name, case
    /// apart: `{plate}`, `{run}`, `{cycle}`, `{well}`, `{site}`, `{channel}` take text within one name, `{z}` and `{t}`
    /// a whole number, `{mag}` a number, `{*}` anything within one name; `{{` and `}}` are braces. Text fields take as
    /// little as they can. A pattern that starts with `re:` is a regular expression, searched in the whole path,
    /// with groups of the same names.
    ///
    /// # Errors
    /// Names the first pattern that cannot be compiled, and the position in it.
    pub fn compile(patterns: &[String]) -> Result<Self, PatternError> {
        let compile = |pattern: &String| {
            let compiled = match pattern.strip_prefix(EXPRESSION_PREFIX) {
                Some(expression) => compile_expression(expression, EXPRESSION_PREFIX.len()),
                None => expression_of(pattern).and_then(|expression| build(&expression)),
            };
            compiled.map_err(|Fault { position, message }| PatternError {
                pattern: pattern.clone(),
                position,
                message,
            })
        };
        Ok(Self { patterns: patterns.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// What the first matching pattern says, or nothing.
    pub(super) fn first_match(&self, relative_path: &str) -> Option<PlateIdentity> {
        self.patterns.iter().find_map(|pattern| fields_of(pattern, relative_path))
    }
}

/// Where a pattern goes wrong, and why.
struct Fault {
    position: usize,
    message: String,
}

/// Checks a user's regular expression; `n_before` characters stand before it in the pattern.
fn compile_expression(expression: &str, n_before: usize) -> Result<Regex, Fault> {
    if let Err(error) = regex_syntax::ast::parse::Parser::new().parse(expression) {
        let n_parsed = expression[..error.span().start.offset].chars().count();
        return Err(Fault { position: n_before + n_parsed + 1, message: error.kind().to_string() });
    }
    let regex = build(expression).map_err(|fault| Fault { position: n_before + 1, ..fault })?;
    let mut names = regex.capture_names().flatten();
    if let Some(unknown) = names.clone().find(|name| !FIELDS.contains(name)) {
        let n_parsed = expression.find(unknown).map_or(0, |place| expression[..place].chars().count());
        return Err(Fault { position: n_before + n_parsed + 1, message: expected_field(unknown) });
    }
    match names.next() {
        Some(_) => Ok(regex),
        None => Err(Fault { position: n_before + 1, message: format!("expected a group named {}", list()) }),
    }
}

/// Turns a pattern in braces into a regular expression.
fn expression_of(pattern: &str) -> Result<String, Fault> {
    let mut expression = String::from("(?i)(?:^|/)");
    let mut seen = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let position = pattern[..pattern.len() - rest.len()].chars().count() + 1;
        let fault = |message: String| Fault { position, message };
        if rest.starts_with("{{") || rest.starts_with("}}") {
            expression.push_str(&regex::escape(&rest[..1]));
            rest = &rest[2..];
        } else if letter == '{' {
            let end = rest.find('}').ok_or_else(|| fault("expected `}` after this `{`".to_owned()))?;
            let name = &rest[1..end];
            if seen.contains(&name) {
                return Err(fault(format!("{{{name}}} stands twice")));
            }
            expression.push_str(&group(name).ok_or_else(|| fault(expected_field(name)))?);
            if name != "*" {
                seen.push(name);
            }
            rest = &rest[end + 1..];
        } else if letter == '}' {
            return Err(fault("expected `{` before this `}`; a brace itself is written twice".to_owned()));
        } else {
            let (literal, tail) = rest.split_at(letter.len_utf8());
            expression.push_str(&regex::escape(literal));
            rest = tail;
        }
    }
    if seen.is_empty() {
        return Err(Fault { position: 1, message: format!("expected a field in braces, one of {}", list()) });
    }
    expression.push('$');
    Ok(expression)
}

/// The part of a regular expression that takes a field.
fn group(name: &str) -> Option<String> {
    Some(match name {
        "*" => "[^/]*?".to_owned(),
        "z" | "t" => format!("(?<{name}>[0-9]+)"),
        "mag" => "(?<mag>[0-9]+(?:\\.[0-9]+)?)".to_owned(),
        _ if FIELDS.contains(&name) => format!("(?<{name}>[^/]+?)"),
        _ => return None,
    })
}

fn build(expression: &str) -> Result<Regex, Fault> {
    let built = RegexBuilder::new(expression).size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|error| Fault { position: 1, message: error.to_string().replace('\n', " ") })
}

fn expected_field(found: &str) -> String {
    format!("expected one of {}, found {found:?}", list())
}

fn list() -> String {
    FIELDS.join(", ")
}
