//! The person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Whether there is somebody to ask.
///
/// # Errors
/// [`Failure::NobodyToAsk`].
pub(crate) fn check() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        Ok(())
    } else {
        Err(Failure::NobodyToAsk)
    }
}

/// Whether the person says yes. What is no answer is a no.
pub(crate) async fn says_yes(question: String) -> bool {
    // Reading blocks, and connections are to stay alive meanwhile.
    let answer = tokio::task::spawn_blocking(move || {
        let mut stderr = io::stderr();
        write!(stderr, "{question}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    })
    .await;
    let Ok(Ok(answer)) = answer else {
        return false;
    };
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}
