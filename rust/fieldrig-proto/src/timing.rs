//! Verdicts on when things happened: within, not before, gap, period, jitter.
//!
//! Rules of this file:
//! - Everything is interval arithmetic. A stamp is an interval in which the instant lies; a figure (a span, a period, a
//!   jitter) is the interval of all values that instants within the stamps could have. Wholly inside the limit passes,
//!   wholly outside fails, anything else is inconclusive: no pass and no fail is ever wrong, whatever the instants were.
//! - A host that stood still delays whoever runs on it, the device too if it is emulated. A fail that so much delay
//!   explains, and a limit that was kept only by it, are inconclusive. It makes a span longer if it falls within, and
//!   shorter if it held up the event that the span begins with; of a jitter it may be both at once.
//! - A period is judged interval by interval. Drift is the mean over the whole series against the nominal period; it has
//!   a limit of its own, since small errors of a clock add up while no single period is wrong.
//! - Jitter is the peak-to-peak period jitter: the longest period of the series less the shortest (period jitter as in
//!   JEDEC JESD65B, as a peak-to-peak value). It is no standard deviation: that of few periods says little about the worst.
//! - A limit finer than twice what the port can tell apart ([`Rule::fineness`], [`TOO_FINE`]) is not judged at all.

use crate::time::{Limit, Source, Span, Stamp, Time, human};
use crate::verdict::Verdict;

/// A limit must be so many times what a port can tell apart.
pub const TOO_FINE: i64 = 2;

/// What a series of instants is held against; all lengths in nanoseconds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Each comes at most so long after the one before, and not before it.
    Within(i64),
    /// Each comes at least so long after the one before.
    NotBefore(i64),
    /// The time from each to the next lies in this band.
    Gap(Limit),
    /// From each to the next it takes the nominal period, give or take the tolerance.
    Period {
        /// How long a period is.
        nominal: i64,
        /// So much may a single one deviate.
        tolerance: i64,
        /// So much may the mean of all deviate, if that is limited.
        drift: Option<i64>,
    },
    /// The longest period is at most so much longer than the shortest.
    Jitter(i64),
}

impl Rule {
    /// The finest distinction it makes over so many intervals.
    #[must_use]
    pub fn fineness(&self, intervals: usize) -> i64 {
        let all = i64::try_from(intervals).unwrap_or(i64::MAX);
        match *self {
            Rule::Within(limit) | Rule::NotBefore(limit) | Rule::Jitter(limit) => limit,
            Rule::Gap(Limit { min, max }) => min.into_iter().chain(max).filter(|limit| *limit > 0).min().unwrap_or(0),
            // The uncertainty of a mean is that of the two ends, shared by all.
            Rule::Period { tolerance, drift, .. } => {
                drift.map_or(tolerance, |drift| tolerance.min(drift.saturating_mul(all)))
            }
        }
    }

    /// How many instants it takes at least.
    #[must_use]
    pub fn needs(&self) -> usize {
        if matches!(self, Rule::Jitter(_)) { 3 } else { 2 }
    }

    fn limit_of_one(&self) -> Limit {
        match *self {
            Rule::Within(limit) => Limit { min: Some(0), max: Some(limit) },
            Rule::NotBefore(limit) => Limit { min: Some(limit), max: None },
            Rule::Gap(limit) => limit,
            Rule::Period { nominal, tolerance, .. } => {
                Limit { min: Some(nominal.saturating_sub(tolerance)), max: Some(nominal.saturating_add(tolerance)) }
            }
            Rule::Jitter(_) => Limit::default(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Rule::Within(_) | Rule::NotBefore(_) => "time",
            Rule::Gap(_) => "gap",
            Rule::Period { .. } => "period",
            Rule::Jitter(_) => "jitter",
        }
    }
}

/// From one instant to another, as the two stamps have it.
#[derive(Copy, Clone, Debug)]
pub struct Interval {
    /// The stamp it begins with.
    pub from: Stamp,
    /// The stamp it ends with.
    pub to: Stamp,
    /// It begins with an action of ours, of which what it ends with is a consequence: that may be seen before the action
    /// has returned, but not before it was issued.
    pub caused: bool,
}

impl Interval {
    /// From one observation, or end of an action, to another.
    #[must_use]
    pub const fn new(from: Stamp, to: Stamp) -> Interval {
        Interval { from, to, caused: false }
    }

