//! Stimulus programs on fed time, with a driver that can stand still: what is late, left out, taken back, seen and missed.

use fieldrig_proto::endpoint::{Action, Conn, Departure, Endpoint, Fate, Input, Peer, Stamps, Timed, Why};
use fieldrig_proto::line::program::{
    Kind, Late, Outcome, Program, ProgramError, ProgramEvent, Repeat, Report, Step, Then, Until, Wait, What, When,
};
use fieldrig_proto::line::stream::Patterns;
use fieldrig_proto::line::stream::{Stream, StreamError};
use fieldrig_proto::line::{LineCommand, LineSettings};
use fieldrig_proto::time::{Duration, Stamp, Time};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CONN: Conn = Conn(0);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at(millis: u64) -> Time {
    Time::ZERO + ms(millis)
}

fn step(number: u32, what: What) -> Step {
    Step { number, name: None, what }
}

fn send(number: u32, bytes: &[u8], when: When) -> Step {
    step(number, What::Send { pieces: vec![(Duration::ZERO, bytes.into())], when })
}

fn after(millis: u64) -> When {
    When::After(ms(millis))
}

fn go_on() -> Then {
    Then::GoOn(Arc::default())
}

fn wait(number: u32, until: Until, within: Option<Duration>) -> Step {
    step(number, What::Wait(Wait { until, within, seen: go_on(), missed: Then::Abort }))
}

fn pattern(text: &str) -> Patterns {
    Patterns::new(&[text]).expect("a pattern")
}

fn repeat(number: u32, every: Duration, count: Option<u64>, late: Late, steps: Vec<Step>) -> Repeat {
    let _ = number;
    let (until, within, missed) = (None, None, Then::Abort);
    Repeat { steps: steps.into(), every, count, until, within, missed, late, tolerance: every }
}

/// A driver of one stream. While it stands still, nothing is done, read or timed out.
struct Driver {
    stream: Stream,
    now: Time,
    asked: VecDeque<Asked>,
    stalls: Vec<(Time, Time)>,
    arrivals: VecDeque<(Stamp, Vec<u8>)>,
    line: Vec<(Time, Vec<u8>)>,
    commands: Vec<(Time, LineCommand)>,
    over: Arc<AtomicBool>,
    /// Nothing was on the line since.
    quiet_since: Time,
    character: Duration,
}

struct Asked {
    what: Result<Vec<u8>, LineCommand>,
    due: Time,
    gap: Option<Duration>,
    not_after: Option<Time>,
}

impl Driver {
    fn new() -> Driver {
        let mut driver = Driver {
            stream: Stream::new(),
            now: Time::ZERO,
            asked: VecDeque::new(),
            stalls: Vec::new(),
            arrivals: VecDeque::new(),
            line: Vec::new(),
            commands: Vec::new(),
            over: Arc::default(),
            quiet_since: Time::ZERO,
            character: Duration::ZERO,
        };
        driver.stream.handle(Time::ZERO, Input::Opened(CONN, &Peer::default()));
        driver
    }

    fn hears(mut self, when: Time, bytes: &[u8]) -> Driver {
        self.arrivals.push_back((Stamp::exact(when), bytes.to_vec()));
        self
    }

    fn stalls(mut self, from: Time, to: Time) -> Driver {
        self.stalls.push((from, to));
        self
    }

    fn start(&mut self, steps: Vec<Step>, lead: Duration) -> u64 {
        let program = Program::new(steps);
        self.over = Arc::default();
        let id = self
            .stream
            .start_program(self.now, &program, (Duration::ZERO, lead), Arc::clone(&self.over))
            .expect("it starts");
        self.pump();
        id
    }

    fn pump(&mut self) {
        let mut out = Vec::new();
        while let Some(action) = self.stream.poll_action(&mut out) {
            match action {
                Action::Timed { what, not_before, gap_before, not_after, .. } => {
                    let what = match what {
                        Timed::Send(range) => Ok(out[range].to_vec()),
                        Timed::Line(command) => Err(command),
                    };
                    self.asked.push_back(Asked { what, due: not_before.max(self.now), gap: gap_before, not_after });
                }
                Action::Recall(_) => {
                    for _ in 0..std::mem::take(&mut self.asked).len() {
                        self.stream.handle(self.now, Input::Timed(CONN, Fate::Recalled));
                    }
                }
                other => panic!("no program does this: {other:?}"),
            }
        }
        while self.stream.poll_event().is_some() {}
        assert!(self.stream.poll_timeout().is_none_or(|due| due > self.now), "it goes on by itself");
    }

