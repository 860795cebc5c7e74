//! How often each function was called, and what it answered.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use cryptoki_sys::CK_RV;

use crate::{codes::Named, functions::Function};

/// By code. A lock of its own for each function: it is held for an addition.
#[derive(Default)]
struct Answers(Mutex<BTreeMap<CK_RV, u64>>);

pub(crate) struct Counts {
    /// By function.
    calls: Vec<Answers>,
    /// Calls that asked for nothing but the length of an output; by function.
    length_queries: Vec<Answers>,
    /// Logins that reached the token.
    logins: Answers,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let none = || Function::ALL.iter().map(|_| Answers::default()).collect();
        Self {
            calls: none(),
            length_queries: none(),
            logins: Answers::default(),
        }
    }

    pub(crate) fn call(&self, function: Function, is_length_query: bool, code: CK_RV) {
        let counts = if is_length_query {
            &self.length_queries
        } else {
            &self.calls
        };
        counts[function as usize].add(code);
    }

    pub(crate) fn login(&self, code: CK_RV) {
        self.logins.add(code);
    }

    /// A line for each function that was called.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for function in Function::ALL {
            let name = function.name();
            self.calls[*function as usize].line(name, &mut text);
            self.length_queries[*function as usize].line(&format!("{name}/length"), &mut text);
        }
        self.logins.line("logins", &mut text);
        text
    }
}

impl Answers {
    fn add(&self, code: CK_RV) {
        let mut by_code = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *by_code.entry(code).or_default() += 1;
    }

    fn line(&self, name: &str, text: &mut String) {
        let by_code = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if by_code.is_empty() {
            return;
        }
        let _ = write!(text, "{name} {}", by_code.values().sum::<u64>());
        for (code, count) in &*by_code {
            let _ = write!(text, " {} {count}", Named(*code));
        }
        text.push('\n');
    }
}