    fn length(&self) -> Span {
        let length = self.to - self.from;
        if self.caused && self.to.earliest() >= self.from.earliest() && length.latest >= 0 {
            return Span::between(length.earliest.max(0), length.latest);
        }
        length
    }
}

/// What is known about the circumstances.
pub struct Facts<'a> {
    /// When the host stood still.
    pub stalls: &'a [(Time, Time)],
    /// Name and resolution (ns) of a port.
    pub port: &'a dyn Fn(Source) -> Option<(String, i64)>,
}

/// A figure, its limit, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figure {
    /// What it is: `time`, `gap`, `period`, `mean period`, `jitter`.
    pub name: &'static str,
    /// The value, as far as it is known (ns).
    pub value: Span,
    /// The band it must lie in.
    pub limit: Limit,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why; empty for a pass.
    pub reason: String,
}

/// Judges the intervals of a series, in order. Gives one figure for the interval that decides, and one each for what
/// the rule says about the series as a whole; the worst of them is the verdict.
#[must_use]
pub fn judge(rule: &Rule, intervals: &[Interval], facts: &Facts<'_>) -> Vec<Figure> {
    let mut figures = Vec::new();
    if !matches!(rule, Rule::Jitter(_)) {
        figures.extend(worst_interval(rule, intervals, facts));
    }
    if let Rule::Period { nominal, drift, .. } = rule {
        figures.extend(mean_period(*nominal, *drift, intervals, facts));
    }
    if let (Rule::Jitter(limit), Some(first), Some(last)) = (rule, intervals.first(), intervals.last()) {
        let whole = Interval::new(first.from, last.to);
        let limit = Limit { min: None, max: Some(*limit) };
        // It may have made the longest longer, and the shortest shorter; or hidden as much.
        let explained = stalled(whole, facts).saturating_mul(2);
        let held = intervals.iter().map(|one| held_up(one.from, facts).max(held_up(one.to, facts))).max();
        let judged = Judged::new(jitter(intervals), limit, (explained, held.unwrap_or(0).saturating_mul(2)));
        figures.push(judged.figure("jitter", &format!("of {} periods", intervals.len()), widest(intervals), facts));
    }
    figures
}

/// The worst of several figures.
#[must_use]
pub fn worst(figures: &[Figure]) -> Verdict {
    figures.iter().map(|figure| figure.verdict).max().unwrap_or(Verdict::None)
}

/// The longest less the shortest: no two instants are shared in a way that would narrow it (neighbours share the one
/// between them with the same sign), so both ends can be reached.
fn jitter(intervals: &[Interval]) -> Span {
    let spans: Vec<Span> = intervals.iter().map(|one| one.to - one.from).collect();
    let surely = greatest_difference(&spans, |span| span.earliest, |span| span.latest);
    let perhaps = greatest_difference(&spans, |span| span.latest, |span| span.earliest);
    Span::between(surely.max(0), perhaps.max(0))
}

/// The greatest `up(a) - down(b)` of two different spans.
fn greatest_difference(spans: &[Span], up: impl Fn(&Span) -> i64, down: impl Fn(&Span) -> i64) -> i64 {
    let (mut lowest, mut next) = ((i64::MAX, usize::MAX), i64::MAX);
    for (index, value) in spans.iter().map(&down).enumerate() {
        if value < lowest.0 {
            (lowest, next) = ((value, index), lowest.0);
        } else {
            next = next.min(value);
        }
    }
    let others = |index: usize| if index == lowest.1 { next } else { lowest.0 };
    spans.iter().enumerate().map(|(index, span)| up(span).saturating_sub(others(index))).max().unwrap_or(0)
}

