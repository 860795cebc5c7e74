//! A pair after each step that a crash can come after.

use std::os::unix::fs::PermissionsExt as _;

use protocol::names::Role;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

struct Scene {
    directory: TempDir,
    pair: Pair,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let pair = Pair {
            certificate: directory.path().join("signing.pem"),
            key: directory.path().join("signing.key"),
        };
        Self { directory, pair }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// Has the prepared key certified.
    fn renew(&self, next: NextKey) {
        let locked = self.pair.lock().unwrap();
        locked.prepare(next, &name()).unwrap();
        locked
            .complete(&certificate_of(&self.path("signing.d/next")))
            .unwrap();
    }

    /// The files as a program reads them; they belong together.
    fn read(&self) -> (Vec<u8>, Vec<u8>) {
        let key = pem::private_key(&self.pair.key).unwrap();
        let chain = pem::certificates(&self.pair.certificate).unwrap();
        mtls::identity::Identity::from_files(&self.pair.certificate, &self.pair.key).unwrap();
        (key.secret_pkcs8_der().to_vec(), chain[0].to_vec())
    }
}

fn name() -> PartyName {
    PartyName::new(Role::Client, "payer").unwrap()
}

fn certificate_of(directory: &Path) -> CertificateDer<'static> {
    let key = key_in(directory).unwrap();
    let key = KeyPair::try_from(&**key).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

#[test]
fn a_first_pair_is_there_whole_and_the_key_for_its_owner_alone() {
    let scene = Scene::new();
    assert!(!scene.pair.is_there());
    scene.renew(NextKey::New);
    scene.read();
    let mode = fs::metadata(&scene.pair.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_next_pair_has_a_new_key_or_the_same_and_takes_the_place_of_the_last_one() {
    let scene = Scene::new();
    scene.renew(NextKey::New);
    let (first_key, first_certificate) = scene.read();
    scene.renew(NextKey::Same);
    let (same_key, second_certificate) = scene.read();
    assert_eq!(same_key, first_key);
    assert_ne!(second_certificate, first_certificate);
    scene.renew(NextKey::New);
    assert_ne!(scene.read().0, first_key);
    // The pair before is kept, older ones are not.
    assert!(!scene.path("signing.d/1").exists() && scene.path("signing.d/2").exists());
}

#[test]
fn a_request_without_an_answer_is_the_same_the_next_time_unless_another_key_is_wanted() {
    let scene = Scene::new();
    let prepare = |next| {
        let locked = scene.pair.lock().unwrap();
        locked.prepare(next, &name()).unwrap()
    };
    let first = prepare(NextKey::New);
    assert_eq!(prepare(NextKey::New).request, first.request);
    scene.renew(NextKey::New);
    let renewal = prepare(NextKey::New);
    assert_ne!(renewal.request, first.request);
    assert_eq!(prepare(NextKey::New).request, renewal.request);
    let same = prepare(NextKey::Same);
    assert_eq!(same.public_key, first.public_key);
    assert_eq!(prepare(NextKey::Same).request, same.request);
}

#[test]
fn plain_files_are_taken_over_and_read_the_same_at_every_step() {
    let scene = Scene::new();
    scene.renew(NextKey::New);
    let read = scene.read();
    let files = [&scene.pair.key, &scene.pair.certificate];
    let contents = files.map(|file| fs::read(file).unwrap());
    fs::remove_dir_all(scene.path("signing.d")).unwrap();
    let plain = |at: usize| {
        fs::remove_file(files[at]).unwrap();
        write(files[at], &contents[at], 0o600).unwrap();
    };
    plain(0);
    plain(1);
    drop(scene.pair.lock().unwrap());
    assert_eq!(scene.read(), read);
    // A crash after the first of the two links.
    for at in [0, 1] {
        plain(at);
        drop(scene.pair.lock().unwrap());
        assert_eq!(scene.read(), read);
        assert!(!scene.path("signing.d/2").exists());
    }
}

#[test]
fn a_pair_that_a_person_put_there_is_the_next_one_and_half_a_pair_is_refused() {
    let scene = Scene::new();
    scene.renew(NextKey::New);
    let others = Scene::new();
    others.renew(NextKey::New);
    let read = others.read();
    for (ours, other) in [
        (&scene.pair.key, &others.pair.key),
        (&scene.pair.certificate, &others.pair.certificate),
    ] {
        let content = fs::read(other).unwrap();
        fs::remove_file(ours).unwrap();
        write(ours, &content, 0o600).unwrap();
        if ours == &scene.pair.key {
            let refused = scene.pair.lock().map(drop);
            assert!(matches!(refused, Err(PairError::Apart { .. })));
        }
    }
    drop(scene.pair.lock().unwrap());
    assert_eq!(scene.read(), read);
    scene.renew(NextKey::Same);
    assert_eq!(scene.read().0, read.0);
}

#[test]
fn what_a_crash_interrupted_is_completed() {
    let scene = Scene::new();
    scene.renew(NextKey::New);
    let first = scene.read();
    // Before the pair has its number, the one before is in use.
    {
        let locked = scene.pair.lock().unwrap();
        locked.prepare(NextKey::New, &name()).unwrap();
    }
    let next = scene.path("signing.d/next");
    write(&next.join(CERTIFICATE), b"-----BEGIN CERT", 0o644).unwrap();
    drop(scene.pair.lock().unwrap());
    assert_eq!(scene.read(), first);
    scene.renew(NextKey::New);
    let second = scene.read();
    assert_ne!(second, first);
    // After it, and before `current` leads there, it comes into use.
    {
        let locked = scene.pair.lock().unwrap();
        locked.prepare(NextKey::New, &name()).unwrap();
    }
    let certificate = certificate_of(&next);
    write(
        &next.join(CERTIFICATE),
        certificate_text(&certificate).as_bytes(),
        0o644,
    )
    .unwrap();
    fs::rename(&next, scene.path("signing.d/3")).unwrap();
    assert_eq!(scene.read(), second);
    drop(scene.pair.lock().unwrap());
    assert_eq!(scene.read().1, certificate.to_vec());
    // A first pair whose links are not there yet gets them.
    fs::remove_file(&scene.pair.certificate).unwrap();
    drop(scene.pair.lock().unwrap());
    assert_eq!(scene.read().1, certificate.to_vec());
}

#[test]
fn two_processes_do_not_renew_at_once() {
    let scene = Scene::new();
    let _locked = scene.pair.lock().unwrap();
    let refused = scene.pair.lock().map(drop);
    assert!(matches!(refused, Err(PairError::Busy { .. })));
}
