//! What running commands say of themselves, and how `status` hears it.
//!
//! A command that works on the network listens on `run/PID.sock` of the data directory, which only
//! its user may enter. Whoever connects gets one line of JSON and is hung up on: which command,
//! which session, how far it is, and the gauges of its process. Nothing is read, and nothing that is
//! secret is said.
//!
//! Two tasks, owned by an [`Announcement`]: one serves one reader at a time, one looks once for what
//! others have left. A crash leaves a socket that
//! nobody listens on: whoever finds it removes it. A socket has its name only while it is listened on,
//! so one that refuses belongs to nobody. A command that cannot listen works on without.

mod announcement;
mod look;
mod place;
mod said;

pub(crate) use announcement::{Announcement, Board};
pub(crate) use look::{Seen, look};
pub(crate) use said::{Figures, Said, SaidGauges};
