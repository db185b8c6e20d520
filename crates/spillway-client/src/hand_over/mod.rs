//! Handing a session over to another machine, and back.
//!
//! An archive is one file: the session's files, and the sealed chunks that are not stored yet. Before
//! it gets its name, the session here is made read-only in its journal: so at no time two copies can go
//! on, whatever crashes. What a crash may leave is a session that is read-only and has no archive; then
//! it is exported again, which changes nothing in it.
//!
//! A copy that was handed over still holds its chunks: they are in its plans, and no other session
//! here plans them while those may be recorded. It says so when its contents are uploaded or it is
//! resumed. It ends with [`crate::forget`], or when the session comes back.
//!
//! What this cannot know: an archive that is imported on two machines is two sessions. They still pay
//! for every plan of the archive once, since the vault takes a plan once; what each plans from there on
//! is paid by each. The archive carries the keys of the contents and, of signed payments, the bytes:
//! whoever has it can read the contents and send those payments, and nothing else of the wallet.
//!
//! An archive may be a stranger's work, and nothing in it says whose it is. What peers and the wallet have
//! signed is checked when it is imported, and the journal gets a record of that import, which no archive can
//! take back: from there on stored chunks count only for payments of this wallet that the chain
//! has recorded, and are looked for on the network before the upload is done, one that was finished too;
//! and only what this wallet has signed is sent without another question.

mod archive;
mod check;
mod export;
mod import;
mod proofs;
#[cfg(test)]
mod tests;

pub use export::{ExportOptions, Exported, export_session};
#[cfg(any(test, fuzzing))]
pub(crate) use import::import;
pub use import::{ImportOptions, Imported, import_session};
