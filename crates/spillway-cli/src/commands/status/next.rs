//! What is to be done about each upload.

use spillway_client::{SessionStage, SessionStatus};
use spillway_types::UnixTime;

use super::state;
use crate::{
    advice,
    commands::{
        forget::may_go,
        resume::{is_open, is_stream},
    },
    render::utc,
};

/// Its name in JSON.
pub(super) fn stage_name(stage: SessionStage) -> &'static str {
    match stage {
        SessionStage::Planned => "planned",
        SessionStage::Paying => "paying",
        SessionStage::Storing => "storing",
        SessionStage::Expired => "expired",
        SessionStage::Verifying => "verifying",
        SessionStage::Finished => "finished",
        SessionStage::HandedOver => "handed_over",
        _ => "sealed",
    }
}

/// What goes on with it, then what ends it. Nothing while it runs, and nothing for one that is damaged:
/// what it holds is not known.
pub(super) fn commands(session: &SessionStatus) -> Vec<String> {
    let SessionStatus { id, .. } = session;
    let forget = || advice::forget(id);
    let resume = || advice::resume(id, is_stream(session));
    match state(session) {
        "interrupted" if session.stakes.is_nothing() => vec![resume(), forget()],
        "interrupted" => vec![resume()],
        "handed_over" => vec![advice::export(id), forget()],
        "finished" if may_go(session) => vec![forget()],
        _ => Vec::new(),
    }
}

/// The same for people, with where it stands. Of those that are finished all is said at the end.
pub(super) fn line(session: &SessionStatus, now: UnixTime) -> Option<String> {
    let id = &session.id;
    let resume = format!("`{}`", advice::resume(id, is_stream(session)));
    match state(session) {
        "handed_over" => {
            let at = session.handed_over.map(utc).unwrap_or_default();
            Some(format!(
                "since {at} it goes on with its archive; `{}` ends it here",
                advice::forget(id)
            ))
        }
        "interrupted" => Some(match session.stage {
            SessionStage::Storing => {
                let until = session.upload_by.filter(|until| *until >= now);
                let until = until.map(|until| format!(" until {}", utc(until)));
                format!("paid, to be stored{}: {resume}", until.unwrap_or_default())
            }
            SessionStage::Paying => format!("signed, perhaps paid: {resume} asks the chain"),
            SessionStage::Planned => format!("priced, not paid: {resume}"),
            SessionStage::Expired => format!("not stored in time: {resume} pays for the rest anew"),
            SessionStage::Verifying => format!("stored, not verified yet: {resume}"),
            _ => format!("sealed, not priced: {resume}"),
        }),
        _ => None,
    }
}

/// What holds for all of them.
pub(super) fn closing(sessions: &[SessionStatus], now: UnixTime) -> String {
    let mut text = String::new();
    let mut open =
        sessions.iter().filter(|session| is_open(session) && !session.running).peekable();
    if open.peek().is_some() {
        let is_late = |session: &SessionStatus| {
            session.chunks_lapsed > 0 || session.upload_by.is_some_and(|until| until < now)
        };
        // Where nothing is lost, nothing is said of it.
        text.push_str(
            "Resume an upload by its name, or upload the same again, with the same --public and \
             --secret-file",
        );
        text.push_str(if open.any(is_late) {
            "; it pays anew only for what was paid for and not stored in time.\n"
        } else {
            "; what is paid stays paid.\n"
        });
    }
    if sessions.iter().any(|session| state(session) == "finished" && may_go(session)) {
        let forget = advice::forget_finished();
        text.extend([
            "`",
            &forget,
            "` takes those that are over from this list; their data maps cannot be written again then, \
             nor what nodes lose be repaired for free.\n",
        ]);
    }
    text
}
