//! Dates and times of points: the proleptic Gregorian calendar in UTC, as text of ISO 8601.

/// A date and a time of day in UTC.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Instant {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) millisecond: i64,
}

const MILLISECONDS_PER_DAY: i64 = 86_400_000;
/// What a point can hold without running over, years -9999 to 9999.
const FURTHEST: i64 = 10_000 * 366 * MILLISECONDS_PER_DAY;

impl Instant {
    /// From milliseconds since 1970-01-01T00:00:00Z; `None` beyond the years people write with four digits.
    pub(super) fn from_milliseconds(milliseconds: i128) -> Option<Instant> {
        let milliseconds = i64::try_from(milliseconds).ok().filter(|count| count.abs() < FURTHEST)?;
        let (days, rest) =
            (milliseconds.div_euclid(MILLISECONDS_PER_DAY), milliseconds.rem_euclid(MILLISECONDS_PER_DAY));
        let (year, month, day) = civil(days);
        (0..=9999).contains(&year).then_some(Instant {
            year,
            month,
            day,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1000 % 60,
            millisecond: rest % 1000,
        })
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(super) fn milliseconds(&self) -> i64 {
        let of_day = (self.hour * 60 + self.minute) * 60 + self.second;
        days(self.year, self.month, self.day) * MILLISECONDS_PER_DAY + of_day * 1000 + self.millisecond
    }

    /// Whether such a day and such a time of day exist.
    pub(super) fn is_real(&self) -> bool {
        (0..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && civil(days(self.year, self.month, self.day)) == (self.year, self.month, self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second)
            && (0..1000).contains(&self.millisecond)
    }

    /// Reads `2026-11-22T14:30:00Z`, with a fraction of three digits and `+01:00` instead of `Z` if wanted.
    pub(super) fn parse(text: &str) -> Option<Instant> {
        let (date, time) = text.trim().split_once(['T', ' '])?;
        let zone = time.find(['Z', '+', '-'])?;
        let (time, zone) = time.split_at(zone);
        let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
        let numbers = |text: &str, separator: char| -> Option<[i64; 3]> {
            let parts: Vec<i64> = text.split(separator).map(|part| part.parse().ok()).collect::<Option<_>>()?;
            parts.try_into().ok()
        };
        let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
        let millisecond = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        let found = Instant { year, month, day, hour, minute, second, millisecond };
        if !found.is_real() {
            return None;
        }
        Instant::from_milliseconds(i128::from(found.milliseconds()) - i128::from(offset(zone)?) * 60_000)
    }
}

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )?;
        if self.millisecond != 0 {
            write!(f, ".{:03}", self.millisecond)?;
        }
        f.write_str("Z")
    }
}

/// Minutes east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let minutes = i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?);
    Some(if zone.starts_with('-') { -minutes } else { minutes })
}

/// Days since 1970-01-01: years begin in March here, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_go_there_and_back() {
        for (text, milliseconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-11-22T14:30:05.250Z", 1_795_357_805_250),
            ("1969-12-31T23:59:59Z", -1000),
        ] {
            let instant = Instant::parse(text).expect("an instant");
            assert_eq!(instant.milliseconds(), milliseconds, "{text}");
            assert_eq!(instant.to_string(), text);
            assert_eq!(Instant::from_milliseconds(milliseconds.into()), Some(instant));
        }
        let east = Instant::parse("2026-11-22T15:30:00+01:00").expect("an instant");
        assert_eq!(east.to_string(), "2026-11-22T14:30:00Z");
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01", "soon", ""] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
        assert_eq!(Instant::from_milliseconds(i128::MAX), None);
    }
}
