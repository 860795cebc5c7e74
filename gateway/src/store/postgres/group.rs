//! Commands done in groups: what waits is taken together, read ahead together, done one after the other, and
//! written together. A group costs three ways to the database and back, however many commands it has.
//!
//! Several groups are under way at once. When another gateway was faster, the database says so (a unique key, a
//! lock, SQLSTATE 40001), and the group is done again from the start. When the connection is lost while a group is
//! committed, nobody knows what became of it: it is done again on another connection, and each command finds
//! what it did, by its `jti` or `xid`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool, PoolError};
use futures_util::future::try_join_all;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_postgres::{error::SqlState, types::ToSql};

use super::{database::told, load, working_set::WorkingSet};
use crate::store::{
    StoreError,
    tables::{Fault, Transaction, Wanted},
    turn::{self, COMMIT_GRACE, Turn},
};

/// A connection of the pool.
pub(super) type Connection = Object;

/// How many commands may wait.
const QUEUE_MAX: usize = 4096;

/// How many commands one group may have.
const GROUP_MAX: usize = 256;

/// How many groups are under way at once.
const GROUPS: usize = 2;

/// How long one try may take: a database that does not answer is as good as gone.
const TRY: Duration = Duration::from_secs(6);

/// The first pause after a lost connection; it doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_millis(500);

/// The pause after a conflict, longer with each.
const PAUSE_CONFLICT: Duration = Duration::from_millis(2);

/// How often a group is done again because of what others did, before its commands are done one by one.
const CONFLICTS_MAX: u32 = 4;

/// How often one command is done again because of what others did.
const CONFLICTS_MAX_ALONE: u32 = 32;

/// A command that waits or is being done.
trait Job: Send {
    fn wanted(&self, wanted: &mut Wanted);
    /// Takes it; false when its caller gave it up.
    fn begin(&self) -> bool;
    /// Does it with the rows read ahead, and keeps what comes of it.
    fn act(&mut self, set: &mut WorkingSet) -> Result<(), Fault>;
    /// Until when it should be done.
    fn deadline(&self) -> Instant;
    /// Tells the caller what came of it, or why nothing did.
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Asked<T: Transaction> {
    transaction: T,
    deadline: Instant,
    turn: Turn,
    reply: oneshot::Sender<Result<T::Outcome, StoreError>>,
    outcome: Option<T::Outcome>,
}

impl<T: Transaction> Job for Asked<T> {
    fn wanted(&self, wanted: &mut Wanted) {
        self.transaction.wanted(wanted);
    }

    fn begin(&self) -> bool {
        self.turn.begin()
    }

    fn act(&mut self, set: &mut WorkingSet) -> Result<(), Fault> {
        self.outcome = Some(self.transaction.run(set)?);
        Ok(())
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let undone = || StoreError::Unavailable("it was not done".to_owned());
        let Self { reply, outcome, .. } = *self;
        // Whoever asked may have gone; what was done stays done.
        let _ = reply.send(durable.and_then(|()| outcome.ok_or_else(undone)));
    }
}

type Jobs = Vec<Box<dyn Job>>;

/// Where commands wait until a group takes them.
pub(super) struct Groups {
    queue: mpsc::Sender<Box<dyn Job>>,
}

impl Groups {
    /// Has groups done on connections of the pool for as long as this is kept.
    pub(super) fn start(pool: &Pool) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..GROUPS {
            tokio::spawn(work(pool.clone(), Arc::clone(&jobs)));
        }
        Self { queue }
    }

    /// Has a command done, and waits until it is durable. What was not begun by the deadline is never done.
    pub(super) async fn run<T: Transaction>(
        &self,
        transaction: T,
        deadline: Instant,
    ) -> Result<T::Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let (turn, waiting) = turn::new();
        let job = Asked {
            transaction,
            deadline,
            turn,
            reply,
            outcome: None,
        };
        self.queue
            .try_send(Box::new(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => {
                    StoreError::Unavailable("the store ended".to_owned())
                }
            })?;
        waiting.outcome(deadline, outcome).await
    }
}

