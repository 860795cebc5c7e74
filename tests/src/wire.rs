//! A wire between two programs that can be held or cut, so that an answer is late or lost exactly when
//! a test wants it, and a restarted server is found at the same place.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// A TCP port that leads to another one. A clone is the same wire.
#[derive(Clone)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

struct Now {
    leads_to: SocketAddr,
    is_cut: bool,
    holds_answers: bool,
    /// How many answers, or parts of one, wait while they are held.
    waiting: usize,
    connections: Vec<TcpStream>,
}

impl Wire {
    /// A wire to a server.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(State {
                now: Mutex::new(Now {
                    leads_to: server,
                    is_cut: false,
                    holds_answers: false,
                    waiting: 0,
                    connections: Vec::new(),
                }),
                changed: Condvar::new(),
            }),
        };
        let state = Arc::clone(&wire.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                State::connect(&state, stream);
            }
        });
        wire
    }

    /// The URL at this end.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// From now on it leads elsewhere, and is whole.
    pub fn lead_to(&self, server: SocketAddr) {
        self.cut();
        let mut now = self.state.now.lock().unwrap();
        now.leads_to = server;
        now.is_cut = false;
    }

    /// Nothing gets through any more, and what is on its way is lost.
    pub fn cut(&self) {
        let mut now = self.state.now.lock().unwrap();
        now.is_cut = true;
        for connection in now.connections.drain(..) {
            // Ended by its own ends already, maybe.
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.state.changed.notify_all();
    }

    /// What is asked gets through, what is answered waits; the handshake of a new connection does not.
    pub fn hold_answers(&self) {
        self.state.now.lock().unwrap().holds_answers = true;
    }

    /// Waits until an answer waits.
    pub fn wait_for_held_answer(&self) {
        let mut now = self.state.now.lock().unwrap();
        while now.waiting == 0 {
            now = self.state.changed.wait(now).unwrap();
        }
    }

    /// Answers get through again, those that waited first.
    pub fn release_answers(&self) {
        self.state.now.lock().unwrap().holds_answers = false;
        self.state.changed.notify_all();
    }
}

impl State {
    fn connect(state: &Arc<Self>, near: TcpStream) {
        let mut now = state.now.lock().unwrap();
        if now.is_cut {
            return;
        }
        let Ok(far) = TcpStream::connect(now.leads_to) else {
            return;
        };
        for end in [&near, &far] {
            end.set_nodelay(true).unwrap();
            now.connections.push(end.try_clone().unwrap());
        }
        let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let state = Arc::clone(state);
        let handshake = Arc::new(Handshake::default());
        let asking = Arc::clone(&handshake);
        std::thread::spawn(move || pump(near, far, |count| asking.client_sent(count)));
        std::thread::spawn(move || {
            pump(far_again, near_again, |_| {
                if handshake.server_sends_an_answer() {
                    state.wait_while_held();
                }
            });
        });
    }

    fn wait_while_held(&self) {
        let mut now = self.now.lock().unwrap();
        now.waiting += 1;
        self.changed.notify_all();
        while now.holds_answers && !now.is_cut {
            now = self.changed.wait(now).unwrap();
        }
        now.waiting -= 1;
    }
}

/// How far a connection's TLS handshake is: the server's one flight of it is no answer yet. What it sends
/// after the client has proved itself and asked is one.
#[derive(Default)]
struct Handshake {
    server_has_spoken: AtomicBool,
    is_over: AtomicBool,
}

impl Handshake {
    fn client_sent(&self, count: usize) {
        // A lone change_cipher_spec (RFC 8446 appendix D.4) has six bytes and ends nothing.
        if count > 6 && self.server_has_spoken.load(Ordering::SeqCst) {
            self.is_over.store(true, Ordering::SeqCst);
        }
    }

    fn server_sends_an_answer(&self) -> bool {
        self.server_has_spoken.store(true, Ordering::SeqCst);
        self.is_over.load(Ordering::SeqCst)
    }
}

/// Carries bytes until an end is gone, and then ends both.
fn pump(mut from: TcpStream, mut to: TcpStream, before_each: impl Fn(usize)) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        before_each(count);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
