use super::*;
use proptest::prelude::*;

const MS: i64 = 1_000_000;

fn at(earliest: i64, latest: i64) -> Stamp {
    let time = |nanos: i64| Time::from_nanos(u64::try_from(nanos).expect("not negative"));
    Stamp::between(time(earliest), time(latest))
}

fn series(stamps: &[Stamp]) -> Vec<Interval> {
    stamps.windows(2).map(|pair| Interval::new(pair[0], pair[1])).collect()
}

fn nobody(_: Source) -> Option<(String, i64)> {
    None
}

const QUIET: Facts<'static> = Facts { stalls: &[], port: &nobody };

fn verdict(rule: Rule, stamps: &[Stamp]) -> Verdict {
    worst(&judge(&rule, &series(stamps), &QUIET))
}

fn exactly(instants: &[i64]) -> Vec<Stamp> {
    instants.iter().map(|instant| at(*instant, *instant)).collect()
}

#[test]
fn each_rule_passes_fails_and_doubts() {
    let wide = [at(0, MS), at(10 * MS, 12 * MS)];
    for (rule, expected) in [
        (Rule::Within(12 * MS), Verdict::Pass),
        (Rule::Within(11 * MS), Verdict::Inconclusive),
        (Rule::Within(9 * MS - 1), Verdict::Fail),
        (Rule::NotBefore(9 * MS), Verdict::Pass),
        (Rule::NotBefore(10 * MS), Verdict::Inconclusive),
        (Rule::NotBefore(12 * MS + 1), Verdict::Fail),
        (Rule::Gap(Limit { min: Some(9 * MS), max: Some(12 * MS) }), Verdict::Pass),
        (Rule::Gap(Limit { min: None, max: Some(MS) }), Verdict::Fail),
        (Rule::Period { nominal: 10 * MS, tolerance: 2 * MS, drift: None }, Verdict::Pass),
        (Rule::Period { nominal: 10 * MS, tolerance: MS, drift: None }, Verdict::Inconclusive),
        (Rule::Period { nominal: 20 * MS, tolerance: MS, drift: None }, Verdict::Fail),
    ] {
        assert_eq!(verdict(rule, &wide), expected, "{rule:?}");
    }
    assert_eq!(verdict(Rule::Within(MS), &[at(5, 5), at(3, 4)]), Verdict::Fail);
    assert_eq!(verdict(Rule::Within(MS), &[at(5, 5), at(4, 6)]), Verdict::Inconclusive);
}

#[test]
fn what_we_caused_may_be_seen_before_the_action_has_returned_but_not_before_its_issue() {
    let action = at(100, 150);
    let judged = |to: Stamp| worst(&judge(&Rule::Within(60), &[Interval { from: action, to, caused: true }], &QUIET));
    assert_eq!(judged(at(100, 120)), Verdict::Pass);
    assert_eq!(judged(at(99, 120)), Verdict::Inconclusive);
    assert_eq!(judged(at(90, 99)), Verdict::Fail);
    assert_eq!(judged(at(155, 161)), Verdict::Inconclusive);
    assert_eq!(judged(at(210, 210)), Verdict::Inconclusive, "60 after the return, 110 after the issue");
    assert_eq!(judged(at(211, 211)), Verdict::Fail);
    assert_eq!(verdict(Rule::Within(60), &[action, at(100, 120)]), Verdict::Inconclusive);
}

#[test]
fn jitter_is_the_longest_period_less_the_shortest() {
    let stamps = exactly(&[0, 10, 22, 30, 41]);
    let figures = judge(&Rule::Jitter(3), &series(&stamps), &QUIET);
    assert_eq!((figures[0].value, figures[0].verdict), (Span::exact(4), Verdict::Fail));
    assert_eq!(verdict(Rule::Jitter(4), &stamps), Verdict::Pass);
    // One period has two ends, but it is not longer than itself.
    let wide = [at(0, 100), at(200, 200), at(300, 300)];
    assert_eq!(judge(&Rule::Jitter(1), &series(&wide), &QUIET)[0].value, Span::between(0, 100));
}

#[test]
fn a_clock_that_is_a_little_fast_drifts_though_no_period_is_wrong() {
    let stamps = exactly(&(0..=1000).map(|index| index * (10 * MS + 500)).collect::<Vec<_>>());
    let rule = |drift| Rule::Period { nominal: 10 * MS, tolerance: 1000, drift };
    assert_eq!(verdict(rule(None), &stamps), Verdict::Pass);
    assert_eq!(verdict(rule(Some(600)), &stamps), Verdict::Pass);
    assert_eq!(verdict(rule(Some(400)), &stamps), Verdict::Fail);
    let figures = judge(&rule(Some(400)), &series(&stamps), &QUIET);
    assert_eq!(figures[1].value, Span::exact(10 * MS + 500));
    assert_eq!(figures[1].reason, "the mean period of 1000 periods is 10000500 ns, surely above 10 ms");
}