    fn due(&self, asked: &Asked) -> Time {
        asked.gap.map_or(asked.due, |gap| asked.due.max(self.quiet_since + gap))
    }

    /// The next instant at which anything happens, later if the host stands still then.
    fn next(&self) -> Option<Time> {
        let send = self.asked.front().map(|asked| self.due(asked));
        let arrival = self.arrivals.front().map(|(stamp, _)| stamp.latest());
        let next = [send, arrival, self.stream.poll_timeout()].into_iter().flatten().min()?.max(self.now);
        let stalled = self.stalls.iter().find(|(from, to)| *from <= next && next < *to);
        Some(stalled.map_or(next, |(_, to)| *to))
    }

    fn run(&mut self, until: Time) {
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = next;
            if self.asked.front().is_some_and(|asked| self.due(asked) <= next) {
                self.act();
            } else if self.arrivals.front().is_some_and(|(stamp, _)| stamp.latest() <= next) {
                let Some((stamp, bytes)) = self.arrivals.pop_front() else { return };
                self.quiet_since = self.quiet_since.max(stamp.latest());
                self.stream.handle(next, Input::Bytes(CONN, &bytes, Stamps::One(stamp)));
            } else {
                self.stream.handle_timeout(next);
            }
            self.pump();
        }
        self.now = until;
    }

    fn act(&mut self) {
        let Some(asked) = self.asked.pop_front() else { return };
        let (scheduled, now) = (self.due(&asked), self.now);
        if asked.not_after.is_some_and(|limit| now > limit) {
            return self.stream.handle(now, Input::Timed(CONN, Fate::TooLate { scheduled, now }));
        }
        let length = match asked.what {
            Ok(bytes) => {
                let length = self.character * u32::try_from(bytes.len()).expect("few");
                self.line.push((now, bytes));
                length
            }
            Err(LineCommand::Rts(_)) => {
                return self.stream.handle(now, Input::Timed(CONN, Fate::Refused("no RTS here".to_owned())));
            }
            Err(command) => {
                self.commands.push((now, command));
                Duration::ZERO
            }
        };
        let left = now.max(self.quiet_since) + length;
        self.quiet_since = left;
        let departure = Departure { scheduled, issued: now, returned: now, left, run_delay: None };
        self.stream.handle(now, Input::Timed(CONN, Fate::Done(departure)));
    }

    fn report(&mut self, id: u64) -> Report {
        self.stream.program_report(id).expect("a report")
    }

    /// Runs a program to its end.
    fn play(&mut self, steps: Vec<Step>) -> (Outcome, Vec<ProgramEvent>) {
        let id = self.start(steps, Duration::ZERO);
        self.run(at(1_000_000));
        assert!(self.over.load(Ordering::Acquire), "it ended");
        let report = self.report(id);
        (report.ended.expect("it ended").1, report.events)
    }

    fn sent(&self) -> Vec<(u64, &[u8])> {
        self.line.iter().map(|(at, bytes)| (at.as_nanos() / 1_000_000, bytes.as_slice())).collect()
    }
}

fn kinds(events: &[ProgramEvent]) -> Vec<(&'static str, Option<u64>)> {
    events.iter().map(|event| (event.kind.word(), event.slot)).collect()
}

#[test]
fn steps_count_from_the_start_from_each_other_and_from_those_that_have_names() {
    let mut driver = Driver::new();
    let mut first = send(1, b"a", When::At(ms(10)));
    first.name = Some("first".into());
    let steps =
        vec![first, send(2, b"b", after(5)), send(3, b"c", When::Of("first".into(), ms(50))), send(4, b"d", after(0))];
    let (outcome, events) = driver.play(steps);
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(driver.sent(), [(10, &b"a"[..]), (15, b"b"), (60, b"c"), (60, b"d")]);
    assert!(events.iter().all(|event| event.late() == Some(Duration::ZERO) && event.kind == Kind::Sent));
    assert_eq!(events[2].scheduled, Some(at(60)));
}

