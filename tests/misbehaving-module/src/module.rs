//! The state of one copy of the library, and the way that every call goes through it.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_VOID_PTR, CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_OBJECT_HANDLE_INVALID, CKR_OK, CKR_TOKEN_NOT_PRESENT,
};

use crate::{
    beside::{self, give_up},
    control::{Control, Event, EventKind},
    control_file::{ControlFile, Version},
    counts::Counts,
    delay,
    functions::{Function, Reach},
    objects::Objects,
    places::Places,
    sessions::Sessions,
    wrapped::{Wrapped, invoke},
};

static MODULE: OnceLock<Module> = OnceLock::new();

pub(crate) struct Module {
    control: ControlFile,
    pub(crate) wrapped: Wrapped,
    pub(crate) sessions: Sessions,
    pub(crate) objects: Objects,
    pub(crate) counts: Counts,
    places: Places,
    /// Shared by the calls that are in the wrapped module; taken alone by what closes sessions behind a caller's back
    /// and what begins or ends a life. SoftHSM frees a session even if another thread is using it.
    gate: RwLock<()>,
    /// The events that were.
    happened: Mutex<HashSet<Event>>,
    is_initialized: AtomicBool,
    /// Since `needs-initialize`, until the module is finalised or initialised. Changed alone at the gate.
    has_lost_its_state: AtomicBool,
    /// Then C_Finalize says so too.
    is_lost_to_finalize: AtomicBool,
    /// Since `silent-removal`, until the module is initialised again.
    is_silent: AtomicBool,
    /// Calls that are not over.
    inside: AtomicUsize,
    /// Of these, those that hang.
    hanging: AtomicUsize,
    /// How often C_Finalize was called while other calls were not over, which the standard leaves undefined.
    overlapped: AtomicUsize,
    report: PathBuf,
}

/// What is called.
pub(crate) struct Asked {
    function: Function,
    session: Option<CK_SESSION_HANDLE>,
    is_length_query: bool,
}

impl Asked {
    pub(crate) fn of(function: Function) -> Self {
        Self {
            function,
            session: None,
            is_length_query: false,
        }
    }

    pub(crate) fn in_session(function: Function, session: CK_SESSION_HANDLE) -> Self {
        Self {
            session: Some(session),
            ..Self::of(function)
        }
    }

    /// Asks for nothing but the length of an output when it brings no place for it.
    pub(crate) fn with_place_for(mut self, output: *const u8) -> Self {
        self.is_length_query = output.is_null();
        self
    }
}

/// Counts something for as long as it lasts.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The state of this copy, which is made when it is first asked for.
pub(crate) fn module() -> &'static Module {
    MODULE.get_or_init(|| {
        let library = beside::library();
        beside::stay_loaded(&library);
        let control = ControlFile::open(beside::with_ending(&library, ".control"));
        let first = control.known();
        let module = Module {
            wrapped: Wrapped::load(&first.control.module),
            control,
            sessions: Sessions::default(),
            objects: Objects::default(),
            counts: Counts::new(),
            places: Places::default(),
            gate: RwLock::new(()),
            happened: Mutex::default(),
            is_initialized: AtomicBool::new(false),
            has_lost_its_state: AtomicBool::new(false),
            is_lost_to_finalize: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            hanging: AtomicUsize::new(0),
            overlapped: AtomicUsize::new(0),
            report: beside::with_ending(&library, ".calls"),
        };
        module.changed(None, &first.control);
        module
    })
}

/// The way of a call: what the control file says of it, then `act`, which calls the wrapped module.
pub(crate) fn call(asked: Asked, act: impl FnOnce(&Module, &Control) -> CK_RV) -> CK_RV {
    let module = module();
    let _inside = Counted::begin(&module.inside);
    let code = module.answer(&asked, act);
    module
        .counts
        .call(asked.function, asked.is_length_query, code);
    code
}

impl Module {
    fn answer(&self, asked: &Asked, act: impl FnOnce(&Self, &Control) -> CK_RV) -> CK_RV {
        let function = asked.function;
        let mut version = self.now();
        // The client library of a token that is far away answers these itself: nothing delays them or has them fail.
        if !asked.is_length_query {
            version = self.hang(function, version);
            self.wait(function, &version.control);
        }
        let control = &version.control;
        match function {
            Function::C_Initialize | Function::C_Finalize => {
                let _alone = self.alone();
                self.pass(asked, control, act)
            }
            // It may wait for ever.
            Function::C_WaitForSlotEvent => self.pass(asked, control, act),
            _ => {
                let _with_others = self.with_others();
                self.pass(asked, control, act)
            }
        }
    }

    /// Lets the latency of a call pass, and before it what it waits for a place.
    fn wait(&self, function: Function, control: &Control) {
        let Some(latency) = control.latency(function) else {
            return;
        };
        let now = Instant::now();
        delay::pass(match control.in_flight {
            Some(places) => self.places.answered_at(now, places, latency) - now,
            None => latency,
        });
    }

    fn pass(
        &self,
        asked: &Asked,
        control: &Control,
        act: impl FnOnce(&Self, &Control) -> CK_RV,
    ) -> CK_RV {
        let function = asked.function;
        if let Some(code) = self.refusal(function, control) {
            return code;
        }
        let failure = if asked.is_length_query {
            None
        } else {
            control.failure(function)
        };
        match failure {
            Some(code) => {
                if let Some(session) = asked.session {
                    self.wrapped.end_operation(session, function);
                }
                code
            }
            None => act(self, control),
        }
    }