async fn work(pool: Pool, jobs: Arc<Mutex<mpsc::Receiver<Box<dyn Job>>>>) {
    loop {
        let mut group = Vec::new();
        if jobs.lock().await.recv_many(&mut group, GROUP_MAX).await == 0 {
            return;
        }
        // Whoever gave up was told that it was not done, or has gone.
        group.retain(|job| job.begin());
        let (alone, together): (Jobs, Jobs) = group.into_iter().partition(|job| {
            let mut wanted = Wanted::default();
            job.wanted(&mut wanted);
            wanted.due_at.is_some()
        });
        for job in alone {
            let group = Group {
                jobs: vec![job],
                is_in_doubt: false,
            };
            group.run(&pool, CONFLICTS_MAX_ALONE).await;
        }
        let group = Group {
            jobs: together,
            is_in_doubt: false,
        };
        let Some(Group { jobs, is_in_doubt }) = group.run(&pool, CONFLICTS_MAX).await else {
            continue;
        };
        for job in jobs {
            let group = Group {
                jobs: vec![job],
                is_in_doubt,
            };
            group.run(&pool, CONFLICTS_MAX_ALONE).await;
        }
    }
}

/// Why a group was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotDone {
    /// Others did something that it did not see: do it again.
    #[error("others were faster: {0}")]
    Conflict(String),
    /// The database can't be reached, or not any more.
    #[error("the database is not there: {0}")]
    Lost(String),
    /// The database refuses it as it is.
    #[error("the database refuses it: {0}")]
    Refused(String),
    /// A command found or did what can't be.
    #[error(transparent)]
    Fault(Fault),
}

impl From<Fault> for NotDone {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<PoolError> for NotDone {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            error => Self::Lost(told(&error)),
        }
    }
}

impl From<tokio_postgres::Error> for NotDone {
    fn from(error: tokio_postgres::Error) -> Self {
        let conflicts = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::UNIQUE_VIOLATION,
            SqlState::LOCK_NOT_AVAILABLE,
        ];
        let Some(database) = error.as_db_error() else {
            return Self::Lost(told(&error));
        };
        let code = database.code();
        let told = format!("{} ({})", database.message(), code.code());
        // Class 57 is an operator's doing, 53 a lack of resources, 08 a connection, 58 a disk.
        let is_lost = ["57", "53", "08", "58"]
            .iter()
            .any(|class| code.code().starts_with(class));
        if conflicts.contains(code) {
            Self::Conflict(told)
        } else if is_lost {
            Self::Lost(told)
        } else {
            Self::Refused(told)
        }
    }
}

/// A group on its way.
struct Group {
    jobs: Jobs,
    /// Once a commit was sent that has no answer, it may be durable.
    is_in_doubt: bool,
}