#[test]
fn a_late_step_does_not_move_those_behind_it() {
    let mut driver = Driver::new().stalls(at(9), at(13));
    let (_, events) = driver.play(vec![send(1, b"a", When::At(ms(10))), send(2, b"b", after(5))]);
    assert_eq!(driver.sent(), [(13, &b"a"[..]), (15, b"b")]);
    assert_eq!(events[0].late(), Some(ms(3)));
    assert_eq!((events[1].scheduled, events[1].late()), (Some(at(15)), Some(Duration::ZERO)));
}

#[test]
fn a_response_counts_from_the_latest_instant_of_what_it_answers() {
    let mut driver = Driver::new();
    driver.arrivals.push_back((Stamp::between(at(19), at(20)), b"ready>".to_vec()));
    let steps = vec![wait(1, Until::Pattern(pattern("ready>")), None), send(2, b"go", after(3))];
    let (outcome, events) = driver.play(steps);
    assert_eq!((outcome, driver.sent()), (Outcome::Completed, vec![(23, &b"go"[..])]));
    assert_eq!((events[0].at, &*events[0].data), (Stamp::between(at(19), at(20)), &b"ready>"[..]));
    assert_eq!(events[1].from, Some(events[0].at));
}

#[test]
fn a_wait_looks_behind_the_last_match_and_the_last_send() {
    let mut driver = Driver::new().hears(at(1), b"ok").hears(at(5), b"ok").hears(at(8), b"ok");
    let ok = || Until::Pattern(pattern("ok"));
    // The second ok came before the send.
    let steps = vec![wait(1, ok(), None), send(2, b"x", When::At(ms(6))), wait(3, ok(), None)];
    let (_, events) = driver.play(steps);
    assert_eq!(events[2].at, Stamp::exact(at(8)));
}

#[test]
fn what_does_not_come_in_time_ends_it_or_is_what_was_expected() {
    let silent = |missed: Then| {
        let until = Until::Pattern(pattern("ok"));
        let seen = Then::Abort;
        vec![
            send(1, b"?", after(0)),
            step(2, What::Wait(Wait { until, within: Some(ms(10)), seen, missed })),
            send(4, b"end", after(1)),
        ]
    };
    let (outcome, events) = Driver::new().hears(at(11), b"ok").play(silent(Then::Abort));
    assert_eq!(outcome, Outcome::TimedOut { step: 2 });
    assert_eq!((events[1].kind.clone(), events[1].scheduled), (Kind::TimedOut, Some(at(10))));
    let mut driver = Driver::new().hears(at(30), b"ok");
    let (outcome, _) = driver.play(silent(Then::GoOn(vec![send(3, b"again", after(0))].into())));
    assert_eq!((outcome, driver.sent()), (Outcome::Completed, vec![(0, &b"?"[..]), (10, b"again"), (11, b"end")]));
    let (outcome, _) = Driver::new().hears(at(10), b"ok").play(silent(go_on()));
    assert_eq!(outcome, Outcome::Seen { step: 2 });
}

#[test]
fn what_came_late_but_is_read_before_the_time_out_is_still_late() {
    let mut driver = Driver::new().stalls(at(9), at(30)).hears(at(11), b"ok");
    let steps = vec![send(1, b"?", after(0)), wait(2, Until::Pattern(pattern("ok")), Some(ms(10)))];
    let (outcome, _) = driver.play(steps);
    assert_eq!(outcome, Outcome::TimedOut { step: 2 });
    let mut driver = Driver::new().stalls(at(9), at(30)).hears(at(10), b"ok");
    let steps = vec![send(1, b"?", after(0)), wait(2, Until::Pattern(pattern("ok")), Some(ms(10)))];
    let (outcome, _) = driver.play(steps);
    assert_eq!(outcome, Outcome::Completed);
}

