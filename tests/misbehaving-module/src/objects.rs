//! Object handles of our own, so that a handle that somebody kept from an earlier life of the module names another
//! object now.
//!
//! A life is from one C_Initialize to the next. In the first one, objects are numbered from 1 in the order in which
//! they are found or made. Before each later life, the objects of the token pass their numbers on: those of a kind
//! (class, key type, what the key may do) in a ring among themselves, so that a kept handle of a signing key signs, with
//! another key. Those without another of their kind form one more ring, and if that is of one object only, it joins
//! another. So with two objects or more every kept handle is of another object; after as many lives as a ring has
//! members, it is of the same one again.
//!
//! A number is good in a life before its object was found in it: who uses it first has it looked up. Objects of a
//! session get the next numbers, and their numbers begin again in each life. Objects are told apart by token (a
//! slot's number may change between lives), class, label and CKA_ID. Handles within mechanism parameters are not translated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TRUE, CKA_CLASS,
    CKA_DECRYPT, CKA_DERIVE, CKA_ENCRYPT, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_SIGN, CKA_TOKEN,
    CKA_UNWRAP, CKA_VERIFY, CKA_WRAP,
};

use crate::wrapped::{Serial, Wrapped};

/// What tells the objects of a token apart.
const IDENTITY: [CK_ATTRIBUTE_TYPE; 3] = [CKA_CLASS, CKA_LABEL, CKA_ID];

/// What objects have in common that can stand in for one another.
const KIND: [CK_ATTRIBUTE_TYPE; 9] = [
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_DERIVE,
    CKA_WRAP,
    CKA_UNWRAP,
];

#[derive(Default)]
pub(crate) struct Objects {
    is_numbering: AtomicBool,
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    /// The token's objects that were ever found or made, in that order.
    known: Vec<Known>,
    /// Of this life.
    real: HashMap<CK_OBJECT_HANDLE, CK_OBJECT_HANDLE>,
    number: HashMap<CK_OBJECT_HANDLE, CK_OBJECT_HANDLE>,
    last: CK_OBJECT_HANDLE,
}

struct Known {
    identity: Identity,
    kind: Kind,
    number: CK_OBJECT_HANDLE,
}

#[derive(Clone, PartialEq, Eq)]
struct Identity {
    token: Serial,
    attributes: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
}

type Kind = Vec<Option<Vec<u8>>>;

impl Objects {
    /// A life of the module begins.
    pub(crate) fn begin_life(&self, is_numbering: bool) {
        self.is_numbering.store(is_numbering, Ordering::Release);
        if !is_numbering {
            return;
        }
        let mut numbers = self.lock();
        numbers.real.clear();
        numbers.number.clear();
        let kinds: Vec<&Kind> = numbers.known.iter().map(|known| &known.kind).collect();
        let rings = rings(&kinds);
        for ring in rings {
            let passed_on: Vec<_> = ring
                .iter()
                .map(|index| numbers.known[*index].number)
                .collect();
            for (place, index) in ring.iter().enumerate() {
                numbers.known[*index].number = passed_on[(place + 1) % ring.len()];
            }
        }
        numbers.last = numbers
            .known
            .iter()
            .map(|known| known.number)
            .max()
            .unwrap_or(0);
    }

    /// The handle to be given to the caller for an object of the wrapped module.
    pub(crate) fn give_out(
        &self,
        wrapped: &Wrapped,
        slot: Option<CK_SLOT_ID>,
        session: CK_SESSION_HANDLE,
        real: CK_OBJECT_HANDLE,
    ) -> CK_OBJECT_HANDLE {
        if !self.is_numbering.load(Ordering::Acquire) {
            return real;
        }
        if let Some(number) = self.lock().number.get(&real) {
            return *number;
        }
        // Not under the lock: these are calls of the wrapped module.
        let attribute = |kind| wrapped.attribute(session, real, kind);
        let is_tokens = attribute(CKA_TOKEN) == Some(vec![CK_TRUE]);
        let token = slot
            .filter(|_| is_tokens)
            .and_then(|slot| wrapped.token_in(slot));
        let described = token.map(|token| {
            let attributes = IDENTITY
                .iter()
                .filter_map(|kind| Some((*kind, attribute(*kind)?)))
                .collect();
            let identity = Identity { token, attributes };
            let kind: Kind = KIND.iter().map(|kind| attribute(*kind)).collect();
            (identity, kind)
        });
        self.lock().add(real, described)
    }

    /// The object of the wrapped module that a caller's handle names in this life.
    pub(crate) fn real(
        &self,
        wrapped: &Wrapped,
        number: CK_OBJECT_HANDLE,
    ) -> Option<CK_OBJECT_HANDLE> {
        if !self.is_numbering.load(Ordering::Acquire) {
            return Some(number);
        }
        let identity = {
            let numbers = self.lock();
            if let Some(real) = numbers.real.get(&number) {
                return Some(*real);
            }
            let mut known = numbers.known.iter();
            known.find(|known| known.number == number)?.identity.clone()
        };
        let real = wrapped.find(&identity.token, &identity.attributes)?;
        let mut numbers = self.lock();
        numbers.real.insert(number, real);
        numbers.number.insert(real, number);
        Some(real)
    }

    /// An object is no more.
    pub(crate) fn destroyed(&self, number: CK_OBJECT_HANDLE) {
        let mut numbers = self.lock();
        numbers.known.retain(|known| known.number != number);
        if let Some(real) = numbers.real.remove(&number) {
            numbers.number.remove(&real);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn add(
        &mut self,
        real: CK_OBJECT_HANDLE,
        described: Option<(Identity, Kind)>,
    ) -> CK_OBJECT_HANDLE {
        // Another thread may have found it meanwhile.
        if let Some(number) = self.number.get(&real) {
            return *number;
        }
        let before = described.as_ref().and_then(|(identity, _)| {
            let mut known = self.known.iter();
            Some(known.find(|known| known.identity == *identity)?.number)
        });
        let number = before.unwrap_or_else(|| {
            self.last += 1;
            if let Some((identity, kind)) = described {
                self.known.push(Known {
                    identity,
                    kind,
                    number: self.last,
                });
            }
            self.last
        });
        self.real.insert(number, real);
        self.number.insert(real, number);
        number
    }
}

/// The rings in which the objects of these kinds pass their numbers on.
fn rings<K: Ord>(kinds: &[&K]) -> Vec<Vec<usize>> {
    let mut by_kind: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
    for (index, kind) in kinds.iter().enumerate() {
        by_kind.entry(kind).or_default().push(index);
    }
    let (mut rings, alone): (Vec<_>, Vec<_>) =
        by_kind.into_values().partition(|ring| ring.len() > 1);
    let alone = alone.concat();
    match rings.first_mut() {
        Some(ring) if alone.len() == 1 => ring.extend(alone),
        _ => rings.push(alone),
    }
    rings
}

#[cfg(test)]
mod tests {
    //! Who passes a number on to whom.

    use super::rings;

    #[test]
    fn numbers_are_passed_on_among_those_of_a_kind() {
        assert_eq!(
            rings(&[&'a', &'b', &'a', &'b', &'a']),
            [vec![0, 2, 4], vec![1, 3], vec![]]
        );
    }

    #[test]
    fn those_without_another_of_their_kind_are_a_ring_together() {
        assert_eq!(rings(&[&'a', &'b', &'a', &'c']), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn one_alone_joins_another_ring() {
        assert_eq!(rings(&[&'a', &'b', &'a']), [vec![0, 2, 1]]);
        assert_eq!(rings(&[&'a']), [vec![0]]);
    }
}
