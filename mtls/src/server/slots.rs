//! Who may have how many connections of a listener: in all, by address, and by party; handshakes
//! under way apart from established connections, so that neither takes the other's place.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::names::PartyName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;

/// The slots of one listener.
pub(super) struct Slots {
    handshakes: Arc<Semaphore>,
    established: Arc<Semaphore>,
    handshakes_by_source: Shares<Source>,
    established_by_source: Shares<Source>,
    established_by_party: Shares<PartyName>,
}

/// The slot of a connection that is not established yet; given back when dropped.
pub(super) struct HandshakeSlot {
    source: Source,
    _of_all: OwnedSemaphorePermit,
    _of_source: Share<Source>,
}

/// The slot of an established connection; given back when dropped.
pub(super) struct EstablishedSlot {
    _of_all: OwnedSemaphorePermit,
    _of_source: Share<Source>,
    _of_party: Option<Share<PartyName>>,
}

/// The limit that a connection is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Above {
    #[error("handshakes of one address")]
    HandshakesOfAddress,
    #[error("connections of one address")]
    ConnectionsOfAddress,
    #[error("connections of one party")]
    ConnectionsOfParty,
    #[error("connections in all, and none ended in time")]
    Connections,
}

impl Above {
    /// Counts and logs the connection that was closed for it. Below info: floods are what is closed here.
    pub(super) fn note(self, address: SocketAddr, party: Option<&PartyName>) {
        note_closed(match self {
            Above::HandshakesOfAddress => "handshakes_per_address",
            Above::ConnectionsOfAddress => "connections_per_address",
            Above::ConnectionsOfParty => "connections_per_party",
            Above::Connections => "connections",
        });
        let party = party.map(tracing::field::display);
        tracing::debug!(%address, party, "closed: too many {self}");
    }
}

/// Counts a connection that a limit closed. The limits are named as programs configure them.
pub(super) fn note_closed(limit: &'static str) {
    metrics::counter!("twinseal_connections_closed_total", "limit" => limit).increment(1);
}

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            established: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes_by_source: Shares::new(limits.handshakes_per_address_max),
            established_by_source: Shares::new(limits.connections_per_address_max),
            established_by_party: Shares::new(limits.connections_per_party_max),
        }
    }

    /// Waits until one more handshake may be under way, before its connection is accepted.
    pub(super) async fn handshake_permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }

    /// A slot for a connection just accepted. An address with all the established connections that
    /// it may have is refused here already: a handshake costs more than a look.
    pub(super) fn handshake(
        &self,
        permit: OwnedSemaphorePermit,
        address: SocketAddr,
    ) -> Result<HandshakeSlot, Above> {
        let source = Source::of(address);
        if self.established_by_source.is_full(&source) {
            return Err(Above::ConnectionsOfAddress);
        }
        Ok(HandshakeSlot {
            _of_source: self
                .handshakes_by_source
                .take(source)
                .ok_or(Above::HandshakesOfAddress)?,
            _of_all: permit,
            source,
        })
    }

    /// A slot for a connection whose handshake is done. Waits for one of all the connections to
    /// end; who is above its own share is refused at once.
    pub(super) async fn established(
        &self,
        handshake: HandshakeSlot,
        party: Option<PartyName>,
    ) -> Result<EstablishedSlot, Above> {
        let of_source = self
            .established_by_source
            .take(handshake.source)
            .ok_or(Above::ConnectionsOfAddress)?;
        let of_party = party
            .map(|party| {
                self.established_by_party
                    .take(party)
                    .ok_or(Above::ConnectionsOfParty)
            })
            .transpose()?;
        let permit = Arc::clone(&self.established).acquire_owned().await;
        Ok(EstablishedSlot {
            // The semaphore is never closed.
            _of_all: permit.map_err(|_| Above::Connections)?,
            _of_source: of_source,
            _of_party: of_party,
        })
    }
}

/// What counts as one address. Whoever has an IPv6 address has its whole /64 (RFC 4291, 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The one that an address belongs to.
    pub fn of(address: SocketAddr) -> Self {
        // An IPv4 peer of an IPv6 socket is one address, not a /64 that all of IPv4 shares.
        Self(match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

/// How much each has, and may have. Who has nothing is not remembered.
struct Shares<Key> {
    max: usize,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
}

/// One of a key's; given back when dropped.
struct Share<Key: Eq + Hash> {
    key: Key,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
}

impl<Key: Eq + Hash + Clone> Shares<Key> {
    fn new(max: usize) -> Self {
        Self {
            max,
            taken: Arc::default(),
        }
    }

    fn is_full(&self, key: &Key) -> bool {
        locked(&self.taken).get(key).copied().unwrap_or(0) >= self.max
    }

    fn take(&self, key: Key) -> Option<Share<Key>> {
        let mut taken = locked(&self.taken);
        let count = taken.get(&key).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        drop(taken);
        Some(Share {
            key,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl<Key: Eq + Hash> Drop for Share<Key> {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counting leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(ip: &str) -> Source {
        Source::of(SocketAddr::new(ip.parse().unwrap(), 1))
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source_and_an_ipv4_address_is_one_too() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:f::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("::ffff:192.0.2.1"), source("::ffff:192.0.2.2"));
    }

    #[test]
    fn a_share_is_given_back_when_dropped_and_nobody_is_remembered_for_nothing() {
        let shares = Shares::new(2);
        let (first, _second) = (shares.take("a").unwrap(), shares.take("a").unwrap());
        assert!(shares.is_full(&"a") && shares.take("a").is_none());
        let other = shares.take("b").unwrap();
        drop(first);
        assert!(shares.take("a").is_some());
        drop(other);
        assert_eq!(locked(&shares.taken).len(), 1);
    }
}
