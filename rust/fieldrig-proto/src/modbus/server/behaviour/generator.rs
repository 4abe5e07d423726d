//! Values that change by themselves: functions of the seed and of the time since the device runs, nothing else.
//!
//! Rules of this file:
//! - The same seed at the same time gives the same value, however often and in whatever order it is asked for.
//! - What has an end (ramp, steps, series) holds its last value, or begins anew with `repeat`.

use super::keys::GENERATOR;
use crate::fault::Chance;
use crate::protocol::SettingError;
use crate::reader::{Field, Table};
use crate::record::Value;
use crate::time::{Duration, parse_duration};

/// A source of values.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Generator {
    /// Always this.
    Constant(Value),
    /// From one value to another in a straight line.
    Ramp { from: f64, to: f64, course: Course },
    /// `mean + amplitude * sin(2 pi (t / period + phase))`.
    Sine { mean: f64, amplitude: f64, period: Duration, phase: f64 },
    /// Anything between two values, alike.
    Uniform { low: f64, high: f64, every: Duration },
    /// Around a mean, with this standard deviation.
    Gaussian { mean: f64, deviation: f64, every: Duration },
    /// One value after the other, each for the same time.
    Steps { values: Vec<f64>, every: Duration, repeat: bool },
    /// Values with their times, in order; `interpolate`: straight lines between them.
    Series { points: Vec<(Duration, f64)>, interpolate: bool, repeat: bool },
}

/// How long something takes, and what comes after.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct Course {
    over: Duration,
    repeat: bool,
}

impl Course {
    /// How far it is, from 0 to 1.
    fn done(self, time: Duration) -> f64 {
        let (time, over) = (time.as_nanos(), self.over.as_nanos().max(1));
        if self.repeat { (time % over) as f64 / over as f64 } else { time.min(over) as f64 / over as f64 }
    }
}

const KINDS: [&str; 6] = ["ramp", "sine", "noise", "gaussian", "steps", "series"];

impl Generator {
    /// Reads a number, a truth value, a text, or a table that names a kind.
    pub(super) fn read(field: &Field<'_>) -> Result<Generator, SettingError> {
        match field.value {
            Value::Table(_) => Generator::read_table(&Table::read(field.clone(), GENERATOR)?),
            Value::Float(number) if !number.is_finite() => Err(field.must_be("a finite number")),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                Ok(Generator::Constant(field.value.clone()))
            }
            _ => {
                Err(field
                    .must_be("a number, a truth value, a text or a table such as { ramp = [0, 100], over = \"10s\" }"))
            }
        }
    }

    fn read_table(table: &Table<'_>) -> Result<Generator, SettingError> {
        let Some(kind) = table.one_of(&KINDS)? else {
            return Err(table.error("", format!("it says no source; there are {}", KINDS.join(", "))));
        };
        let takes: &[&str] = match kind {
            "ramp" => &["over", "repeat"],
            "sine" => &["period", "phase"],
            "noise" | "gaussian" => &["every"],
            "steps" => &["every", "repeat"],
            _ => &["interpolate", "repeat"],
        };
        for key in ["over", "period", "phase", "every", "repeat", "interpolate"] {
            if !takes.contains(&key) && table.field(key).is_some() {
                return Err(table.error(key, format!("`{kind}` has no `{key}`; it takes {}", takes.join(", "))));
            }
        }
        let field = |name: &str| table.field(name).ok_or_else(|| table.error("", format!("`{name}` is missing")));
        let pair = || -> Result<(f64, f64), SettingError> {
            let [one, other] = field(kind)?.pair("numbers")?;
            Ok((one.number()?, other.number()?))
        };
        let every = || Ok(table.get("every", |field| field.period())?.unwrap_or(Duration::from_nanos(1)));
        let repeat = table.get("repeat", |field| field.truth())?.unwrap_or(false);
        Ok(match kind {
            "ramp" => {
                let ((from, to), over) = (pair()?, field("over")?.period()?);
                Generator::Ramp { from, to, course: Course { over, repeat } }
            }
            "sine" => {
                let ((mean, amplitude), period) = (pair()?, field("period")?.period()?);
                let phase = table.get("phase", |field| field.number())?.unwrap_or(0.0);
                Generator::Sine { mean, amplitude, period, phase }
            }
            "noise" => {
                let (low, high) = pair()?;
                if low > high {
                    return Err(field(kind)?.error(format!("it begins above its end: {low} to {high}")));
                }
                Generator::Uniform { low, high, every: every()? }
            }
            "gaussian" => {
                let (mean, deviation) = pair()?;
                Generator::Gaussian { mean, deviation, every: every()? }
            }
            "steps" => {
                let values: Vec<f64> = field(kind)?.list()?.iter().map(Field::number).collect::<Result<_, _>>()?;
                if values.is_empty() {
                    return Err(field(kind)?.error("there is no step"));
                }
                Generator::Steps { values, every: field("every")?.period()?, repeat }
            }
            _ => {
                let interpolate = table.get("interpolate", |field| field.truth())?.unwrap_or(false);
                Generator::Series { points: read_series(&field(kind)?)?, interpolate, repeat }
            }
        })
    }

    /// The value at `time` since the device runs; `index` tells apart the addresses of one rule.
    pub(super) fn at(&self, seed: u64, index: u64, time: Duration) -> Value {
        let number = match self {
            Generator::Constant(value) => return value.clone(),
            Generator::Ramp { from, to, course } => from + (to - from) * course.done(time),
            Generator::Sine { mean, amplitude, period, phase } => {
                // The remainder first: a long time has no digits to spare.
                let turns =
                    (time.as_nanos() % period.as_nanos().max(1)) as f64 / period.as_nanos().max(1) as f64 + phase;
                mean + amplitude * (std::f64::consts::TAU * turns).sin()
            }
            Generator::Uniform { low, high, every } => low + (high - low) * draw(seed, index, time, *every).0,
            Generator::Gaussian { mean, deviation, every } => {
                // Box and Muller: two even draws make a normal one.
                let (one, other) = draw(seed, index, time, *every);
                mean + deviation * (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()
            }
            Generator::Steps { values, every, repeat } => {
                let step = time.as_nanos() / every.as_nanos().max(1);
                let length = values.len() as u128;
                let step = if *repeat { step % length.max(1) } else { step.min(length.saturating_sub(1)) };
                values.get(step as usize).copied().unwrap_or_default()
            }
            Generator::Series { points, interpolate, repeat } => series_at(points, *interpolate, *repeat, time),
        };
        Value::Float(number)
    }
}

