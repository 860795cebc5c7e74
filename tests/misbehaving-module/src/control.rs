//! What the control file says. Its language is described at the crate's root.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED,
    CKR_DEVICE_REMOVED,
};

use crate::{codes, functions::Function};

/// The functions whose output can be corrupted.
const CORRUPTIBLE: [Function; 4] = [
    Function::C_Sign,
    Function::C_Encrypt,
    Function::C_Decrypt,
    Function::C_GetAttributeValue,
];

/// All that a control file says.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The wrapped module.
    pub(crate) module: PathBuf,
    latencies: Vec<Latency>,
    pub(crate) in_flight: Option<usize>,
    failures: Vec<(Rule, CK_RV)>,
    hangs: Vec<Rule>,
    corruptions: Vec<Rule>,
    /// In the order of the lines.
    pub(crate) events: Vec<Event>,
    /// What functions with a session answer while the token is away.
    pub(crate) removed: Option<CK_RV>,
    pub(crate) is_silently_removed: bool,
    pub(crate) are_handles_reused: bool,
    /// Added to the flags of every token.
    pub(crate) pin_flags: CK_FLAGS,
    pub(crate) sessions_max: Option<usize>,
}

#[derive(Debug)]
struct Latency {
    duration: Duration,
    /// None: all that reach a token.
    functions: Option<Vec<Function>>,
}

/// What happens once for each distinct ID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EventKind {
    LoseSessions,
    Logout,
    NeedsInitialize,
    /// As `NeedsInitialize`, and C_Finalize too says that the module is not initialised.
    NeedsInitializeHard,
    Report,
}

/// A line about one function, and how often it came into question. The same line of the next control file counts on.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    function: Function,
    which: Which,
    line: String,
    asked: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Always,
    /// The first so many.
    Times(u64),
    /// One of so many, the last.
    Every(u64),
}

impl Rule {
    /// Counts a call, and tells whether it is one that the line means.
    fn strikes(&self, function: Function) -> bool {
        if self.function != function {
            return false;
        }
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        match self.which {
            Which::Always => true,
            Which::Times(times) => before < times,
            Which::Every(every) => (before + 1).is_multiple_of(every),
        }
    }
}

/// Why a control file can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misunderstood {
    /// From 1; none when it is about the file as a whole.
    line: Option<(usize, String)>,
    why: String,
}

impl fmt::Display for Misunderstood {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, text)) => write!(out, "line {number}, `{text}`: {}", self.why),
            None => out.write_str(&self.why),
        }
    }
}

