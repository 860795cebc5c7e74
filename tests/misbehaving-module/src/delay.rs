//! The only place where time passes on purpose: the latency of a slow token, and the pause before a call that hangs
//! looks again whether it still has to.

use std::{thread, time::Duration};

/// How often a call that hangs looks at the control file.
pub(crate) const HANG_CHECK: Duration = Duration::from_millis(10);

pub(crate) fn pass(time: Duration) {
    if !time.is_zero() {
        thread::sleep(time);
    }
}
