//! Who wants which topic: filters without wildcards by look-up, the others one by one.

use crate::mqtt::packet::{QoS, Subscription};
use crate::mqtt::topic::{has_wildcard, matches};
use std::collections::HashMap;
use std::sync::Arc;

/// A session, by its place in the broker's table.
pub(super) type Key = usize;

/// One subscription that matched.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) session: Key,
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// Subscription identifier (5.0).
    pub(super) id: Option<u32>,
}

impl Entry {
    pub(super) fn new(session: Key, subscription: &Subscription, qos: QoS, id: Option<u32>) -> Entry {
        let Subscription { no_local, retain_as_published, .. } = subscription;
        Entry { session, qos, no_local: *no_local, retain_as_published: *retain_as_published, id }
    }
}

#[derive(Debug, Default)]
pub(super) struct Router {
    exact: HashMap<Arc<str>, Vec<Entry>>,
    wild: Vec<(Arc<str>, Entry)>,
}

impl Router {
    /// Adds or replaces the subscription of a session to exactly this filter [MQTT-3.8.4-3]; says whether it is new.
    pub(super) fn subscribe(&mut self, filter: &Arc<str>, entry: Entry) -> bool {
        if has_wildcard(filter) {
            let same = |(known, old): &&mut (Arc<str>, Entry)| known == filter && old.session == entry.session;
            match self.wild.iter_mut().find(same) {
                Some((_, old)) => *old = entry,
                None => {
                    self.wild.push((filter.clone(), entry));
                    return true;
                }
            }
            return false;
        }
        let entries = self.exact.entry(filter.clone()).or_default();
        match entries.iter_mut().find(|old| old.session == entry.session) {
            Some(old) => *old = entry,
            None => {
                entries.push(entry);
                return true;
            }
        }
        false
    }

    /// Removes a subscription, compared byte for byte [MQTT-3.10.4-1]; says whether there was one.
    pub(super) fn unsubscribe(&mut self, filter: &str, session: Key) -> bool {
        if has_wildcard(filter) {
            let before = self.wild.len();
            self.wild.retain(|(known, entry)| !(**known == *filter && entry.session == session));
            return self.wild.len() < before;
        }
        let Some(entries) = self.exact.get_mut(filter) else { return false };
        let before = entries.len();
        entries.retain(|entry| entry.session != session);
        let found = entries.len() < before;
        if entries.is_empty() {
            self.exact.remove(filter);
        }
        found
    }

    /// Appends every subscription that matches, sorted so that those of one session stand together.
    pub(super) fn matching(&self, topic: &str, found: &mut Vec<Entry>) {
        found.extend(self.exact.get(topic).into_iter().flatten());
        found.extend(self.wild.iter().filter(|(filter, _)| matches(filter, topic)).map(|(_, entry)| entry));
        // Stable: the subscriptions of a session stay in their order.
        found.sort_by_key(|entry| entry.session);
    }
}
