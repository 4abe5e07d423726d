//! Conditions of rules: `setpoint > 80 and enabled == true becomes true`.
//!
//! ```text
//! when       = comparison { "and" comparison } [ "becomes" ( "true" | "false" ) ]
//!            | point "changes"                     the value is another than before
//!            | point "is" "written"                whether it changed or not
//! comparison = point operator operand
//! operator   = "==" | "!=" | "<" | "<=" | ">" | ">="
//! operand    = number | "true" | "false" | 'text' | "text" | point
//! ```
//! A condition fires at the edge: without `becomes` it means `becomes true`. Before the device runs every comparison
//! counts as false, so what holds from the start fires when it starts. A comparison of things that have no order
//! (a text with a number) is false, and `!=` is true.

use super::store::PointDefinition;
use crate::record::Value;
use std::cmp::Ordering;

/// A compiled condition.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// All of these must hold (empty for `changes` and `is written`).
    comparisons: Vec<Comparison>,
    trigger: Trigger,
}

/// When a condition fires.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// It did not hold and holds now.
    BecomesTrue,
    /// It held and does no more.
    BecomesFalse,
    /// The point (by index) got another value.
    Changes(usize),
    /// The point (by index) was written.
    Written(usize),
}

#[derive(Clone, PartialEq, Debug)]
struct Comparison {
    point: usize,
    operator: Operator,
    operand: Operand,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, PartialEq, Debug)]
enum Operand {
    Constant(Value),
    Point(usize),
}

/// Why a text is not a condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at offset {offset} there is {found}, expected {expected}")]
pub struct ConditionError {
    /// Where (bytes).
    pub offset: usize,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

impl Condition {
    /// Reads a condition on these points.
    ///
    /// # Errors
    /// Where the text leaves the grammar at the top of this file, with what was expected there.
    pub fn parse(text: &str, points: &[PointDefinition]) -> Result<Condition, ConditionError> {
        let tokens = tokens(text)?;
        Parser { tokens: &tokens, next: 0, end: text.len(), points }.condition()
    }

    /// When it fires.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Whether all comparisons hold; `values` are those of the points by index.
    #[must_use]
    pub fn holds(&self, values: &[Value]) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(values))
    }
}

impl Comparison {
    fn holds(&self, values: &[Value]) -> bool {
        let right = match &self.operand {
            Operand::Constant(value) => Some(value),
            Operand::Point(index) => values.get(*index),
        };
        let (Some(left), Some(right)) = (values.get(self.point), right) else { return false };
        let order = match (left.as_str(), right.as_str()) {
            (Some(left), Some(right)) => Some(left.cmp(right)),
            _ => left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right)),
        };
        match self.operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::NotEqual => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Operator(Operator),
    Number(f64),
    Text(String),
}

struct Placed {
    token: Token,
    offset: usize,
    source: String,
}

fn tokens(text: &str) -> Result<Vec<Placed>, ConditionError> {
    let mut placed = Vec::new();
    let mut offset = 0;
    while let Some(first) = text[offset..].chars().next() {
        if first.is_whitespace() {
            offset += first.len_utf8();
            continue;
        }
        let (token, length) = token(&text[offset..], first, offset)?;
        placed.push(Placed { token, offset, source: text[offset..offset + length].to_owned() });
        offset += length;
    }
    Ok(placed)
}

/// The first token of `rest`, and its length.
fn token(rest: &str, first: char, offset: usize) -> Result<(Token, usize), ConditionError> {
    let error = |found: String, expected: &str| ConditionError { offset, found, expected: expected.to_owned() };
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    if let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Ok((Token::Operator(*operator), sign.len()));
    }
    if first == '\'' || first == '"' {
        let inside = &rest[1..];
        let length = inside.find(first).ok_or_else(|| error("a text without end".into(), "its closing quote"))?;
        return Ok((Token::Text(inside[..length].to_owned()), length + 2));
    }
    let length =
        rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'))).unwrap_or(rest.len());
    if length == 0 {
        return Err(error(format!("`{first}`"), "a point, an operator (== != < <= > >=), a number or a text"));
    }
    let word = &rest[..length];
    let token = if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') {
        Token::Number(word.parse().map_err(|_| error(format!("`{word}`"), "a number"))?)
    } else {
        Token::Word(word.to_owned())
    };
    Ok((token, length))
}

struct Parser<'a> {
    tokens: &'a [Placed],
    next: usize,
    end: usize,
    points: &'a [PointDefinition],
}

