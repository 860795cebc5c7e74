//! The one thread that writes: it takes what waits, does each command in a savepoint, and commits all of
//! them with one sync. Nobody is answered before the commit.
//!
//! A sync costs the same for few commands as for many. While some come, but not enough for groups that are worth it,
//! it waits a moment for more of them; a lone caller is never waited with, and neither are callers of whom so many wait
//! that the store is what they wait for (as `commit_delay` and `commit_siblings` of PostgreSQL).
//!
//! A command whose caller gave up before it was begun is never done: what is told as not done stays so.

use std::{
    ops::Range,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rusqlite::{Connection, Savepoint, TransactionBehavior};
use tokio::sync::oneshot;

use super::checkpoints::Restart;
use crate::store::{
    StoreError,
    tables::Fault,
    turn::{self, Turn},
};

/// How many commands may wait.
const QUEUE_MAX: usize = 1024;

/// How many commands one commit may hold.
const GROUP_MAX: usize = 256;

/// How many commands the last commit held, if the next is to wait for more.
const GATHERED: Range<usize> = 4..32;

/// For how long it then waits.
const GATHER: Duration = Duration::from_millis(1);

/// A command: it is given a savepoint, or the reason why there is none, and says what to do once its work is
/// durable.
type Command = Box<dyn FnOnce(Result<&mut Savepoint<'_>, StoreError>) -> Answer + Send>;

/// Sends the outcome, or what kept it from being durable.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Writer {
    /// None only while it is dropped.
    queue: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    /// Waits until what was asked for is done and the file is closed, its log brought back into it.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, restart: Restart) -> Result<Self, StoreError> {
        let (queue, commands) = crossbeam_channel::bounded(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write(connection, &commands, &restart))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Has a command done, and waits until it is durable. What was not begun by the deadline is never done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        act: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let (turn, waiting) = turn::new();
        let command = command(turn, reply, act);
        let ended = || StoreError::Unavailable("the writer ended".to_owned());
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => ended(),
        })?;
        waiting.outcome(deadline, outcome).await
    }
}

fn command<T: Send + 'static>(
    turn: Turn,
    reply: oneshot::Sender<Result<T, StoreError>>,
    act: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
) -> Command {
    Box::new(move |savepoint| {
        let result = match savepoint {
            // Whoever asked was told that it was not done, or has gone.
            Ok(_) if !turn.begin() => return Box::new(|_| {}),
            Ok(savepoint) => {
                let acted = act(savepoint);
                // What a failed command did is undone; the others of the group stay.
                let settled = match &acted {
                    Ok(_) => Ok(()),
                    Err(_) => savepoint.rollback(),
                };
                acted
                    .and_then(|done| settled.map(|()| done).map_err(Fault::from))
                    .map_err(|error| StoreError::Unavailable(error.to_string()))
            }
            Err(error) => Err(error),
        };
        Box::new(move |durable: Result<(), StoreError>| {
            // Whoever asked may have gone; what was done stays done.
            let _ = reply.send(durable.and(result));
        })
    })
}

fn write(mut connection: Connection, commands: &Receiver<Command>, restart: &Restart) {
    let mut last = 0;
    while let Ok(first) = commands.recv() {
        if GATHERED.contains(&last) && commands.len() < GATHERED.end {
            thread::sleep(GATHER);
        }
        let group = std::iter::once(first)
            .chain(commands.try_iter())
            .take(GROUP_MAX);
        let (answers, durable) = commit(&mut connection, group, commands);
        last = answers.len();
        for answer in answers {
            answer(match &durable {
                Ok(()) => Ok(()),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            });
        }
        restart.if_wanted(&connection);
    }
}

/// Does a group of commands in one transaction.
fn commit(
    connection: &mut Connection,
    group: impl Iterator<Item = Command>,
    queued: &Receiver<Command>,
) -> (Vec<Answer>, rusqlite::Result<()>) {
    let mut answers = Vec::new();
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate)
    {
        Ok(transaction) => transaction,
        Err(error) => {
            // It took as long as may be waited for a lock: the next one would wait as long, and so on.
            for command in group.chain(queued.try_iter()) {
                answers.push(command(Err(StoreError::Unavailable(error.to_string()))));
            }
            return (answers, Err(error));
        }
    };
    for command in group {
        let mut savepoint = match transaction.savepoint() {
            Ok(savepoint) => savepoint,
            Err(error) => {
                answers.push(command(Err(StoreError::Unavailable(error.to_string()))));
                return (answers, Err(error));
            }
        };
        answers.push(command(Ok(&mut savepoint)));
        if let Err(error) = savepoint.commit() {
            return (answers, Err(error));
        }
    }
    let durable = transaction.commit();
    if let Err(error) = &durable
        && error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
    {
        // After a failed sync nobody knows what is on the disk; the log is read anew at the next start.
        tracing::error!(%error, "the store could not be synced: ending, so that a restart finds out what is durable");
        std::process::abort();
    }
    (answers, durable)
}