#[test]
fn the_reason_names_both_ends_the_limit_and_who_is_to_blame() {
    let port = |source: Source| (source.number() == 7).then(|| ("serial:///dev/ttyUSB0".to_owned(), MS));
    let stall = [(Time::from_nanos(1), Time::from_nanos(1 + 20 * MS as u64))];
    let seen = at(30 * MS, 32 * MS).seen_through(Source::new(7));
    let (calm, stood) = (Facts { stalls: &[], port: &port }, Facts { stalls: &stall, port: &port });
    let interval = [Interval::new(at(0, 0), seen)];
    let figure = judge(&Rule::Within(31 * MS), &interval, &calm).remove(0);
    assert_eq!(
        figure.reason,
        "the time is 30 ms to 32 ms and the limit 31 ms lies in between: its end is known to within 2 ms \
         (serial:///dev/ttyUSB0 has a resolution of 1 ms)"
    );
    let excused = judge(&Rule::Within(15 * MS), &interval, &stood).remove(0);
    assert_eq!(excused.verdict, Verdict::Inconclusive);
    assert_eq!(excused.reason, "the time is 30 ms to 32 ms; the host stood still for 20 ms, which explains it");
    assert_eq!(judge(&Rule::Within(9 * MS), &interval, &stood)[0].verdict, Verdict::Fail);
    assert_eq!(judge(&Rule::Within(40 * MS), &interval, &stood)[0].verdict, Verdict::Pass);
    assert_eq!(judge(&Rule::NotBefore(25 * MS), &interval, &stood)[0].verdict, Verdict::Inconclusive);
    assert_eq!(judge(&Rule::NotBefore(5 * MS), &interval, &stood)[0].verdict, Verdict::Pass);
}

#[test]
fn a_device_that_the_host_held_up_is_neither_accused_of_jitter_nor_let_off() {
    let stall = |from: i64, until: i64| [(Time::from_nanos((from * MS) as u64), Time::from_nanos((until * MS) as u64))];
    let said = |rule: Rule, instants: &[i64], stalls: &[(Time, Time)]| {
        let stamps = exactly(&instants.iter().map(|at| at * MS).collect::<Vec<_>>());
        worst(&judge(&rule, &series(&stamps), &Facts { stalls, port: &nobody }))
    };
    // Ticks were due at 0, 20, 40, 60; that at 20 was held up until 39: one period longer by 19, the next shorter.
    assert_eq!(said(Rule::Jitter(MS), &[0, 39, 40, 60], &stall(19, 39)), Verdict::Inconclusive);
    // One that comes 5 late is made up for by a host that held up the one before.
    assert_eq!(said(Rule::Jitter(4 * MS), &[0, 25, 45, 65], &stall(19, 25)), Verdict::Inconclusive);
    assert_eq!(
        said(Rule::Gap(Limit { min: None, max: Some(50 * MS) }), &[19, 55], &stall(0, 19)),
        Verdict::Inconclusive
    );
    // Nothing holds up what comes before it, and a stall between two events made no gap shorter.
    assert_eq!(said(Rule::Gap(Limit { min: None, max: Some(50 * MS) }), &[19, 55], &stall(25, 45)), Verdict::Pass);
    assert_eq!(said(Rule::Jitter(MS), &[0, 100, 200, 300], &stall(30, 50)), Verdict::Pass);
    let within = |caused| {
        let interval = Interval { from: at(0, 19 * MS), to: at(55 * MS, 55 * MS), caused };
        judge(&Rule::Within(60 * MS), &[interval], &Facts { stalls: &stall(0, 19), port: &nobody })[0].verdict
    };
    assert_eq!((within(true), within(false)), (Verdict::Pass, Verdict::Inconclusive));
}

/// What a host that stands still does to instants: those within its stalls come at their ends, and all in order.
fn held_back(instants: &[i64], (from, long): (i64, i64)) -> Vec<i64> {
    instants.iter().map(|at| if (from..from + long).contains(at) { from + long } else { *at }).collect()
}

#[test]
fn a_rule_is_as_fine_as_its_finest_limit() {
    assert_eq!(Rule::Within(5).fineness(1), 5);
    assert_eq!(Rule::Gap(Limit { min: Some(0), max: Some(9) }).fineness(1), 9);
    assert_eq!(Rule::Gap(Limit { min: Some(3), max: Some(9) }).fineness(1), 3);
    assert_eq!(Rule::Period { nominal: 100, tolerance: 7, drift: Some(1) }.fineness(4), 4);
}

/// Widths and instants of a series: what happened, and what was seen of it.
fn happened() -> impl Strategy<Value = Vec<(i64, i64, i64)>> {
    // Gaps between the instants may be negative, so that the order is unsure, too.
    prop::collection::vec((-20i64..200, 0i64..60, 0i64..60), 2..12)
}

