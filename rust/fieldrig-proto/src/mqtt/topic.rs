//! Topic names and topic filters (4.7).

use super::rule::{self, Rule};

/// What is wrong with a topic or a filter: the rule, the byte offset in the text, and what was expected.
pub type TopicFault = (&'static Rule, usize, &'static str);

/// Checks a topic name: not empty [MQTT-4.7.3-1], no wildcard [MQTT-3.3.2-2], no U+0000 [MQTT-4.7.3-2].
///
/// # Errors
/// The first rule it breaks.
pub fn check_topic(topic: &str) -> Result<(), TopicFault> {
    if topic.is_empty() {
        return Err((&rule::TOPIC_EMPTY, 0, "at least one character"));
    }
    match topic.bytes().position(|byte| matches!(byte, b'+' | b'#' | 0)) {
        Some(at) if topic.as_bytes()[at] == 0 => Err((&rule::NUL, at, "a string without U+0000")),
        Some(at) => Err((&rule::TOPIC_WILDCARD, at, "a topic without wildcards")),
        None => Ok(()),
    }
}

/// Checks a topic filter: wildcards fill whole levels, `#` stands last [MQTT-4.7.1-1] [MQTT-4.7.1-2].
///
/// # Errors
/// The first rule it breaks.
pub fn check_filter(filter: &str) -> Result<(), TopicFault> {
    if filter.is_empty() {
        return Err((&rule::FILTER_EMPTY, 0, "at least one character"));
    }
    let mut at = 0;
    for level in filter.split('/') {
        let last = at + level.len() == filter.len();
        if level.contains('\0') {
            return Err((&rule::NUL, at, "a string without U+0000"));
        }
        if level.contains('#') && (level != "#" || !last) {
            return Err((&rule::FILTER_HASH, at, "`#` alone, as the last level"));
        }
        if level.contains('+') && level != "+" {
            return Err((&rule::FILTER_PLUS, at, "`+` alone in its level"));
        }
        at += level.len() + 1;
    }
    Ok(())
}

/// Whether the filter has a wildcard.
#[must_use]
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// Whether a topic matches a filter, byte for byte [MQTT-4.7.3-4]; a wildcard at the start does not match topics that
/// start with `$` [MQTT-4.7.2-1].
///
/// ```
/// use fieldrig_proto::mqtt::topic::matches;
/// assert!(matches("site/+/alarm", "site/a/alarm"));
/// assert!(matches("site/#", "site"));
/// assert!(!matches("#", "$SYS/uptime"));
/// ```
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let (mut filter, mut topic) = (Some(filter), Some(topic));
    loop {
        match (filter, topic) {
            (Some(rest), found) => {
                let (level, filter_rest) = split(rest);
                if level == "#" {
                    return true;
                }
                let Some(found) = found else { return false };
                let (name, topic_rest) = split(found);
                if level != "+" && level != name {
                    return false;
                }
                (filter, topic) = (filter_rest, topic_rest);
            }
            (None, rest) => return rest.is_none(),
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_level_by_level() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("a/b", "a/b/", false),
            ("ACCOUNTS", "Accounts", false),
            ("#", "a", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn wrong_filters_name_the_rule() {
        for (filter, statement) in [
            ("", "MQTT-4.7.3-1"),
            ("a#", "MQTT-4.7.1-2"),
            ("a/#/b", "MQTT-4.7.1-2"),
            ("##", "MQTT-4.7.1-2"),
            ("a+", "MQTT-4.7.1-3"),
            ("a/b+/c", "MQTT-4.7.1-3"),
        ] {
            assert_eq!(check_filter(filter).map_err(|(rule, ..)| rule.v311), Err(statement), "{filter}");
        }
        for filter in ["#", "+", "+/+", "a/+/b", "/", "a/#", "+/#"] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
    }

    #[test]
    fn wrong_topics_name_the_rule() {
        assert_eq!(check_topic("a/+"), Err((&rule::TOPIC_WILDCARD, 2, "a topic without wildcards")));
        assert_eq!(check_topic("").map_err(|(rule, ..)| rule), Err(&rule::TOPIC_EMPTY));
        assert_eq!(check_topic("$SYS/x"), Ok(()));
    }
}
