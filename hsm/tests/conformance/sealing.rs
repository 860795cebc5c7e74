//! Checks of opening what is sealed to a key, in the way that the module can.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    digest,
};
use hsm::{
    AgreementKey, HsmError, Opening, OpeningWay, P256Point, Sealed, policy::KeyUse, uri::Pkcs11Uri,
    waiver::Waivers,
};

use crate::{
    bench::{Bench, block_on},
    modules::Module,
};

const TEXT: &[u8] = b"a text of some length, so that it is more than one block of the cipher";
const INFO: &[u8] = b"what the key is derived with";
const AAD: &[u8] = b"what stands beside it";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A key in a token, and what its module is expected to do with it.
struct Scene {
    key: AgreementKey,
    public: [u8; 65],
    way: OpeningWay,
}

impl Scene {
    fn new(bench: &Bench) -> Self {
        let admin = bench.token_with_keys();
        let uri = Pkcs11Uri::for_key("encryption");
        let public = admin.find("encryption").unwrap().unwrap().public.unwrap();
        let way = match bench.module {
            Module::Kryoptic => OpeningWay::InToken,
            Module::SoftHsm | Module::Remote | Module::Softokn => OpeningWay::SharedSecret,
        };
        let report = admin.report(&uri, KeyUse::Derive, &Waivers::default());
        assert_eq!(report.unwrap().opening, Some(way));
        let key = bench.open().agreement_key(&uri, public).unwrap();
        Self { key, public, way }
    }

    /// Seals the text; the secret that both sides agree on comes with it.
    fn seal(&self) -> (Sealed, [u8; 32]) {
        let private = PrivateKey::generate(&ECDH_P256).unwrap();
        let ephemeral = private.compute_public_key().unwrap();
        let peer = UnparsedPublicKey::new(&ECDH_P256, &self.public);
        let secret: [u8; 32] =
            agreement::agree(&private, peer, (), |secret| Ok(secret.try_into().unwrap())).unwrap();
        let key = digest::digest(
            &digest::SHA256,
            &[&[0, 0, 0, 1], &secret[..], INFO].concat(),
        );
        let nonce = [7; 12];
        let mut ciphertext_and_tag = TEXT.to_vec();
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap())
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(AAD),
                &mut ciphertext_and_tag,
            )
            .unwrap();
        let sealed = Sealed {
            ephemeral: P256Point::from_uncompressed(ephemeral.as_ref().try_into().unwrap())
                .unwrap(),
            key_derivation_info: INFO.to_vec(),
            nonce,
            additional_data: AAD.to_vec(),
            ciphertext_and_tag,
        };
        (sealed, secret)
    }

    fn opens(&self) {
        let (sealed, secret) = self.seal();
        match (self.way, block_on(self.key.open(sealed, soon()))) {
            (OpeningWay::InToken, Ok(Opening::Plaintext(text))) => assert_eq!(*text, TEXT),
            (OpeningWay::SharedSecret, Ok(Opening::Secret(found))) => {
                assert!(*found.expose() == secret);
            }
            (_, outcome) => panic!("another way was gone: {:?}", outcome.err()),
        }
    }
}

pub(crate) fn what_is_sealed_opens_in_the_way_that_the_module_can(bench: &Bench) {
    let scene = Scene::new(bench);
    for _ in 0..8 {
        scene.opens();
    }
    block_on(scene.key.canary(soon())).unwrap();
}

pub(crate) fn rubbish_that_is_sealed_is_not_the_token_s_fault(bench: &Bench) {
    let scene = Scene::new(bench);
    for spoil in [
        |sealed: &mut Sealed| sealed.ciphertext_and_tag[0] ^= 1,
        |sealed: &mut Sealed| sealed.additional_data.push(0),
        |sealed: &mut Sealed| sealed.key_derivation_info.push(0),
        |sealed: &mut Sealed| sealed.nonce[0] ^= 1,
    ] {
        let (mut sealed, _) = scene.seal();
        spoil(&mut sealed);
        match (scene.way, block_on(scene.key.open(sealed, soon()))) {
            (OpeningWay::InToken, Err(error)) => assert_eq!(error, HsmError::InvalidInput),
            // Whoever derives the key finds out.
            (OpeningWay::SharedSecret, Ok(Opening::Secret(_))) => {}
            (_, outcome) => panic!("another way was gone: {:?}", outcome.err()),
        }
        scene.opens();
    }
}
