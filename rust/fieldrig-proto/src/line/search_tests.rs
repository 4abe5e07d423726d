//! Tests of `search.rs`.

use super::*;
use crate::line::ansi::Stripper;
use proptest::prelude::*;
use regex::bytes::Regex;

fn patterns(texts: &[&str]) -> Patterns {
    Patterns::new(texts).expect("patterns")
}

/// Feeds `bytes` in pieces and gives what was found with how many bytes, and how many were looked at.
fn search(texts: &[&str], goal: Goal, bytes: &[u8], pieces: &[usize], strip: bool) -> (Vec<Found>, usize, u64) {
    let mut buffer = Buffer::new(usize::MAX / 2, None);
    let stripper = strip.then(Stripper::default);
    let mut search = Search::new(&patterns(texts), 0, goal, stripper);
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (fresh, more) = rest.split_at((*piece).min(rest.len()));
        buffer.append(fresh);
        rest = more;
        let progress = search.go_on(&buffer, usize::MAX).expect("all is kept");
        if progress == Progress::Done || rest.is_empty() {
            break;
        }
    }
    (search.found().flatten().cloned().collect(), bytes.len() - rest.len(), search.looked_at())
}

fn first(texts: &[&str], bytes: &[u8], pieces: &[usize]) -> Option<(usize, u64, u64)> {
    let (found, ..) = search(texts, Goal::Any, bytes, pieces, false);
    found.first().map(|found| (found.pattern, found.start, found.end))
}

/// The shortest beginning of `bytes` in which the pattern matches.
fn complete_at(pattern: &str, bytes: &[u8]) -> Option<usize> {
    let regex = Regex::new(&format!("(?R){pattern}")).expect("a pattern");
    (0..=bytes.len()).find(|end| regex.is_match(&bytes[..*end]))
}

const PATTERNS: [&str; 10] =
    ["ab+c", "^b", "(?m)^b.$", r"(?-u)a\b", r"(?-u)a\B", "a|bc|abcd", "(?s)a.*c", "[^a]c?$", r"(?-u)\xff+a", "ä.?b"];

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    let bytes = b"abcabc\n\xff\xc3\xa4".to_vec();
    proptest::collection::vec(proptest::sample::select(bytes), 0..60)
}

proptest! {
    #[test]
    fn byte_by_byte_the_search_finds_what_the_expression_finds_first(
        bytes in some_bytes(),
        pattern in proptest::sample::select(PATTERNS.to_vec()),
    ) {
        // One byte at a time the end of what has come is tried everywhere.
        let (found, there, _) = search(&[pattern], Goal::Any, &bytes, &[1], false);
        let expected = complete_at(pattern, &bytes);
        match found.first() {
            Some(found) => {
                // A boundary at the very end is known only with it, and an empty beginning before the first byte.
                prop_assert_eq!(Some(there), expected.map(|end| end.max(1)));
                let whole = Regex::new(&format!("(?R){pattern}")).expect("a pattern");
                let whole = whole.find(&bytes[..there]).expect("it matches");
                prop_assert_eq!((found.start, found.end), (whole.start() as u64, whole.end() as u64));
            }
            None => prop_assert_eq!(expected, None),
        }
    }

    #[test]
    fn of_several_patterns_the_one_that_is_complete_first_is_found(bytes in some_bytes(), cut in 1usize..9) {
        // Without boundaries at the end, which depend on where the pieces end.
        let texts = ["ab+c", "c\n", "ca", r"(?-u)\xff", "b{3}"];
        let found = first(&texts, &bytes, &[cut]);
        let ends = texts.iter().enumerate().filter_map(|(index, text)| Some((complete_at(text, &bytes)?, index)));
        prop_assert_eq!(found.map(|(pattern, ..)| pattern), ends.min().map(|(_, index)| index));
    }

    #[test]
    fn all_patterns_are_found_in_one_pass_where_each_alone_is_found(bytes in some_bytes(), cut in 1usize..9) {
        let texts = ["ab+c", "c\n", "ca", "b"];
        let (together, _, looked_at) = search(&texts, Goal::All, &bytes, &[cut], false);
        for (index, text) in texts.iter().enumerate() {
            let alone = first(&[text], &bytes, &[cut]);
            let among = together.iter().find(|found| found.pattern == index);
            prop_assert_eq!(alone.map(|(_, start, _)| start), among.map(|found| found.start), "{}", text);
        }
        prop_assert!(looked_at <= 8 * bytes.len() as u64 + 1);
    }

    #[test]
    fn control_functions_are_seen_by_no_pattern_wherever_the_pieces_are_cut(
        parts in proptest::collection::vec(
            prop_oneof![Just("\x1b[1;31m"), Just("\x1b]0;bc\x07"), Just("a"), Just("b"), Just("c"), Just("\r\n")], 0..30),
        cut in 1usize..9,
    ) {
        let bytes: Vec<u8> = parts.concat().into_bytes();
        let text: Vec<u8> = parts.iter().filter(|part| !part.starts_with('\x1b')).copied().collect::<String>().into_bytes();
        let (in_bytes, ..) = search(&["ab+c"], Goal::Any, &bytes, &[cut], true);
        let in_text = first(&["ab+c"], &text, &[1]);
        prop_assert_eq!(in_bytes.is_empty(), in_text.is_none());
        if let (Some(found), Some((_, start, end))) = (in_bytes.first(), in_text) {
            let whole = found.groups[0].as_ref().expect("the whole");
            prop_assert_eq!(&whole.bytes, &text[index(start)..index(end)]);
            // The offsets are those of the bytes: of its first and of its last letter.
            prop_assert_eq!((bytes[index(found.start)], bytes[index(found.end) - 1]), (b'a', b'c'));
            prop_assert_eq!(Stripper::default().strip(&bytes[..index(found.start)]).len() as u64, start);
        }
    }
}