impl Group {
    /// Does it until it is durable, or until nobody waits for it any more; gives back one whose commands are to be
    /// done one by one.
    async fn run(mut self, pool: &Pool, conflicts_max: u32) -> Option<Self> {
        let (mut conflicts, mut pause) = (0, PAUSE_FIRST);
        loop {
            // Whatever kept it until now: what is told as not done is not done any more.
            self.refuse_those_over("it took too long");
            if self.jobs.is_empty() {
                break;
            }
            let mut is_committing = false;
            let tried = timeout(TRY, attempt(pool, &mut self.jobs, &mut is_committing)).await;
            let why = match tried {
                Ok(Ok(())) => {
                    for job in self.jobs {
                        job.answer(Ok(()));
                    }
                    return None;
                }
                Ok(Err(Attempt::Faulty(_, Fault::NotRead(what)))) => {
                    // It came to be after the accounts were locked, from another gateway.
                    NotDone::Conflict(format!("{what} was not there yet"))
                }
                Ok(Err(Attempt::Faulty(position, fault))) => {
                    // The others did nothing wrong.
                    let job = self.jobs.remove(position);
                    self.refuse(job, &fault.to_string());
                    continue;
                }
                Ok(Err(Attempt::NotDone(why))) => why,
                Err(_) => NotDone::Lost("it takes too long".to_owned()),
            };
            match why {
                NotDone::Conflict(told) if conflicts + 1 < conflicts_max => {
                    conflicts += 1;
                    metrics::counter!("twinseal_store_conflicts_total").increment(1);
                    tracing::debug!(error = %told, commands = self.jobs.len(), "a group is done again");
                    // The others come to their end first.
                    sleep(PAUSE_CONFLICT * conflicts).await;
                }
                NotDone::Lost(told) => {
                    self.is_in_doubt |= is_committing;
                    tracing::warn!(error = %told, commands = self.jobs.len(), "a group waits for the database");
                    self.refuse_those_over(&told);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_LAST);
                }
                _ if self.jobs.len() > 1 => return Some(self),
                why => {
                    let told = why.to_string();
                    for job in std::mem::take(&mut self.jobs) {
                        self.refuse(job, &told);
                    }
                }
            }
        }
        None
    }

    /// Tells those that are late. What may be durable is waited for as long as its caller does.
    fn refuse_those_over(&mut self, told: &str) {
        let now = Instant::now();
        let grace = if self.is_in_doubt {
            COMMIT_GRACE
        } else {
            Duration::ZERO
        };
        let (over, waiting): (Jobs, Jobs) = std::mem::take(&mut self.jobs)
            .into_iter()
            .partition(|job| job.deadline() + grace <= now);
        self.jobs = waiting;
        for job in over {
            self.refuse(job, told);
        }
    }

    /// Tells that a command was not done, or that nobody knows.
    fn refuse(&self, job: Box<dyn Job>, told: &str) {
        tracing::error!(error = told, "a command was not done");
        job.answer(Err(if self.is_in_doubt {
            StoreError::OutcomeUnknown
        } else {
            StoreError::Unavailable(told.to_owned())
        }));
    }
}

/// Why one try came to nothing.
enum Attempt {
    /// The command at this position.
    Faulty(usize, Fault),
    NotDone(NotDone),
}

impl<E: Into<NotDone>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::NotDone(error.into())
    }
}

/// Reads ahead, does all commands, writes and commits.
async fn attempt(pool: &Pool, group: &mut Jobs, is_committing: &mut bool) -> Result<(), Attempt> {
    let mut wanted = Wanted::default();
    for job in group.iter() {
        job.wanted(&mut wanted);
    }
    let connection = pool.get().await?;
    // Dropped with its transaction, unless it comes to its end.
    let connection = Unfinished(Some(connection));
    let mut set = load::load(connection.get()?, &wanted).await?;
    for (position, job) in group.iter_mut().enumerate() {
        job.act(&mut set)
            .map_err(|fault| Attempt::Faulty(position, fault))?;
    }
    write(connection.get()?, &set).await?;
    *is_committing = true;
    let committed = connection.get()?.batch_execute("COMMIT").await;
    if let Err(error) = &committed
        && error.as_db_error().is_some()
    {
        // The database itself says that it did not.
        *is_committing = false;
    }
    committed?;
    connection.finish();
    Ok(())
}

/// Writes what a working set changed.
pub(super) async fn write(connection: &Connection, set: &WorkingSet) -> Result<(), NotDone> {
    let writes = set.changes.writes()?;
    let mut statements = Vec::with_capacity(writes.len());
    for write in &writes {
        statements.push(connection.prepare_cached(write.query).await?);
    }
    let touched = try_join_all(
        writes
            .iter()
            .zip(&statements)
            .map(async |(write, statement)| {
                let parameters: Vec<&(dyn ToSql + Sync)> = write
                    .parameters
                    .iter()
                    .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
                    .collect();
                connection.execute(statement, &parameters).await
            }),
    )
    .await?;
    let as_meant = writes
        .iter()
        .zip(touched)
        .all(|(write, rows)| write.rows == rows);
    if as_meant {
        Ok(())
    } else {
        Err(NotDone::Conflict("a row was changed by another".to_owned()))
    }
}

/// A connection in the middle of a transaction: it goes back to the pool only when that has come to its end. Else
/// it is closed, and the database undoes what was begun.
struct Unfinished(Option<Connection>);

impl Unfinished {
    fn get(&self) -> Result<&Connection, NotDone> {
        let gone = || NotDone::Lost("the connection is gone".to_owned());
        self.0.as_ref().ok_or_else(gone)
    }

    fn finish(mut self) {
        self.0.take();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
