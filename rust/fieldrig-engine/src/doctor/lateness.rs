//! Lateness of many deadlines in a few figures.

use fieldrig_proto::time::Duration;

/// Fewer than this say nothing about one in a thousand.
const FOR_P999: usize = 3000;
/// Where the bars of the histogram end; the last one has no end.
const BARS: [Duration; 8] = [
    Duration::from_micros(1),
    Duration::from_micros(3),
    Duration::from_micros(10),
    Duration::from_micros(30),
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(10),
];

/// How late many deadlines were met.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lateness {
    /// How many there were.
    pub count: usize,
    /// Half of them were no later.
    pub p50: Duration,
    /// 99 of 100 were no later.
    pub p99: Duration,
    /// 999 of 1000 were no later; `None` with fewer than 3000.
    pub p999: Option<Duration>,
    /// The latest.
    pub max: Duration,
    /// How many were later than a whole period.
    pub missed: usize,
    /// How many lie below each bound, and not below the one before; the last bar has no bound.
    pub histogram: Vec<(Option<Duration>, usize)>,
}

impl Lateness {
    /// That of these; a later one than `period` is missed.
    #[must_use]
    pub fn of(mut late: Vec<Duration>, period: Duration) -> Lateness {
        late.sort_unstable();
        let bounds = BARS.iter().copied().map(Some).chain([None]);
        let mut below = 0;
        let histogram = bounds.map(|bound| {
            let all = bound.map_or(late.len(), |bound| late.partition_point(|late| *late < bound));
            (bound, all - std::mem::replace(&mut below, all))
        });
        let histogram = histogram.collect();
        Lateness {
            count: late.len(),
            p50: at(&late, 500),
            p99: at(&late, 990),
            p999: (late.len() >= FOR_P999).then(|| at(&late, 999)),
            max: late.last().copied().unwrap_or_default(),
            missed: late.len() - late.partition_point(|late| *late <= period),
            histogram,
        }
    }
}

/// The smallest one that so many of a thousand do not exceed; nothing of nothing.
fn at(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn percentiles_are_lateness_that_occurred() {
        let lateness = Lateness::of((1..=200).rev().map(micros).collect(), micros(190));
        assert_eq!((lateness.count, lateness.p50, lateness.p99), (200, micros(100), micros(198)));
        assert_eq!((lateness.max, lateness.missed, lateness.p999), (micros(200), 10, None));
        let many = Lateness::of((1..=3000).map(micros).collect(), micros(5000));
        assert_eq!((many.p999, many.missed), (Some(micros(2997)), 0));
    }

    #[test]
    fn each_one_is_in_one_bar() {
        let lateness = Lateness::of([0, 1, 2, 9, 10, 99, 100, 5_000, 20_000].map(micros).to_vec(), micros(1000));
        let counts: Vec<usize> = lateness.histogram.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 1, 1, 1, 1, 0, 1, 1]);
        assert_eq!(lateness.missed, 2);
    }

    #[test]
    fn nothing_is_no_lateness() {
        assert_eq!(Lateness::of(Vec::new(), micros(1)).p99, Duration::ZERO);
    }
}