/// The mean of all periods. It is the whole that is judged, so that no rounding decides.
fn mean_period(nominal: i64, drift: Option<i64>, intervals: &[Interval], facts: &Facts<'_>) -> Option<Figure> {
    let whole = Interval::new(intervals.first()?.from, intervals.last()?.to);
    let count = i64::try_from(intervals.len()).unwrap_or(i64::MAX);
    let one = drift.map_or_else(Limit::default, |drift| Limit {
        min: Some(nominal.saturating_sub(drift)),
        max: Some(nominal.saturating_add(drift)),
    });
    let all = |end: Option<i64>| end.map(|end| end.saturating_mul(count));
    let limit = Limit { min: all(one.min), max: all(one.max) };
    let judged = Judged::new(whole.length(), limit, delays(whole, facts));
    let span = whole.length();
    // Rounded outwards.
    let up = span.latest.div_euclid(count) + i64::from(span.latest.rem_euclid(count) != 0);
    let mean = Judged { value: Span::between(span.earliest.div_euclid(count), up), limit: one, ..judged };
    Some(mean.figure("mean period", &format!("of {count} periods"), whole, facts))
}

fn widest(intervals: &[Interval]) -> Interval {
    let width = |one: &Interval| one.from.uncertainty() + one.to.uncertainty();
    intervals.iter().copied().max_by_key(width).unwrap_or(Interval::new(Stamp::default(), Stamp::default()))
}

fn worst_interval(rule: &Rule, intervals: &[Interval], facts: &Facts<'_>) -> Option<Figure> {
    let limit = rule.limit_of_one();
    let judged = intervals
        .iter()
        .enumerate()
        .map(|(index, interval)| (Judged::new(interval.length(), limit, delays(*interval, facts)), index, *interval));
    let (worst, index, interval) = judged.max_by_key(|(judged, index, _)| (judged.verdict, judged.off(), !index))?;
    let which = if intervals.len() > 1 { format!("{} of {}", index + 1, intervals.len()) } else { String::new() };
    Some(worst.figure(rule.word(), &which, interval, facts))
}

/// For how long the host stood still in a time, or so shortly before that its beginning may have been late (ns).
fn stalled(interval: Interval, facts: &Facts<'_>) -> i64 {
    let touching = facts.stalls.iter().filter(|(from, until)| {
        *from <= interval.to.latest() && *until + until.since(*from) >= interval.from.earliest()
    });
    touching.map(|(from, until)| i64::try_from(until.since(*from).as_nanos()).unwrap_or(i64::MAX)).sum()
}

/// For how long the host held up what is seen at a stamp: it stood still then, or so shortly before (ns).
fn held_up(at: Stamp, facts: &Facts<'_>) -> i64 {
    stalled(Interval::new(at, at), facts)
}

/// By how much a host that stood still may have made an interval longer, and by how much shorter (ns). What we did
/// ourselves was done when its stamp says: nothing that it caused came sooner because we were held up.
fn delays(interval: Interval, facts: &Facts<'_>) -> (i64, i64) {
    (stalled(interval, facts), if interval.caused { 0 } else { held_up(interval.from, facts) })
}

/// A value against a limit.
struct Judged {
    value: Span,
    limit: Limit,
    stalled: i64,
    verdict: Verdict,
    /// The stall alone made it inconclusive.
    by_stall: bool,
}

impl Judged {
    /// `stalled` is by how much a host that stood still may have made it larger, and `held` by how much smaller.
    fn new(value: Span, limit: Limit, (stalled, held): (i64, i64)) -> Judged {
        let plain = value.judge(limit);
        let late = limit.max.is_some_and(|max| value.earliest > max && value.earliest <= max.saturating_add(stalled));
        let early = limit.min.is_some_and(|min| value.latest < min && value.latest >= min.saturating_sub(stalled));
        let lucky = limit.min.is_some_and(|min| value.earliest < min.saturating_add(stalled) && min > 0);
        let shortened = limit.max.is_some_and(|max| value.latest > max.saturating_sub(held));
        let by_stall = stalled.max(held) > 0
            && match plain {
                Verdict::Fail => late || early,
                Verdict::Pass => lucky || shortened,
                _ => false,
            };
        let verdict = if by_stall { Verdict::Inconclusive } else { plain };
        Judged { value, limit, stalled: stalled.max(held), verdict, by_stall }
    }

    /// How far it is, or may be, off the limit.
    fn off(&self) -> i64 {
        let below = self.limit.min.map_or(i64::MIN, |min| min.saturating_sub(self.value.earliest));
        let above = self.limit.max.map_or(i64::MIN, |max| self.value.latest.saturating_sub(max));
        below.max(above)
    }