#[test]
fn only_an_open_end_may_grow() {
    let open = |pattern: &str, bytes: &str| {
        let (found, ..) = search(&[pattern], Goal::Any, bytes.as_bytes(), &[usize::MAX], false);
        let found = found.first().expect("a match");
        assert_eq!(found.end, bytes.len() as u64, "it ends with the bytes");
        found.open
    };
    for (pattern, bytes) in [
        (r"v\d+\.\d+", "fw v1.4"),
        (r"\S+", "abc"),
        ("ok.*", "boot ok"),
        ("a+", "aa"),
        (r"v(\d)(\.\d)?", "v1"),
        ("ok( done)?", "ok"),
        (r"(one|on)\b", "on"),
        ("\u{e4}*", "\u{e4}"),
        ("login: $", "login: "),
        (r"ok\z", "ok"),
        ("(?m)^ok$", "ok"),
        (r"\bok\b", "ok"),
    ] {
        assert!(open(pattern, bytes), "{pattern}");
    }
    for (pattern, bytes) in
        [("ok", "boot ok"), (r"\d+\s", "12 "), (r"\d{2}", "12"), (r"\d+?", "1"), ("on|one", "on"), ("(?m)ok$|ok", "ok")]
    {
        assert!(!open(pattern, bytes), "{pattern}");
    }
}

#[test]
fn an_open_match_takes_the_rest_when_it_is_asked_for_again() {
    let mut buffer = Buffer::new(1000, None);
    let mut search = Search::new(&patterns(&[r"\bfw v(\d+)"]), 0, Goal::Any, None);
    for (bytes, end, open) in [("the fw v1", 9, true), ("23", 11, true), ("4 ok", 12, false), ("5", 12, false)] {
        buffer.append(bytes.as_bytes());
        assert_eq!(search.go_on(&buffer, usize::MAX), Ok(Progress::Done));
        let found = search.found().flatten().next().expect("it is there");
        assert_eq!((found.start, found.end, found.open), (4, end, open));
    }
}

#[test]
fn a_match_whose_longer_form_has_begun_is_open_until_that_is_whole() {
    for (parts, end, opens) in [
        (&["v1", ".", "5 "][..], 4, &[true, true, false][..]),
        (&["v1", ".", "x"], 2, &[true, true, false]),
        (&["v1.5"], 4, &[false]),
    ] {
        let mut buffer = Buffer::new(1000, None);
        let mut search = Search::new(&patterns(&[r"v1(\.\d)?"]), 0, Goal::Any, None);
        for (part, open) in parts.iter().zip(opens) {
            buffer.append(part.as_bytes());
            assert_eq!(search.go_on(&buffer, usize::MAX), Ok(Progress::Done));
            assert_eq!(search.found().flatten().next().map(|found| found.open), Some(*open), "{parts:?}: {part}");
        }
        assert_eq!(search.found().flatten().next().map(|found| found.end), Some(end));
    }
}

#[test]
fn an_open_match_that_what_comes_behind_it_refutes_was_none() {
    let mut buffer = Buffer::new(1000, None);
    let mut search = Search::new(&patterns(&[r"v\d+$"]), 0, Goal::Any, None);
    for (bytes, progress) in [("v1", Progress::Done), ("2\r\n", Progress::NeedsMore), ("v34", Progress::Done)] {
        buffer.append(bytes.as_bytes());
        assert_eq!(search.go_on(&buffer, usize::MAX), Ok(progress), "{bytes}");
    }
    let found = search.found().flatten().next().expect("it is there");
    assert_eq!((found.start, found.end), (5, 8));
}

