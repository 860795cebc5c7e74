//! Storage keys: of this process, wrapped by a data key in the token.

use std::time::{Duration, Instant};

use hsm::{HsmError, StorageKey, uri::Pkcs11Uri};

use crate::directory::{block_on, in_a_new_directory, open};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_storage_key_is_back_when_its_data_key_unwraps_it_and_opens_what_it_sealed() {
    in_a_new_directory(|directory| {
        let admin = directory.gateway_token();
        admin.generate_aes256("data-2").unwrap();
        let tokens = open(&directory.config()).unwrap();
        let data = tokens.data_key(&Pkcs11Uri::for_key("data")).unwrap();
        let other = tokens.data_key(&Pkcs11Uri::for_key("data-2")).unwrap();
        block_on(async {
            let (id, key, wrapped) = StorageKey::new_under(&data, soon()).await.unwrap();
            let sealed = key.seal(b"payment 1", b"evidence").unwrap();
            assert_eq!(sealed.len(), 12 + b"evidence".len() + 16);
            assert_ne!(sealed, key.seal(b"payment 1", b"evidence").unwrap());
            let again = StorageKey::unwrapped(&data, &id, &wrapped, soon())
                .await
                .unwrap();
            let opened = again.open(b"payment 1", &sealed).unwrap();
            assert_eq!(opened.as_slice(), b"evidence");
            // Of another payment, changed, or too short.
            let refused = Some(HsmError::InvalidInput);
            assert_eq!(again.open(b"payment 2", &sealed).err(), refused);
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(
                    again.open(b"payment 1", &changed).err(),
                    refused,
                    "byte {at}"
                );
            }
            assert_eq!(again.open(b"payment 1", &sealed[..20]).err(), refused);
            // By another data key, or for another id.
            let by_other = StorageKey::unwrapped(&other, &id, &wrapped, soon()).await;
            assert_eq!(by_other.err(), refused);
            let for_other = StorageKey::unwrapped(&data, &[7; 16], &wrapped, soon()).await;
            assert_eq!(for_other.err(), refused);
        });
    });
}