    fn figure(self, name: &'static str, which: &str, interval: Interval, facts: &Facts<'_>) -> Figure {
        let reason = match self.verdict {
            Verdict::Fail => self.outside(name, which),
            Verdict::Inconclusive if self.by_stall => {
                let known = self.known(name, which);
                format!("{known}; the host stood still for {}, which explains it", human(self.stalled))
            }
            Verdict::Inconclusive => self.unsure(name, which, interval, facts),
            _ => String::new(),
        };
        Figure { name, value: self.value, limit: self.limit, verdict: self.verdict, reason }
    }

    fn known(&self, name: &str, which: &str) -> String {
        let which = if which.is_empty() { String::new() } else { format!(" {which}") };
        let limits: Vec<i64> = [self.limit.min, self.limit.max].into_iter().flatten().collect();
        format!("the {name}{which} is {}", shown(self.value, &limits))
    }

    fn outside(&self, name: &str, which: &str) -> String {
        let known = self.known(name, which);
        match (self.limit.min, self.limit.max) {
            (Some(0), _) if self.value.latest < 0 => format!("{known}: it ends before it begins"),
            (Some(min), _) if self.value.latest < min => format!("{known}, surely below {}", human(min)),
            (_, Some(max)) => format!("{known}, surely above {}", human(max)),
            _ => known,
        }
    }

    fn unsure(&self, name: &str, which: &str, interval: Interval, facts: &Facts<'_>) -> String {
        let (Limit { min, max }, value) = (self.limit, self.value);
        let below = min.filter(|min| value.earliest < *min && *min <= value.latest);
        let crossed = below.or(max.filter(|max| value.earliest <= *max && *max < value.latest));
        let limit =
            crossed.map_or_else(String::new, |limit| format!(" and the limit {} lies in between", human(limit)));
        let ends = [("beginning", interval.from), ("end", interval.to)];
        let widest = interval.from.uncertainty().max(interval.to.uncertainty());
        // Not worth a word is what is a tenth of the other.
        let counts = |at: &Stamp| !at.uncertainty().is_zero() && at.uncertainty() * 10 >= widest;
        let whose = ends.iter().filter(|(_, at)| counts(at)).map(|(end, at)| blame(end, *at, facts));
        let whose: Vec<String> = whose.collect();
        format!("{}{limit}: {}", self.known(name, which), whose.join("; "))
    }
}

/// Whose uncertainty that of a stamp is.
fn blame(end: &str, at: Stamp, facts: &Facts<'_>) -> String {
    let width = i64::try_from(at.uncertainty().as_nanos()).unwrap_or(i64::MAX);
    // One that is much longer is not why.
    let within = |from: Time, until: Time| from < at.latest() && until > at.earliest();
    let as_long = |from: Time, until: Time| until.since(from) <= at.uncertainty() * 2;
    let stall = facts.stalls.iter().find(|(from, until)| within(*from, *until) && as_long(*from, *until));
    let length = stall.map(|(from, until)| i64::try_from(until.since(*from).as_nanos()).unwrap_or(i64::MAX));
    let still = length.map(|length| format!("the host stood still for {}", human(length)));
    let why = match ((facts.port)(at.source()), still) {
        (Some((port, _)), Some(still)) => format!("{port}, while {still}"),
        (Some((port, resolution)), None) if resolution > 0 => {
            format!("{port} has a resolution of {}", human(resolution))
        }
        (Some((port, _)), None) => format!("{port} was last seen empty so long before"),
        (None, Some(still)) => still,
        (None, None) => "our own action took so long, or several things were seen at once".to_owned(),
    };
    format!("its {end} is known to within {} ({why})", human(width))
}

/// A value as people say it, with as many digits as it takes to tell it from its limits.
fn shown(value: Span, limits: &[i64]) -> String {
    let clear = |nanos: i64| !limits.iter().any(|limit| *limit != nanos && human(*limit) == human(nanos));
    let text = |nanos: i64| if clear(nanos) { human(nanos) } else { format!("{nanos} ns") };
    if value.earliest == value.latest {
        return text(value.latest);
    }
    format!("{} to {}", text(value.earliest), text(value.latest))
}

#[cfg(test)]
mod tests;