#[test]
fn counts_and_silence_are_waited_for() {
    let mut driver = Driver::new().hears(at(1), b"abc").hears(at(4), b"de").hears(at(6), b"f");
    let steps = vec![wait(1, Until::Count(4), None), wait(2, Until::Silence(ms(5)), None), send(3, b"!", after(1))];
    let (_, events) = driver.play(steps);
    assert_eq!((&*events[0].data, events[0].at), (&b"abcd"[..], Stamp::exact(at(4))));
    assert_eq!((events[1].kind.clone(), events[1].at), (Kind::Silence, Stamp::exact(at(11))));
    assert_eq!(driver.sent(), [(12, &b"!"[..])]);
}

#[test]
fn pieces_of_a_burst_keep_their_gaps_from_the_last_bit() {
    let mut driver = Driver::new();
    driver.character = ms(1);
    let pieces = vec![(Duration::ZERO, b"ab".as_slice().into()), (ms(3), b"c".as_slice().into())];
    let steps = vec![
        step(1, What::Send { pieces, when: after(0) }),
        send(2, b"d", When::Left(ms(4))),
        send(3, b"e", When::Quiet(ms(7))),
    ];
    let (_, events) = driver.play(steps);
    assert_eq!(driver.sent(), [(0, &b"ab"[..]), (5, b"c"), (10, b"d"), (18, b"e")]);
    assert_eq!(events.iter().map(|event| event.piece).collect::<Vec<_>>(), [0, 1, 0, 0]);
    assert_eq!((events[3].scheduled, events[3].left), (Some(at(18)), Some(at(19))));
}

#[test]
fn a_quiet_line_is_waited_for_also_if_others_speak_meanwhile() {
    let mut driver = Driver::new().hears(at(5), b"x").hears(at(9), b"y").hears(at(12), b"z");
    driver.play(vec![send(1, b"a", When::Quiet(ms(6)))]);
    // 0 to 5, 5 to 9 and 9 to 12 are too short.
    assert_eq!(driver.sent(), [(18, &b"a"[..])]);
    let mut driver = Driver::new().hears(at(5), b"x");
    driver.play(vec![wait(1, Until::Count(1), None), send(2, b"a", When::Received(ms(2)))]);
    assert_eq!(driver.sent(), [(7, &b"a"[..])]);
}

fn ticks(late: Late) -> Vec<Step> {
    vec![step(1, What::Repeat(repeat(1, ms(10), Some(6), late, vec![send(2, b"x", after(0))])))]
}

#[test]
fn slots_that_are_late_are_caught_up_left_out_or_end_it() {
    let stalled = || Driver::new().stalls(at(15), at(42));
    let mut driver = stalled();
    let (outcome, events) = driver.play(ticks(Late::CatchUp));
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(driver.sent().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 42, 42, 42, 50]);
    let late: Vec<_> = events.iter().filter_map(ProgramEvent::late).map(|late| late.as_millis()).collect();
    assert_eq!(late, [0, 0, 22, 12, 2, 0]);
    let mut driver = stalled();
    let (outcome, events) = driver.play(ticks(Late::Skip));
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(driver.sent().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 42, 50]);
    let expected = [("sent", 0), ("sent", 1), ("skipped", 2), ("skipped", 3), ("sent", 4), ("sent", 5)];
    assert_eq!(kinds(&events), expected.map(|(kind, slot)| (kind, Some(slot))));
    let mut driver = stalled();
    let (outcome, events) = driver.play(ticks(Late::Abort));
    assert_eq!(outcome, Outcome::TooLate { step: 1, slot: 2 });
    assert_eq!(driver.sent().len(), 2);
    assert_eq!(events.last().and_then(|event| event.scheduled), Some(at(20)));
}

#[test]
fn a_slot_that_takes_longer_than_the_period_is_late_for_the_next() {
    let steps = vec![send(2, b"?", after(0)), wait(3, Until::Pattern(pattern("!")), None)];
    let program = repeat(1, ms(10), Some(3), Late::Skip, steps);
    let mut driver = Driver::new().hears(at(2), b"!").hears(at(35), b"!").hears(at(41), b"!").hears(at(45), b"!");
    let (outcome, events) = driver.play(vec![step(1, What::Repeat(Repeat { count: Some(5), ..program }))]);
    // Slot 1 lasts until 35: slot 2 (20 to 30) is left out, slot 3 is late, and so is slot 4 by one millisecond.
    assert_eq!(driver.sent().iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 35, 41]);
    assert_eq!(kinds(&events).last(), Some(&("seen", Some(4))));
    assert_eq!(outcome, Outcome::Completed);
}