impl Parser<'_> {
    fn condition(mut self) -> Result<Condition, ConditionError> {
        if let Some(trigger) = self.happening()? {
            self.expect_end("the end")?;
            return Ok(Condition { comparisons: Vec::new(), trigger });
        }
        let mut comparisons = vec![self.comparison()?];
        let mut trigger = Trigger::BecomesTrue;
        while let Some(word) = self.word() {
            match word.as_str() {
                "and" => {
                    self.next += 1;
                    comparisons.push(self.comparison()?);
                }
                "becomes" => {
                    self.next += 1;
                    trigger = self.becomes()?;
                    break;
                }
                _ => break,
            }
        }
        self.expect_end("`and`, `becomes` or the end")?;
        Ok(Condition { comparisons, trigger })
    }

    /// `point changes` or `point is written`.
    fn happening(&mut self) -> Result<Option<Trigger>, ConditionError> {
        let second = self.tokens.get(self.next + 1).map(|placed| &placed.token);
        let Some(Token::Word(second)) = second else { return Ok(None) };
        let point = self.point("a point")?;
        self.next += 1;
        match second.as_str() {
            "changes" => Ok(Some(Trigger::Changes(point))),
            "is" if self.word().as_deref() == Some("written") => {
                self.next += 1;
                Ok(Some(Trigger::Written(point)))
            }
            "is" => Err(self.error("`written`")),
            _ => {
                self.next -= 1;
                Err(self.error("an operator (== != < <= > >=), `changes` or `is written`"))
            }
        }
    }

    fn comparison(&mut self) -> Result<Comparison, ConditionError> {
        let point = self.point("a point")?;
        let Some(Token::Operator(operator)) = self.token() else {
            return Err(self.error("an operator (== != < <= > >=)"));
        };
        self.next += 1;
        Ok(Comparison { point, operator, operand: self.operand()? })
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        let constant = match self.token() {
            Some(Token::Number(number)) => Value::Float(number),
            Some(Token::Text(text)) => Value::Text(text),
            Some(Token::Word(word)) if word == "true" || word == "false" => Value::Bool(word == "true"),
            _ => return self.point("a number, true, false, a 'text' or a point").map(Operand::Point),
        };
        self.next += 1;
        Ok(Operand::Constant(constant))
    }

    fn becomes(&mut self) -> Result<Trigger, ConditionError> {
        let trigger = match self.word().as_deref() {
            Some("true") => Trigger::BecomesTrue,
            Some("false") => Trigger::BecomesFalse,
            _ => return Err(self.error("`true` or `false`")),
        };
        self.next += 1;
        Ok(trigger)
    }

    fn point(&mut self, expected: &str) -> Result<usize, ConditionError> {
        let Some(name) = self.word() else { return Err(self.error(expected)) };
        match self.points.iter().position(|point| point.name == name) {
            Some(index) => {
                self.next += 1;
                Ok(index)
            }
            None => {
                let names: Vec<&str> = self.points.iter().map(|point| point.name.as_str()).collect();
                Err(self.error(&format!("{expected} (there are: {})", names.join(", "))))
            }
        }
    }

    fn expect_end(&self, expected: &str) -> Result<(), ConditionError> {
        if self.next == self.tokens.len() { Ok(()) } else { Err(self.error(expected)) }
    }

    fn token(&self) -> Option<Token> {
        self.tokens.get(self.next).map(|placed| placed.token.clone())
    }

    fn word(&self) -> Option<String> {
        match self.token() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn error(&self, expected: &str) -> ConditionError {
        let (offset, found) = match self.tokens.get(self.next) {
            Some(placed) => (placed.offset, format!("`{}`", placed.source)),
            None => (self.end, "the end".to_owned()),
        };
        ConditionError { offset, found, expected: expected.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Access, PointKind};

    fn points() -> Vec<PointDefinition> {
        ["setpoint", "limit", "mode"]
            .map(|name| PointDefinition {
                name: name.into(),
                kind: PointKind::Float,
                unit: String::new(),
                initial: Value::Float(0.0),
                range: None,
                access: Access::ReadWrite,
            })
            .to_vec()
    }

    fn holds(text: &str, setpoint: f64) -> bool {
        let values = [Value::Float(setpoint), Value::Int(80), Value::Text("auto".into())];
        Condition::parse(text, &points()).expect("a condition").holds(&values)
    }

    #[test]
    fn comparisons_hold_as_written() {
        assert!(holds("setpoint > 80 becomes true", 80.5));
        assert!(!holds("setpoint > 80", 80.0));
        assert!(holds("setpoint>=limit and mode == 'auto'", 80.0));
        assert!(!holds("setpoint >= limit and mode != \"auto\"", 80.0));
        assert!(holds("setpoint == true", 1.0));
        assert!(holds("setpoint < -1.5e-1", -0.2));
        assert!(!holds("mode > 3", 0.0));
        assert!(holds("mode != 3", 0.0));
        assert!(!holds("setpoint == setpoint", f64::NAN));
    }

    #[test]
    fn triggers_are_read() {
        let trigger = |text| Condition::parse(text, &points()).expect("a condition").trigger();
        assert_eq!(trigger("setpoint > 80"), Trigger::BecomesTrue);
        assert_eq!(trigger("setpoint > 80 becomes false"), Trigger::BecomesFalse);
        assert_eq!(trigger("limit changes"), Trigger::Changes(1));
        assert_eq!(trigger("mode is written"), Trigger::Written(2));
    }

    #[test]
    fn an_error_says_where_and_what_was_expected() {
        for (text, message) in [
            ("", "at offset 0 there is the end, expected a point"),
            ("speed > 1", "at offset 0 there is `speed`, expected a point (there are: setpoint, limit, mode)"),
            ("setpoint 80", "at offset 9 there is `80`, expected an operator (== != < <= > >=)"),
            (
                "setpoint over 80",
                "at offset 9 there is `over`, expected an operator (== != < <= > >=), `changes` or `is written`",
            ),
            ("setpoint >", "at offset 10 there is the end, expected a number, true, false, a 'text' or a point"),
            ("setpoint > 80 or 1", "at offset 14 there is `or`, expected `and`, `becomes` or the end"),
            ("setpoint > 80 becomes big", "at offset 22 there is `big`, expected `true` or `false`"),
            ("setpoint > 8x", "at offset 11 there is `8x`, expected a number"),
            ("mode == 'auto", "at offset 8 there is a text without end, expected its closing quote"),
            (
                "mode = 3",
                "at offset 5 there is `=`, expected a point, an operator (== != < <= > >=), a number or a text",
            ),
            ("mode is on", "at offset 8 there is `on`, expected `written`"),
        ] {
            let error = Condition::parse(text, &points()).expect_err("no condition");
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