fn rules() -> impl Strategy<Value = Rule> {
    let limit = 0i64..250;
    prop_oneof![
        limit.clone().prop_map(Rule::Within),
        limit.clone().prop_map(Rule::NotBefore),
        (prop::option::of(0i64..200), prop::option::of(0i64..250)).prop_map(|(min, max)| Rule::Gap(Limit { min, max })),
        (0i64..200, 0i64..100, prop::option::of(0i64..60)).prop_map(|(nominal, tolerance, drift)| Rule::Period {
            nominal,
            tolerance,
            drift
        }),
        limit.prop_map(Rule::Jitter),
    ]
}

/// What an observer who knows the instants says.
fn truth(rule: &Rule, instants: &[i64]) -> bool {
    let spans: Vec<i64> = instants.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let whole = instants[instants.len() - 1] - instants[0];
    let count = spans.len() as i64;
    match *rule {
        Rule::Within(limit) => spans.iter().all(|span| (0..=limit).contains(span)),
        Rule::NotBefore(limit) => spans.iter().all(|span| *span >= limit),
        Rule::Gap(Limit { min, max }) => {
            spans.iter().all(|span| min.is_none_or(|min| *span >= min) && max.is_none_or(|max| *span <= max))
        }
        Rule::Period { nominal, tolerance, drift } => {
            spans.iter().all(|span| (span - nominal).abs() <= tolerance)
                && drift.is_none_or(|drift| (whole - count * nominal).abs() <= count * drift)
        }
        Rule::Jitter(limit) => {
            spans.iter().max().zip(spans.iter().min()).is_some_and(|(longest, shortest)| longest - shortest <= limit)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_pass_and_no_fail_is_ever_wrong(rule in rules(), seen in happened()) {
        let mut now = 10_000;
        let (mut instants, mut stamps) = (Vec::new(), Vec::new());
        for (step, before, after) in seen {
            now += step;
            instants.push(now);
            stamps.push(at(now - before, now + after));
        }
        match verdict(rule, &stamps) {
            Verdict::Pass => prop_assert!(truth(&rule, &instants)),
            Verdict::Fail => prop_assert!(!truth(&rule, &instants)),
            _ => {}
        }
    }

    #[test]
    fn exact_instants_are_always_decided(rule in rules(), steps in prop::collection::vec(-20i64..200, 2..12)) {
        let mut now = 10_000;
        let instants: Vec<i64> = steps.into_iter().map(|step| { now += step; now }).collect();
        let said = verdict(rule, &exactly(&instants));
        prop_assert_eq!(said, if truth(&rule, &instants) { Verdict::Pass } else { Verdict::Fail });
    }

    #[test]
    fn what_is_doubted_could_have_been_either(limit in 0i64..300, from in (0i64..100, 0i64..50), to in (0i64..300, 0i64..50)) {
        let (from, to) = (at(from.0, from.0 + from.1), at(300 + to.0, 300 + to.0 + to.1));
        if verdict(Rule::NotBefore(limit), &[from, to]) == Verdict::Inconclusive {
            let span = to - from;
            prop_assert!(span.earliest < limit && span.latest >= limit);
        }
    }

    #[test]
    fn no_verdict_is_wrong_about_a_device_that_the_host_held_up(
        rule in rules(), steps in prop::collection::vec(0i64..200, 2..12), from in 10_000i64..11_000, long in 1i64..300,
    ) {
        let mut now = 10_000;
        let due: Vec<i64> = steps.into_iter().map(|step| { now += step; now }).collect();
        let seen = exactly(&held_back(&due, (from, long)));
        let nanos = |at: i64| Time::from_nanos(u64::try_from(at).expect("not negative"));
        let stalls = [(nanos(from), nanos(from + long))];
        match worst(&judge(&rule, &series(&seen), &Facts { stalls: &stalls, port: &nobody })) {
            Verdict::Pass => prop_assert!(truth(&rule, &due), "passed"),
            Verdict::Fail => prop_assert!(!truth(&rule, &due), "accused"),
            _ => {}
        }
    }

    #[test]
    fn a_stall_only_makes_a_verdict_less_sure(rule in rules(), seen in happened(), from in 9_000u64..12_000, long in 0u64..300) {
        let mut now = 10_000;
        let stamps: Vec<Stamp> = seen.into_iter().map(|(step, before, after)| {
            now += step;
            at(now - before, now + after)
        }).collect();
        let stalls = [(Time::from_nanos(from), Time::from_nanos(from + long))];
        let calm = verdict(rule, &stamps);
        let stood = worst(&judge(&rule, &series(&stamps), &Facts { stalls: &stalls, port: &nobody }));
        prop_assert!(stood == calm || stood == Verdict::Inconclusive, "{:?} became {:?}", calm, stood);
    }
}
