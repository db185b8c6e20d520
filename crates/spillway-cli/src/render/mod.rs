//! What people and programs see.
//!
//! [`Console`] is the one way out: results on standard output, everything else on standard error.
//! One task, owned by a [`ProgressView`], shows progress; it sees the newest value only and holds
//! nobody up.

mod bars;
mod console;
mod estimate;
mod human;
mod json;
mod mode;
mod progress_view;
mod prompt;
mod report;
mod time;

pub(crate) use console::{Console, Format, Text};
pub(crate) use human::{amount, bytes, count, one_line, seconds};
pub(crate) use mode::{mode_name, paid_as};
pub(crate) use progress_view::ProgressView;
pub(crate) use prompt::{Nobody, Prompt};
pub(crate) use report::Report;
pub(crate) use time::utc;