    /// What a call is answered with by a module that lost its state, or whose token is away.
    fn refusal(&self, function: Function, control: &Control) -> Option<CK_RV> {
        let begins_or_ends = matches!(function, Function::C_Initialize | Function::C_Finalize);
        if self.has_lost_its_state.load(Ordering::Acquire) && !begins_or_ends {
            return Some(CKR_CRYPTOKI_NOT_INITIALIZED);
        }
        let removed = control
            .removed
            .filter(|_| self.is_initialized.load(Ordering::Acquire))?;
        match (function, function.reach()) {
            (_, Reach::Session) => Some(removed),
            // These tell what is there, and that is not the token.
            (
                Function::C_GetSlotList | Function::C_GetSlotInfo | Function::C_WaitForSlotEvent,
                _,
            )
            | (_, Reach::Library) => None,
            (_, Reach::Slot) => Some(CKR_TOKEN_NOT_PRESENT),
        }
    }

    /// Lasts as long as the control file says so. Gives what it says then.
    fn hang(&self, function: Function, version: Arc<Version>) -> Arc<Version> {
        let Some(hang) = version.control.hang(function) else {
            return version;
        };
        let _hanging = Counted::begin(&self.hanging);
        let mut version = version;
        while version.control.still_hangs(&hang) {
            delay::pass(delay::HANG_CHECK);
            version = self.now();
        }
        version
    }

    fn now(&self) -> Arc<Version> {
        self.control
            .now(|before, control| self.changed(Some(before), control))
    }

    /// What a new control file brings about by itself.
    fn changed(&self, before: Option<&Control>, control: &Control) {
        if control.is_silently_removed {
            self.is_silent.store(true, Ordering::Release);
        }
        // Also when it comes back: a call that began before it went may have opened one since.
        let was_removed = before.is_some_and(|before| before.removed.is_some());
        if control.removed.is_some() != was_removed {
            self.lose_sessions();
        }
        for event in &control.events {
            let is_new = self
                .happened
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(event.clone());
            if is_new {
                self.happen(event);
            }
        }
    }

    fn happen(&self, event: &Event) {
        match event.kind {
            EventKind::LoseSessions => self.lose_sessions(),
            EventKind::Logout => {
                let _alone = self.alone();
                for session in self.sessions.one_of_each_slot() {
                    self.wrapped.logout(session);
                }
            }
            EventKind::NeedsInitialize => self.lose_state(false),
            EventKind::NeedsInitializeHard => self.lose_state(true),
            EventKind::Report => self.report(&event.id),
        }
    }

    /// Closes all sessions; with the last one the login goes.
    fn lose_sessions(&self) {
        let _alone = self.alone();
        for slot in self.sessions.slots() {
            self.wrapped.close_all_sessions(slot);
        }
        self.sessions.closed_all();
    }

    fn lose_state(&self, is_lost_to_finalize: bool) {
        let _alone = self.alone();
        self.has_lost_its_state.store(true, Ordering::Release);
        self.is_lost_to_finalize
            .store(is_lost_to_finalize, Ordering::Release);
    }

    /// C_Initialize. The caller of a module that lost its state need not finalise it first.
    pub(crate) fn begin_life(&self, control: &Control, arguments: CK_VOID_PTR) -> CK_RV {
        if self.has_lost_its_state.swap(false, Ordering::AcqRel) {
            self.wrapped.finalize();
        }
        let code = invoke!(self.wrapped, C_Initialize(arguments));
        if code == CKR_OK {
            self.is_initialized.store(true, Ordering::Release);
            self.is_silent
                .store(control.is_silently_removed, Ordering::Release);
            self.sessions.closed_all();
            self.objects.begin_life(control.are_handles_reused);
        }
        code
    }

    /// C_Finalize.
    pub(crate) fn end_life(&self, reserved: CK_VOID_PTR) -> CK_RV {
        // This call is one of them.
        if self.inside.load(Ordering::Acquire) > 1 {
            self.overlapped.fetch_add(1, Ordering::Relaxed);
        }
        let code = invoke!(self.wrapped, C_Finalize(reserved));
        if code == CKR_OK {
            self.is_initialized.store(false, Ordering::Release);
            self.sessions.closed_all();
        }
        let was_lost = self.has_lost_its_state.swap(false, Ordering::AcqRel);
        if was_lost && self.is_lost_to_finalize.load(Ordering::Acquire) {
            return CKR_CRYPTOKI_NOT_INITIALIZED;
        }
        code
    }

    /// Whether the token's objects went away without a word.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// The wrapped module's handle for a caller's.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Result<CK_OBJECT_HANDLE, CK_RV> {
        if self.is_silent() {
            return Err(CKR_OBJECT_HANDLE_INVALID);
        }
        self.objects
            .real(&self.wrapped, handle)
            .ok_or(CKR_OBJECT_HANDLE_INVALID)
    }

    /// The caller's handle for one of the wrapped module, which a session of the caller's came upon.
    pub(crate) fn give_out(
        &self,
        session: CK_SESSION_HANDLE,
        real: CK_OBJECT_HANDLE,
    ) -> CK_OBJECT_HANDLE {
        let slot = self.sessions.slot(session);
        self.objects.give_out(&self.wrapped, slot, session, real)
    }

    /// Written whole or not at all: whoever reads it may do so at any time.
    fn report(&self, id: &str) {
        let mut text = format!("report {id}\n{}", self.counts.lines());
        let mut line = |name: &str, count: usize| {
            let _ = writeln!(text, "{name} {count}");
        };
        line("sessions", self.sessions.count());
        line("hanging", self.hanging.load(Ordering::Acquire));
        line("overlapped", self.overlapped.load(Ordering::Relaxed));
        let new = beside::with_ending(&self.report, ".new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.report));
        if let Err(error) = written {
            give_up(&format!("{}: {error}", self.report.display()));
        }
    }

    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_others(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }
}
