//! Instants and durations of a run, with their uncertainty.
//!
//! Rules of this file:
//! - [`Time`] counts nanoseconds since the start of the run, on the one clock of the run. Nothing here reads a clock.
//! - A [`Stamp`] is an instant that is only known to lie between two `Time`s; `Stamp - Stamp` is a [`Span`],
//!   which is as uncertain as both together. Both remember through which port something was seen, or by which clock it
//!   was done ([`Source`]), for explanations and refusals only: they compare by their times.
//! - A [`Limit`] on a span uses both ends: surely inside passes, surely outside fails, anything else is inconclusive.
//! - [`parse_duration`] is the one parser of durations (`"500ms"`) for bench files, Python and the command line.

use crate::verdict::Verdict;
use std::fmt;
use std::ops::{Add, Sub};
pub use std::time::Duration;

/// An instant of a run: nanoseconds since its start.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the run.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens.
    pub const FAR: Time = Time(u64::MAX);

    /// The instant `nanos` nanoseconds after the start of the run.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the start of the run.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::FAR`].
    fn add(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::ZERO`].
    fn sub(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(nanos))
    }
}

impl fmt::Display for Time {
    /// Seconds with nine decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Through which port something was seen, or by which clock it was done: a number that only whoever opened the port, or
/// made the clock, can explain.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Source(u32);

impl Source {
    /// Nobody said.
    pub const NONE: Source = Source(0);
    /// From this number on, a source is no port but a clock.
    const CLOCKS: u32 = 1 << 31;

    /// The source of this number; 0 is [`Source::NONE`].
    #[must_use]
    pub const fn new(number: u32) -> Source {
        Source(number)
    }

    /// No port, but the clock of this number (below 2^31).
    #[must_use]
    pub const fn of_clock(number: u32) -> Source {
        Source(Source::CLOCKS | number)
    }

    /// The number of the clock, if it is one.
    #[must_use]
    pub const fn clock(self) -> Option<u32> {
        if self.0 >= Source::CLOCKS { Some(self.0 - Source::CLOCKS) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// An instant with its uncertainty: it lies between `earliest` and `latest`, both included.
#[derive(Copy, Clone, Debug, Default)]
pub struct Stamp {
    earliest: Time,
    latest: Time,
    source: Source,
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Stamp) -> bool {
        (self.earliest, self.latest) == (other.earliest, other.latest)
    }
}

impl Eq for Stamp {}

impl std::hash::Hash for Stamp {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.earliest, self.latest).hash(state);
    }
}

/// What two stamps say about the order of their instants.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// The first is surely before the second.
    Before,
    /// The first is surely after the second.
    After,
    /// The intervals overlap: the order is not known.
    Unknown,
}

impl Stamp {
    /// An instant known exactly.
    #[must_use]
    pub const fn exact(at: Time) -> Stamp {
        Stamp { earliest: at, latest: at, source: Source::NONE }
    }

    /// An instant somewhere between two others, given in either order.
    #[must_use]
    pub fn between(one: Time, other: Time) -> Stamp {
        Stamp { earliest: one.min(other), latest: one.max(other), source: Source::NONE }
    }

    /// The same instant, seen through this port.
    #[must_use]
    pub const fn seen_through(self, source: Source) -> Stamp {
        Stamp { source, ..self }
    }

    /// The same instant, by this clock, if nobody said yet where it is from.
    #[must_use]
    pub const fn by(self, clock: Source) -> Stamp {
        if self.source.0 == Source::NONE.0 { self.seen_through(clock) } else { self }
    }

    /// Through which port it was seen, or by which clock.
    #[must_use]
    pub const fn source(self) -> Source {
        self.source
    }

    /// The instant is not before this.
    #[must_use]
    pub const fn earliest(self) -> Time {
        self.earliest
    }

    /// The instant is not after this.
    #[must_use]
    pub const fn latest(self) -> Time {
        self.latest
    }

    /// The width of the interval.
    #[must_use]
    pub const fn uncertainty(self) -> Duration {
        self.latest.since(self.earliest)
    }

    /// The order of two instants, as far as their intervals decide it. Equal exact instants count as `Unknown`.
    #[must_use]
    pub fn order(self, other: Stamp) -> Order {
        if self.latest < other.earliest {
            Order::Before
        } else if self.earliest > other.latest {
            Order::After
        } else {
            Order::Unknown
        }
    }

    /// The span from this instant to `later`: `later - self`.
    #[must_use]
    pub fn until(self, later: Stamp) -> Span {
        later - self
    }
}

impl Sub for Stamp {
    type Output = Span;
    fn sub(self, from: Stamp) -> Span {
        Span {
            earliest: signed(self.earliest, from.latest),
            latest: signed(self.latest, from.earliest),
            sources: [from.source, self.source],
        }
    }
}

fn signed(to: Time, from: Time) -> i64 {
    let nanos = i128::from(to.0) - i128::from(from.0);
    // Clamped: a run does not last 292 years, but `Time::FAR` may be subtracted.
    nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// The time between two instants, in nanoseconds, as uncertain as they are. Negative where the second came first.
#[derive(Copy, Clone, Debug, Default)]
pub struct Span {
    /// Not shorter than this (ns).
    pub earliest: i64,
    /// Not longer than this (ns).
    pub latest: i64,
    sources: [Source; 2],
}

impl PartialEq for Span {
    fn eq(&self, other: &Span) -> bool {
        (self.earliest, self.latest) == (other.earliest, other.latest)
    }
}

impl Eq for Span {}

impl std::hash::Hash for Span {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.earliest, self.latest).hash(state);
    }
}

/// A band for a span, in nanoseconds; an absent end does not limit.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// Lower end, included (ns).
    pub min: Option<i64>,
    /// Upper end, included (ns).
    pub max: Option<i64>,
}

impl Span {
    /// A span known exactly.
    #[must_use]
    pub const fn exact(nanos: i64) -> Span {
        Span { earliest: nanos, latest: nanos, sources: [Source::NONE; 2] }
    }

    /// A span between two lengths, given in either order.
    #[must_use]
    pub fn between(one: i64, other: i64) -> Span {
        Span { earliest: one.min(other), latest: one.max(other), sources: [Source::NONE; 2] }
    }

    /// Through which ports its two ends were seen: that from which it counts, and the later one.
    #[must_use]
    pub const fn sources(self) -> [Source; 2] {
        self.sources
    }

    /// Pass if the span lies surely inside the limit, fail if surely outside, else inconclusive.
    #[must_use]
    pub fn judge(self, limit: Limit) -> Verdict {
        let below = limit.min.map_or(Verdict::Pass, |min| one_end(self.earliest >= min, self.latest < min));
        let above = limit.max.map_or(Verdict::Pass, |max| one_end(self.latest <= max, self.earliest > max));
        below.max(above)
    }
}

fn one_end(surely_inside: bool, surely_outside: bool) -> Verdict {
    match (surely_inside, surely_outside) {
        (true, _) => Verdict::Pass,
        (_, true) => Verdict::Fail,
        _ => Verdict::Inconclusive,
    }
}

/// Why a text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a duration: {problem}; write a number and a unit, such as \"500ms\" (ns, us, ms, s, min, h)")]
pub struct DurationError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration: a decimal number and one of the units ns, us, ms, s, min, h. `"1.5s"`, `"500ms"`, `"24h"`.
///
/// # Errors
/// A missing or unknown unit, a missing, negative or too large number.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = |problem| DurationError { text: text.to_owned(), problem };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    if number.is_empty() {
        return Err(error(if trimmed.starts_with('-') { "it is negative" } else { "the number is missing" }));
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(error("the unit is missing"));
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(error("the unit is unknown"));
    };
    decimal_times(number, *scale).map(Duration::from_nanos).ok_or_else(|| error("the number is malformed or too large"))
}

/// `number * scale` without going through floating point, so that `"0.1s"` is exactly 100 ms.
fn decimal_times(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let divisor = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let nanos = whole.checked_mul(u128::from(scale))? + part * u128::from(scale) / divisor;
    // As many as a span has: 292 years.
    i64::try_from(nanos).ok().map(i64::unsigned_abs)
}

/// Writes nanoseconds the way people say them: `750 ms`, `1.2 s`, `-3 us`; four significant digits.
#[must_use]
pub fn human(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let (scale, unit) = match size {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (1e3, "us"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = nanos as f64 / scale;
    let decimals = match value.abs() {
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_judged_at_both_ends() {
        let limit = Limit { min: None, max: Some(500) };
        assert_eq!(Span::between(100, 500).judge(limit), Verdict::Pass);
        assert_eq!(Span::between(499, 501).judge(limit), Verdict::Inconclusive);
        assert_eq!(Span::between(501, 900).judge(limit), Verdict::Fail);
        let band = Limit { min: Some(10), max: Some(20) };
        assert_eq!(Span::exact(9).judge(band), Verdict::Fail);
        assert_eq!(Span::between(9, 12).judge(band), Verdict::Inconclusive);
        assert_eq!(Span::exact(15).judge(band), Verdict::Pass);
    }

    #[test]
    fn a_difference_of_stamps_is_as_uncertain_as_both() {
        let sent = Stamp::between(Time::from_nanos(10), Time::from_nanos(12));
        let seen = Stamp::between(Time::from_nanos(30), Time::from_nanos(35));
        assert_eq!(sent.until(seen), Span::between(18, 25));
        assert_eq!(seen.until(sent), Span::between(-25, -18));
        assert_eq!(sent.order(seen), Order::Before);
        assert_eq!(sent.order(sent), Order::Unknown);
    }

    #[test]
    fn durations_are_read_exactly() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("0.1s"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration(" 1.5 min "), Ok(Duration::from_secs(90)));
        for (text, problem) in [
            ("500", "the unit is missing"),
            ("5 parsecs", "the unit is unknown"),
            ("-1s", "it is negative"),
            ("ms", "the number is missing"),
            ("1.2.3s", "the number is malformed or too large"),
            ("99999999999999999999h", "the number is malformed or too large"),
        ] {
            assert_eq!(parse_duration(text).map_err(|e| e.problem), Err(problem), "{text}");
        }
    }

    #[test]
    fn times_saturate() {
        assert_eq!(Time::FAR + Duration::from_secs(1), Time::FAR);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!((Stamp::exact(Time::FAR) - Stamp::exact(Time::ZERO)).latest, i64::MAX);
    }

    #[test]
    fn people_read_short_times() {
        assert_eq!(human(750_000_000), "750 ms");
        assert_eq!(human(-3_000), "-3 us");
        assert_eq!(human(1_234_567_890), "1.235 s");
    }
}