#[test]
fn a_repeat_ends_when_what_ends_it_came_and_a_slot_that_was_handed_out_is_taken_back() {
    for lead in [ms(0), ms(5)] {
        let mut driver = Driver::new().hears(at(28), b"stop");
        let rounds = Repeat {
            until: Some(pattern("stop")),
            ..repeat(1, ms(10), None, Late::Skip, vec![send(2, b"x", after(0))])
        };
        let id = driver.start(vec![step(1, What::Repeat(rounds)), send(3, b"bye", after(4))], lead);
        driver.run(at(1000));
        let report = driver.report(id);
        assert_eq!(report.ended.map(|(_, outcome)| outcome), Some(Outcome::Completed));
        let sent: Vec<_> = driver.sent().iter().map(|(at, _)| *at).collect();
        assert_eq!(sent[..3], [0, 10, 20], "with a lead of {lead:?}");
        assert_eq!((sent.len(), driver.line[3].1.as_slice()), (4, &b"bye"[..]));
        assert!(report.events.iter().any(|event| event.kind == Kind::Seen && event.step == 1));
    }
}

#[test]
fn a_repeat_whose_end_does_not_come_is_missed() {
    let rounds = Repeat {
        until: Some(pattern("stop")),
        within: Some(ms(25)),
        ..repeat(1, ms(10), None, Late::Skip, vec![send(2, b"x", after(0))])
    };
    let mut driver = Driver::new();
    let (outcome, events) = driver.play(vec![step(1, What::Repeat(rounds))]);
    assert_eq!((outcome, driver.sent().len()), (Outcome::TimedOut { step: 1 }, 3));
    assert_eq!(events.last().map(|event| event.kind.clone()), Some(Kind::TimedOut));
}

#[test]
fn stopping_takes_back_what_waits_and_answers_of_the_old_are_not_taken_for_the_new() {
    let mut driver = Driver::new();
    let first = driver.start(vec![send(1, b"never", When::At(ms(100)))], ms(500));
    driver.run(at(10));
    assert_eq!(driver.asked.len(), 1);
    let program = Program::new(vec![send(1, b"x", after(0))]);
    let busy = driver.stream.start_program(driver.now, &program, Default::default(), Arc::default());
    assert_eq!(busy, Err(ProgramError::Busy));
    driver.stream.stop_program(driver.now, first);
    let second = driver.start(vec![send(1, b"second", When::At(ms(5)))], ms(0));
    driver.run(at(1000));
    assert_eq!(driver.sent(), [(15, &b"second"[..])]);
    assert_eq!(driver.report(first).ended.map(|(_, outcome)| outcome), Some(Outcome::Stopped));
    assert_eq!(driver.report(second).ended.map(|(_, outcome)| outcome), Some(Outcome::Completed));
    assert_eq!(driver.stream.program_report(second), None);
}

#[test]
fn the_loss_of_the_port_ends_it_and_nothing_starts_on_an_ended_stream() {
    let mut driver = Driver::new();
    let id = driver.start(vec![send(1, b"x", When::At(ms(100)))], ms(0));
    driver.stream.handle(at(50), Input::Closed(CONN, Why::HungUp));
    assert_eq!(driver.report(id).ended, Some((at(50), Outcome::Lost(Why::HungUp))));
    assert_eq!(driver.stream.poll_timeout(), None);
    let refused = driver.stream.start_program(at(60), &Program::new(Vec::new()), Default::default(), Arc::default());
    assert_eq!(refused, Err(ProgramError::Stream(StreamError::Ended(Why::HungUp))));
}