/// Two even draws from [0, 1) for a slot of time.
fn draw(seed: u64, index: u64, time: Duration, every: Duration) -> (f64, f64) {
    let slot = (time.as_nanos() / every.as_nanos().max(1)) as u64;
    let mixed = Chance::seeded(seed ^ slot.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64();
    let mut chance = Chance::seeded(mixed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
    let mut even = || (chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (even(), even())
}

/// Rows of time and value: `[["0s", 1.0], ["2.5s", 7]]`; a bare number counts seconds.
fn read_series(field: &Field<'_>) -> Result<Vec<(Duration, f64)>, SettingError> {
    let mut points: Vec<(Duration, f64)> = Vec::new();
    for row in field.list()? {
        let [time, value] = row.pair("a time and a value")?;
        let at = match time.value {
            Value::Text(text) => parse_duration(text).map_err(|_| time.must_be("a duration such as \"2.5s\""))?,
            _ => {
                let seconds = time.number()?;
                Duration::try_from_secs_f64(seconds).map_err(|_| time.must_be("seconds from 0 on"))?
            }
        };
        if points.last().is_some_and(|(before, _)| at <= *before) {
            return Err(time.error(format!("the times must go up; {} does not come after the one before", time.value)));
        }
        points.push((at, value.number()?));
    }
    if points.is_empty() {
        return Err(field.error("there is no row"));
    }
    Ok(points)
}

/// A series that repeats begins anew at the time of its last row, whose value is that of its end only.
fn series_at(points: &[(Duration, f64)], interpolate: bool, repeat: bool, time: Duration) -> f64 {
    let (Some((_, first)), Some((end, last))) = (points.first(), points.last()) else { return 0.0 };
    let time = match end.as_nanos() {
        length if repeat && length > 0 => {
            let rest = time.as_nanos() % length;
            Duration::new((rest / 1_000_000_000) as u64, (rest % 1_000_000_000) as u32)
        }
        _ => time,
    };
    let next = points.partition_point(|(at, _)| *at <= time);
    let Some((from, before)) = next.checked_sub(1).and_then(|index| points.get(index)) else { return *first };
    match points.get(next) {
        None => *last,
        Some((to, after)) if interpolate => {
            let part = (time - *from).as_nanos() as f64 / (*to - *from).as_nanos().max(1) as f64;
            before + (after - before) * part
        }
        Some(_) => *before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Value {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn numbers(values: &[f64]) -> Value {
        Value::List(values.iter().map(|value| Value::Float(*value)).collect())
    }

    fn generator(entries: &[(&str, Value)]) -> Result<Generator, (String, String)> {
        let value = table(entries);
        let read = Generator::read(&Field { key: "value".to_owned(), value: &value });
        read.map_err(|error| (error.key, error.problem))
    }

    fn at(entries: &[(&str, Value)], millis: u64) -> f64 {
        let generator = generator(entries).expect("a generator");
        generator.at(7, 0, Duration::from_millis(millis)).as_f64().expect("a number")
    }

    #[test]
    fn each_source_is_an_exact_function_of_time() {
        let ramp = [("ramp", numbers(&[0.0, 100.0])), ("over", "10s".into())];
        assert_eq!([at(&ramp, 0), at(&ramp, 2_500), at(&ramp, 99_000)], [0.0, 25.0, 100.0]);
        let saw = [ramp[0].clone(), ramp[1].clone(), ("repeat", Value::Bool(true))];
        assert_eq!([at(&saw, 12_500), at(&saw, 10_000)], [25.0, 0.0]);
        let sine = [("sine", numbers(&[230.0, 10.0])), ("period", "1s".into())];
        assert_eq!([at(&sine, 0), at(&sine, 250), at(&sine, 3_600_250)], [230.0, 240.0, 240.0]);
        let steps = [("steps", numbers(&[1.0, 5.0, 9.0])), ("every", "2s".into())];
        assert_eq!([at(&steps, 1_999), at(&steps, 2_000), at(&steps, 60_000)], [1.0, 5.0, 9.0]);
        let row = |time: &str, value: f64| Value::List(vec![time.into(), Value::Float(value)]);
        let series = [("series", Value::List(vec![row("1s", 1.0), row("3s", 5.0)]))];
        assert_eq!([at(&series, 0), at(&series, 2_000), at(&series, 3_000), at(&series, 9_000)], [1.0, 1.0, 5.0, 5.0]);
        let lines = [series[0].clone(), ("interpolate", Value::Bool(true))];
        assert_eq!([at(&lines, 2_000), at(&lines, 2_500)], [3.0, 4.0]);
        let again = [series[0].clone(), ("repeat", Value::Bool(true))];
        assert_eq!([at(&again, 3_000), at(&again, 5_000), at(&again, 5_999)], [1.0, 1.0, 1.0]);
    }

    #[test]
    fn noise_depends_on_seed_time_and_address_alone() {
        let noise = [("noise", numbers(&[-1.0, 1.0])), ("every", "100ms".into())];
        let generator = generator(&noise).expect("a generator");
        let draw =
            |seed, index, millis| generator.at(seed, index, Duration::from_millis(millis)).as_f64().expect("number");
        assert_eq!(draw(1, 0, 10), draw(1, 0, 90));
        assert_ne!(draw(1, 0, 10), draw(1, 0, 110));
        assert_ne!(draw(1, 0, 10), draw(2, 0, 10));
        assert_ne!(draw(1, 0, 10), draw(1, 1, 10));
        let all: Vec<f64> = (0..1000).map(|slot| draw(3, 0, slot * 100)).collect();
        assert!(all.iter().all(|value| (-1.0..1.0).contains(value)));
        assert!((all.iter().sum::<f64>() / 1000.0).abs() < 0.1, "the mean of even noise is in its middle");
    }

    #[test]
    fn a_wrong_source_is_told_with_its_key() {
        for (entries, key, problem) in [
            (vec![("ramp", numbers(&[0.0]))], "value.ramp", "it must be a pair of numbers, not [0.0]"),
            (vec![("ramp", numbers(&[0.0, 1.0]))], "value", "`over` is missing"),
            (vec![("rampe", numbers(&[0.0, 1.0]))], "value.rampe", "unknown key `rampe`"),
            (
                vec![("ramp", numbers(&[0.0, 1.0])), ("period", "1s".into())],
                "value.period",
                "`ramp` has no `period`; it takes over, repeat",
            ),
            (
                vec![("ramp", numbers(&[0.0, 1.0])), ("sine", numbers(&[0.0, 1.0]))],
                "value.sine",
                "`ramp` and `sine` exclude each other",
            ),
            (vec![("steps", Value::List(vec![])), ("every", "1s".into())], "value.steps", "there is no step"),
            (
                vec![("series", Value::List(vec![numbers(&[1.0, 1.0]), numbers(&[1.0, 2.0])]))],
                "value.series.1.0",
                "the times must go up; 1.0 does not come after the one before",
            ),
        ] {
            assert_eq!(generator(&entries), Err((key.to_owned(), problem.to_owned())));
        }
    }
}
