//! What every [`Disk`](crate::Disk) and every [`Clock`](crate::Clock) must do: run by the real ones
//! and their twins, and by whoever brings one of their own. A case that fails panics.

mod clock_cases;
mod disk_cases;

pub use clock_cases::clock;
pub use disk_cases::disk;