#[test]
fn line_commands_are_steps_and_one_that_the_port_has_not_ends_it() {
    let settings: LineSettings = "19200 8N1".parse().expect("valid");
    let line = |number, command, when| step(number, What::Line { command, when });
    let mut driver = Driver::new();
    let steps = vec![
        line(1, LineCommand::Break(ms(20)), after(0)),
        line(2, LineCommand::Settings(settings), after(1)),
        line(3, LineCommand::Rts(true), after(1)),
        send(4, b"never", after(0)),
    ];
    let (outcome, events) = driver.play(steps);
    // What follows a break counts from its end.
    assert_eq!(driver.commands, [(at(0), LineCommand::Break(ms(20))), (at(21), LineCommand::Settings(settings))]);
    assert_eq!(outcome, Outcome::Refused { step: 3, reason: "no RTS here".to_owned() });
    assert_eq!((events.len(), driver.line.len()), (2, 0));
    // What was refused is answered: the next program waits for its own answers, all of them.
    let id = driver.start(vec![send(1, b"a", after(0)), send(2, b"b", after(1))], Duration::ZERO);
    driver.run(driver.now + ms(5));
    let report = driver.report(id);
    assert_eq!((report.ended.map(|(_, outcome)| outcome), report.events.len()), (Some(Outcome::Completed), 2));
}

#[test]
fn a_step_for_nobody_ends_the_program_and_a_wait_for_nobody_does_not() {
    let mut stream = Stream::new();
    for (steps, ended) in [
        (vec![send(1, b"x", after(0))], Outcome::Refused { step: 1, reason: "nobody is connected".to_owned() }),
        (
            vec![wait(1, Until::Pattern(pattern("x")), Some(ms(1))), send(2, b"y", after(0))],
            Outcome::TimedOut { step: 1 },
        ),
    ] {
        let program = Program::new(steps);
        let id = stream.start_program(at(0), &program, Default::default(), Arc::default()).expect("it starts");
        while let Some(due) = stream.poll_timeout() {
            stream.handle_timeout(due);
        }
        let report = stream.program_report(id).expect("a report");
        assert_eq!(report.ended.map(|(_, outcome)| outcome), Some(ended));
    }
    // One that is stopped while it waits leaves nothing behind that would be answered.
    let program = Program::new(vec![send(1, b"x", after(0))]);
    let id = stream.start_program(at(3), &program, Default::default(), Arc::default()).expect("it starts");
    stream.stop_program(at(4), id);
    // Who connects meanwhile gets it.
    let program = Program::new(vec![send(1, b"x", after(0))]);
    let id = stream.start_program(at(5), &program, Default::default(), Arc::default()).expect("it starts");
    assert_eq!(stream.poll_timeout(), Some(at(1005)));
    stream.handle(at(900), Input::Opened(CONN, &Peer::default()));
    stream.handle_timeout(at(1005));
    assert!(matches!(stream.poll_action(&mut Vec::new()), Some(Action::Timed { .. })));
    assert!(stream.program_report(id).is_some_and(|report| report.ended.is_none()), "it runs");
    assert_eq!(stream.poll_timeout(), None);
    let sent = Departure { scheduled: at(5), issued: at(1005), returned: at(1005), left: at(1005), run_delay: None };
    stream.handle(at(1005), Input::Timed(CONN, Fate::Done(sent)));
    assert_eq!(
        stream.program_report(id).and_then(|report| report.ended).map(|(_, outcome)| outcome),
        Some(Outcome::Completed)
    );
}

#[test]
fn a_step_that_counts_from_one_that_has_not_happened_is_refused() {
    let (outcome, _) = Driver::new().play(vec![send(1, b"x", When::Of("login".into(), ms(1)))]);
    assert_eq!(outcome, Outcome::Refused { step: 1, reason: "`login` has not happened".to_owned() });
}

#[test]
fn repeats_can_be_nested_and_at_counts_from_the_slot() {
    let inner = repeat(2, ms(2), Some(2), Late::CatchUp, vec![send(3, b"i", after(0))]);
    let outer =
        repeat(1, ms(10), Some(2), Late::CatchUp, vec![step(2, What::Repeat(inner)), send(4, b"o", When::At(ms(7)))]);
    let mut driver = Driver::new();
    driver.play(vec![step(1, What::Repeat(outer))]);
    let expected = [(0, b"i"), (2, b"i"), (7, b"o"), (10, b"i"), (12, b"i"), (17, b"o")];
    assert_eq!(driver.sent(), expected.map(|(at, bytes)| (at, &bytes[..])));
}