impl Control {
    pub(crate) fn parse(text: &str) -> Result<Self, Misunderstood> {
        let mut control = Self::default();
        let mut before: Vec<&str> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = if before.contains(&line) {
                Err("stands there twice; a comment makes it another line".to_owned())
            } else {
                control.read(line)
            };
            read.map_err(|why| Misunderstood {
                line: Some((index + 1, line.to_owned())),
                why,
            })?;
            before.push(line);
        }
        if control.module.as_os_str().is_empty() {
            return Err(Misunderstood {
                line: None,
                why: "no line `module PATH` names the module to be wrapped".to_owned(),
            });
        }
        if control.in_flight.is_some() && control.latencies.is_empty() {
            return Err(Misunderstood {
                line: None,
                why: "`in-flight` without a line `latency`, which says for how long".to_owned(),
            });
        }
        Ok(control)
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        // A path may have spaces and signs of numbers in it, so it is all that follows.
        if let Some(path) = line.strip_prefix("module ") {
            if !self.module.as_os_str().is_empty() {
                return Err("the wrapped module is named already".to_owned());
            }
            self.module = PathBuf::from(path.trim_start());
            return Ok(());
        }
        let words: Vec<&str> = line
            .split_whitespace()
            .take_while(|word| !word.starts_with('#'))
            .collect();
        let rule = |name: &str, which: &[&str]| {
            Ok::<_, String>(Rule {
                function: function(name)?,
                which: read_which(which)?,
                line: line.to_owned(),
                asked: Arc::default(),
            })
        };
        match *words.as_slice() {
            ["latency", text, ref names @ ..] => {
                let functions: Result<Vec<_>, _> = names.iter().copied().map(function).collect();
                let functions = functions?;
                self.latencies.push(Latency {
                    duration: duration(text)?,
                    functions: (!functions.is_empty()).then_some(functions),
                });
            }
            ["in-flight", count] => set(&mut self.in_flight, positive(count)?)?,
            ["fail", name, code, ref which @ ..] => {
                let code =
                    codes::read(code).ok_or_else(|| format!("{code} is no code of v2.40"))?;
                self.failures.push((rule(name, which)?, code));
            }
            ["hang", name] => self.hangs.push(rule(name, &[])?),
            ["hang", name, "times", count] => {
                self.hangs.push(rule(name, &["times", count])?);
            }
            ["corrupt", name] => self.corruptions.push(corruptible(rule(name, &[])?)?),
            ["corrupt", name, "every", count] => {
                self.corruptions
                    .push(corruptible(rule(name, &["every", count])?)?);
            }
            ["lose-sessions", id] => self.happens(EventKind::LoseSessions, id),
            ["logout", id] => self.happens(EventKind::Logout, id),
            ["needs-initialize", id] => self.happens(EventKind::NeedsInitialize, id),
            ["needs-initialize", id, "hard"] => self.happens(EventKind::NeedsInitializeHard, id),
            ["report", id] => self.happens(EventKind::Report, id),
            ["removed"] => set(&mut self.removed, CKR_DEVICE_REMOVED)?,
            ["removed", code] => {
                let code =
                    codes::read(code).ok_or_else(|| format!("{code} is no code of v2.40"))?;
                set(&mut self.removed, code)?;
            }
            ["silent-removal"] => self.is_silently_removed = true,
            ["handles-reused"] => self.are_handles_reused = true,
            ["pin-count-low"] => self.pin_flags |= CKF_USER_PIN_COUNT_LOW,
            ["pin-final-try"] => self.pin_flags |= CKF_USER_PIN_FINAL_TRY,
            ["pin-locked"] => self.pin_flags |= CKF_USER_PIN_LOCKED,
            ["sessions-max", count] => set(&mut self.sessions_max, whole(count)?)?,
            _ => return Err("is no directive, or has not what belongs to one".to_owned()),
        }
        Ok(())
    }

    fn happens(&mut self, kind: EventKind, id: &str) {
        let id = id.to_owned();
        self.events.push(Event { kind, id });
    }

    /// Lines that stand in both files count on.
    pub(crate) fn continue_from(&mut self, earlier: &Self) {
        let counts: Vec<&Rule> = earlier.rules().collect();
        let rules = self
            .failures
            .iter_mut()
            .map(|(rule, _)| rule)
            .chain(&mut self.hangs)
            .chain(&mut self.corruptions);
        for rule in rules {
            if let Some(same) = counts.iter().find(|earlier| earlier.line == rule.line) {
                rule.asked = Arc::clone(&same.asked);
            }
        }
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.failures
            .iter()
            .map(|(rule, _)| rule)
            .chain(&self.hangs)
            .chain(&self.corruptions)
    }

    /// How much longer a call takes, all lines together; none when no line names it.
    pub(crate) fn latency(&self, function: Function) -> Option<Duration> {
        let mut sum = None;
        for latency in &self.latencies {
            let is_meant = match &latency.functions {
                Some(functions) => functions.contains(&function),
                None => function.reaches_token(),
            };
            if is_meant {
                sum = Some(sum.unwrap_or_default() + latency.duration);
            }
        }
        sum
    }

    /// The code that this call is to fail with. A line sees the calls that those before it let through.
    pub(crate) fn failure(&self, function: Function) -> Option<CK_RV> {
        self.failures
            .iter()
            .find(|(rule, _)| rule.strikes(function))
            .map(|(_, code)| *code)
    }

    /// The line by which this call is to hang.
    pub(crate) fn hang(&self, function: Function) -> Option<Rule> {
        self.hangs
            .iter()
            .find(|rule| rule.strikes(function))
            .cloned()
    }

    /// Whether a line by which a call hangs still stands.
    pub(crate) fn still_hangs(&self, hang: &Rule) -> bool {
        self.hangs.iter().any(|rule| rule.line == hang.line)
    }

    /// Whether this output is to be corrupted.
    pub(crate) fn corrupts(&self, function: Function) -> bool {
        self.corruptions.iter().any(|rule| rule.strikes(function))
    }
}

fn function(name: &str) -> Result<Function, String> {
    Function::named(name)
        .ok_or_else(|| format!("{name} is no function that can be told to misbehave"))
}

fn read_which(words: &[&str]) -> Result<Which, String> {
    match words {
        [] => Ok(Which::Always),
        ["times", count] => Ok(Which::Times(positive(count)? as u64)),
        ["every", count] => Ok(Which::Every(positive(count)? as u64)),
        _ => Err("how often is said by `times N` or `every N`".to_owned()),
    }
}

fn corruptible(rule: Rule) -> Result<Rule, String> {
    if CORRUPTIBLE.contains(&rule.function) {
        return Ok(rule);
    }
    let names: Vec<_> = CORRUPTIBLE.iter().map(|function| function.name()).collect();
    Err(format!("what can be corrupted is of {}", names.join(", ")))
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number = whole(number)? as u64;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err(format!("{text} is no time: 500us, 2ms, 1s")),
    }
}

fn whole(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no whole number"))
}

fn positive(text: &str) -> Result<usize, String> {
    match whole(text)? {
        0 => Err("must be one at least".to_owned()),
        number => Ok(number),
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.is_some() {
        return Err("was said already, otherwise".to_owned());
    }
    *place = Some(value);
    Ok(())
}
