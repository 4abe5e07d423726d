//! Regular expressions over the bytes of a console, several of them as one automaton.
//!
//! Rules of this file:
//! - They are those of the crate `regex`: no look-around, no back-references. Lines may end with CR LF as well as with LF.
//! - Words are words of ASCII: `\b` looks at bytes, so that it says the same wherever a character of several bytes is cut.
//!   (Letters of a class, as in `\w`, are those of Unicode.)
//! - The automaton finds where a match of any pattern first ends; the expression of that pattern says where it begins and
//!   what its groups are.

use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_automata::{MatchKind, meta};
use regex_syntax::hir::{Capture, Hir, HirKind, Look, Repetition};
use regex_syntax::{ParserBuilder, hir::Literal};
use std::sync::{Arc, OnceLock};

/// Memory that the program of one pattern may take.
const PROGRAM: usize = 10 * 1024 * 1024;
/// Memory for the states of the automaton; where it needs more of them it forgets old ones.
const STATES: usize = 4 * 1024 * 1024;

/// A pattern that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pattern /{pattern}/ cannot be used: {problem}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong, and where.
    pub problem: String,
}

/// One or more patterns that are looked for at the same time. Clones are the same patterns.
#[derive(Clone)]
pub struct Patterns(Arc<Inner>);

struct Inner {
    texts: Vec<String>,
    expressions: Vec<meta::Regex>,
    automaton: DFA,
    /// The first pattern that may match without a byte.
    empty: Option<usize>,
    /// For each pattern, once it is wanted: [`Patterns::preferring`].
    preferring: Vec<OnceLock<Option<DFA>>>,
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Patterns").field(&self.0.texts).finish()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.texts == other.0.texts
    }
}

impl Patterns {
    /// Prepares patterns.
    ///
    /// # Errors
    /// One of them is malformed or too big.
    pub fn new<T: AsRef<str>>(texts: &[T]) -> Result<Patterns, PatternError> {
        let error = |index: usize, problem: String| PatternError {
            pattern: texts.get(index).map(|text| text.as_ref().to_owned()).unwrap_or_default(),
            problem,
        };
        let mut expressions = Vec::new();
        let mut parsed = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let hir = self::parsed(text.as_ref()).map_err(|problem| error(index, problem))?;
            let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(PROGRAM));
            let expression = meta::Regex::builder().configure(config).build_from_hir(&hir);
            expressions.push(expression.map_err(|problem| error(index, reason(&problem)))?);
            parsed.push(hir);
        }
        let program =
            thompson::Config::new().utf8(false).nfa_size_limit(Some(PROGRAM.saturating_mul(texts.len().max(1))));
        let program = thompson::Compiler::new().configure(program).build_many_from_hir(&parsed);
        let program = program.map_err(|problem| error(0, reason(&problem)))?;
        let config = DFA::config().match_kind(MatchKind::All).cache_capacity(STATES).skip_cache_capacity_check(true);
        let automaton = DFA::builder().configure(config).build_from_nfa(program);
        let automaton = automaton.map_err(|problem| error(0, reason(&problem)))?;
        let texts = texts.iter().map(|text| text.as_ref().to_owned()).collect();
        let empty = parsed.iter().position(|hir| hir.properties().minimum_len() == Some(0));
        let preferring = parsed.iter().map(|_| OnceLock::new()).collect();
        Ok(Patterns(Arc::new(Inner { texts, expressions, automaton, empty, preferring })))
    }

    /// The first of them of which a match may have no bytes: `x*`, `(?m)^`, `\b`.
    #[must_use]
    pub fn matches_nothing(&self) -> Option<&str> {
        self.0.empty.map(|empty| self.0.texts[empty].as_str())
    }

    /// The patterns as they were written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.0.texts
    }

    /// The names of the groups of a pattern; group 0 is the whole match.
    #[must_use]
    pub fn names(&self, pattern: usize) -> Vec<Option<String>> {
        let Some(expression) = self.0.expressions.get(pattern) else { return Vec::new() };
        let names = expression.group_info().pattern_names(regex_automata::PatternID::ZERO);
        names.map(|name| name.map(str::to_owned)).collect()
    }

    pub(super) fn expressions(&self) -> &[meta::Regex] {
        &self.0.expressions
    }

    /// An automaton of one pattern alone that prefers what its expression prefers; `None`: it cannot be made.
    pub(super) fn preferring(&self, pattern: usize) -> Option<&DFA> {
        let make = || {
            let hir = parsed(&self.0.texts[pattern]).ok()?;
            let program = thompson::Config::new().utf8(false).nfa_size_limit(Some(PROGRAM));
            let program = thompson::Compiler::new().configure(program).build_from_hir(&hir).ok()?;
            let config = DFA::config().cache_capacity(STATES).skip_cache_capacity_check(true);
            DFA::builder().configure(config).build_from_nfa(program).ok()
        };
        self.0.preferring[pattern].get_or_init(make).as_ref()
    }

    pub(super) fn automaton(&self) -> &DFA {
        &self.0.automaton
    }
}

/// What a pattern means here; else what is wrong with it.
fn parsed(text: &str) -> Result<Hir, String> {
    let mut parser = ParserBuilder::new().utf8(false).crlf(true).build();
    parser.parse(text).map(with_ascii_words).map_err(|problem| problem.to_string())
}

/// The innermost reason of an error.
fn reason(problem: &dyn std::error::Error) -> String {
    problem.source().map_or_else(|| problem.to_string(), reason)
}

/// The same expression, in which words are words of ASCII.
fn with_ascii_words(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => other,
        }),
        HirKind::Repetition(Repetition { sub, min, max, greedy }) => {
            Hir::repetition(Repetition { sub: Box::new(with_ascii_words(*sub)), min, max, greedy })
        }
        HirKind::Capture(Capture { sub, index, name }) => {
            Hir::capture(Capture { sub: Box::new(with_ascii_words(*sub)), index, name })
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(with_ascii_words).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(with_ascii_words).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_pattern_is_named_with_what_is_wrong() {
        let error = Patterns::new(&["fine", "a(b"]).expect_err("malformed");
        assert_eq!(error.pattern, "a(b");
        assert!(error.to_string().contains("unclosed group"), "{error}");
        let error = Patterns::new(&[r"(?:\w{1000}){1000}"]).expect_err("too big");
        assert!(error.problem.contains("exceeded limit"), "{error}");
    }

    #[test]
    fn a_pattern_whose_match_may_have_no_bytes_is_told() {
        for text in ["x*", "(ok)?", "(?m)^", r"\b", "$", "ok|", ""] {
            let patterns = Patterns::new(&["fine", text]).expect("patterns");
            assert_eq!(patterns.matches_nothing(), Some(text));
        }
        for text in ["x+", r"ok\z", "(?m)^ok$", "(?s).", "\u{e4}"] {
            assert_eq!(Patterns::new(&[text]).expect("patterns").matches_nothing(), None, "{text}");
        }
    }

    #[test]
    fn groups_have_their_names() {
        let patterns = Patterns::new(&["x", r"fw (?P<version>\S+)(\s)"]).expect("patterns");
        assert_eq!(patterns.names(1), [None, Some("version".to_owned()), None]);
    }
}
