//! Verdicts: how a judgement ends.

use std::fmt;

/// `none < pass < inconclusive < fail < error`; over the life of a test it only gets worse.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Verdict {
    /// Nothing was judged yet.
    #[default]
    None,
    /// The device did what was required.
    Pass,
    /// The bench, not the device, is why this cannot be decided.
    Inconclusive,
    /// The device did not do what was required.
    Fail,
    /// The judgement itself broke.
    Error,
}

impl Verdict {
    /// The verdict after this one and another: the worse of both.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        self.max(other)
    }

    /// The word used in logs and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Pass => "pass",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Fail => "fail",
            Verdict::Error => "error",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
