//! Sessions that can be resumed, and which of them must not be any more.
//!
//! A session whose connection ended with a fatal alert must not be resumed (RFC 5246 7.2.2), by neither side. rustls does
//! not tell a store on which connection a session is used. So each connection of who listens has a view of the store that
//! remembers; who connects forgets all it has for that server.

use rustls::client::ClientSessionStore;
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use std::sync::{Arc, Mutex, PoisonError};

/// The sessions that a connection has to forget when it fails.
pub(super) enum Own {
    /// Somebody connected to us: those of this connection.
    Served(Arc<Sessions>),
    /// We connected: those with this server.
    With(ServerName<'static>, Arc<dyn ClientSessionStore>),
}

impl Own {
    /// Forgets them.
    pub(super) fn forget(&self) {
        match self {
            Own::Served(sessions) => sessions.forget(),
            Own::With(server, store) => {
                store.remove_tls12_session(server);
                while store.take_tls13_ticket(server).is_some() {}
            }
        }
    }
}

/// The store as one connection sees it.
#[derive(Debug)]
pub(super) struct Sessions {
    store: Arc<ServerSessionMemoryCache>,
    mine: Mutex<Vec<Vec<u8>>>,
}

impl Sessions {
    pub(super) fn new(store: &Arc<ServerSessionMemoryCache>) -> Arc<Sessions> {
        Arc::new(Sessions { store: Arc::clone(store), mine: Mutex::default() })
    }

    /// Forgets every session of this connection.
    pub(super) fn forget(&self) {
        for key in std::mem::take(&mut *self.mine.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.store.take(&key);
        }
    }

    fn note(&self, key: &[u8]) {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner).push(key.to_vec());
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.note(&key);
        self.store.put(key, value)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.store.get(key).inspect(|_| self.note(key))
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.store.take(key)
    }
    fn can_cache(&self) -> bool {
        self.store.can_cache()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_failed_takes_its_sessions_with_it_and_no_others() {
        let store = ServerSessionMemoryCache::new(8);
        let (one, other) = (Sessions::new(&store), Sessions::new(&store));
        one.put(vec![1], vec![10]);
        other.put(vec![2], vec![20]);
        let resumed = Sessions::new(&store);
        assert_eq!(resumed.get(&[1]), Some(vec![10]));
        resumed.forget();
        assert_eq!(store.get(&[1]), None);
        assert_eq!(store.get(&[2]), Some(vec![20]));
    }
}