#[test]
fn a_look_at_what_comes_next_is_settled_by_what_comes() {
    for (pattern, refuted, kept) in [
        ("(?m)ok$", &b"ay"[..], &b"\r\n"[..]),
        (r"ok\b", b"ay", b" "),
        (r"ok\B", b" ", b"a"),
        ("(?m)^ok$", b"ay", b"\n"),
    ] {
        for (next, found) in [(refuted, false), (kept, true)] {
            let (mut buffer, mut search) =
                (Buffer::new(1000, None), Search::new(&patterns(&[pattern]), 0, Goal::Any, None));
            for bytes in [b"ok", next] {
                buffer.append(bytes);
                assert!(search.go_on(&buffer, usize::MAX).is_ok());
            }
            let hit = search.found().flatten().next().map(|found| (found.start, found.end, found.open));
            assert_eq!(hit, found.then_some((0, 2, false)), "{pattern} {}", next.escape_ascii());
        }
    }
}

#[test]
fn where_a_match_was_none_the_next_one_is_that_which_is_complete_first() {
    let mut buffer = Buffer::new(1000, None);
    let mut search = Search::new(&patterns(&["(?m)ok$", "b"]), 0, Goal::Any, None);
    for bytes in [&b"ok"[..], b"ay b ok\n"] {
        buffer.append(bytes);
        assert_eq!(search.go_on(&buffer, usize::MAX), Ok(Progress::Done));
    }
    let found = search.found().flatten().next().expect("it is there");
    assert_eq!((found.pattern, found.start), (1, 5));
}

#[test]
fn each_byte_is_looked_at_once_however_many_patterns_and_pieces() {
    let line = b"[    1.234567] some driver: probed device 17, login not yet possible, n\xc3\xa4chste Zeile\r\n";
    let bytes = line.repeat(3000);
    let texts =
        [r"login (?P<n>\d+): ", r"\bpanic\b", r"(?i)error.*code \d+\s", r"(?m)^reboot$", "never", r"\w+@\w+:~[#$] $"];
    for (goal, strip) in [(Goal::Any, false), (Goal::All, false), (Goal::Any, true)] {
        for cut in [1, 7, 64, 4096, usize::MAX] {
            let (found, there, looked_at) = search(&texts, goal, &bytes, &[cut], strip);
            assert_eq!((found.len(), there), (0, bytes.len()));
            assert_eq!(looked_at, bytes.len() as u64, "in pieces of {cut}");
        }
    }
}

#[test]
fn many_expectations_in_a_row_look_at_each_byte_twice_at_most() {
    let mut buffer = Buffer::new(usize::MAX / 2, None);
    buffer.append(&b"some text before it, ok 17\r\n".repeat(2000));
    let mut search = Search::new(&patterns(&[r"ok (\d+)\s"]), 0, Goal::Any, None);
    for _ in 0..2000 {
        assert_eq!(search.go_on(&buffer, usize::MAX), Ok(Progress::Done));
        let end = search.found().flatten().next().expect("found").end;
        search = search.again(end, None);
    }
    assert!(search.looked_at() <= 2 * buffer.end() + 2000, "{} bytes of {}", search.looked_at(), buffer.end());
}

#[test]
fn a_match_longer_than_the_look_back_does_not_hide_a_short_one() {
    let mut bytes = b"<".to_vec();
    bytes.extend(vec![b'.'; 70_000]);
    bytes.extend(b">..<>.");
    let (_, start, end) = first(&["<[^>]*>"], &bytes, &[1000]).expect("the short one");
    assert_eq!(end - start, 2);
}

#[test]
fn matches_that_are_too_long_cost_each_byte_a_few_times_at_most() {
    let mut bytes = b"<".to_vec();
    bytes.extend(b">".repeat(10));
    bytes.extend(vec![b'.'; 66_000]);
    bytes.extend(b">".repeat(100_000));
    let (found, _, looked_at) = search(&["<.*>x|<[.>]{66000,}>"], Goal::Any, &bytes, &[4096], false);
    assert_eq!(found.len(), 0);
    assert!(looked_at < 6 * bytes.len() as u64, "{looked_at}");
}

#[test]
fn a_big_backlog_is_searched_in_parts() {
    let mut buffer = Buffer::new(usize::MAX / 2, None);
    buffer.append(&vec![b'.'; 1_000_000]);
    buffer.append(b"end");
    let mut search = Search::new(&patterns(&["end"]), 0, Goal::Any, None);
    let mut parts = 0;
    while search.go_on(&buffer, 100_000) == Ok(Progress::NotYet) {
        parts += 1;
    }
    assert_eq!((parts, search.found().flatten().count()), (8, 1));
}
