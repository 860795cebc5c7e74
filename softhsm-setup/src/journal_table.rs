//! `journal`: what the CAs issued and revoked, for people and for programs.

use time::OffsetDateTime;

use crate::{
    Failure,
    journal::{self, Entry, Event},
    layout::Layout,
    print, say,
};

/// Prints the journal.
pub(crate) fn journal(layout: &Layout, json: bool) -> Result<(), Failure> {
    let (entries, is_cut_off) = journal::look(layout)?;
    if json {
        let text = serde_json::to_string_pretty(&entries)
            .map_err(|error| Failure::new(error.to_string()))?;
        print(&text);
    } else {
        print(&format!(
            "{:<17}{:<9}{:<13}{:<54}{:<11}{:<12}{}",
            "TIME", "HOW", "CA", "SUBJECT", "USAGE", "UNTIL", "SERIAL"
        ));
        for entry in &entries {
            print(&row(entry));
        }
    }
    if is_cut_off {
        say(
            "the last line is not whole: a command writes it just now, or a crash cut it off, and the next command that \
             writes puts it right",
        );
    }
    Ok(())
}

fn row(entry: &Entry) -> String {
    let time = minute(entry.time);
    match &entry.event {
        Event::Issued(issued) => format!(
            "{time:<17}{:<9}{:<13}{:<54}{:<11}{:<12}{}",
            issued.how.to_string(),
            issued.ca,
            issued.subject,
            issued.usage,
            day(issued.not_after),
            issued.serial
        ),
        Event::Revoked(revoked) => format!(
            "{time:<17}{:<9}{:<13}{:<54}{:<11}{:<12}{}",
            "REVOKED", revoked.ca, revoked.subject, "", "", revoked.serial
        ),
        Event::CutOff { .. } => format!("{time:<17}a line that a crash cut off"),
    }
}

/// A time (UTC) as people read it.
fn minute(seconds: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return "?".to_owned();
    };
    format!("{} {:02}:{:02}", day(seconds), time.hour(), time.minute())
}

fn day(seconds: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return "?".to_owned();
    };
    format!(
        "{:04}-{:02}-{:02}",
        time.year(),
        u8::from(time.month()),
        time.day()
    )
}
