use std::path::{Path, PathBuf};

use spillway_disk::{Disk, DiskError, Overwrite};
use spillway_types::{PeerSecret, Retry};
use zeroize::Zeroizing;

/// The file that holds a node's key, beneath the node's directory.
const FILE: &str = "identity.key";

/// The file's first line.
const HEADING: &str = "spillway identity v1";

/// Longest file that is read, in bytes: the heading and two lines of 64 digits, with room for the
/// line ends of an editor.
const MAX_FILE_BYTES: u64 = 256;

/// Permission bits of others than the owner.
const OTHERS: u32 = 0o077;

/// A node's key, the one file of a node that cannot be made again: the quotes it signed, the chunks
/// it is paid for and its place in the network are the key's.
///
/// The file is text, three lines: a heading, the secret seed and the public key in hexadecimal
/// digits. The public key is there so that damage is noticed: another seed would be another peer.
/// It is written once, durably, 0600, and never replaced.
#[derive(Clone, Debug)]
pub struct Identity {
    secret: PeerSecret,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is not what was written.
    #[error(
        "{} is damaged ({what}); restore it from a copy, or move it away to begin as a new peer, \
         which keeps the chunks and loses the old name",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: Damage,
    },
    /// Others than the owner may read or change it.
    #[error(
        "{} can be read by others (mode {mode:o}); if nobody did, run: chmod 600 {}",
        path.display(),
        path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The disk failed.
    #[error("the node's key cannot be read or written")]
    Disk(#[from] DiskError),
    /// The system has no randomness to give.
    #[error("the system has no randomness for a key")]
    Randomness,
}

/// What is wrong with an identity file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is not text of three lines under the heading.
    #[error("it is not an identity file of version 1")]
    Form,
    /// A line is not 64 hexadecimal digits.
    #[error("a key is not 64 hexadecimal digits")]
    Digits,
    /// The public key is not the secret one's.
    #[error("its two keys do not belong together")]
    Mismatch,
}

impl IdentityError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Disk(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl Identity {
    /// Reads the key of the node beneath this disk's root, or makes one if there is no file. A file
    /// that is there is never replaced, whatever is wrong with it.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`], [`IdentityError::Exposed`], [`IdentityError::Disk`].
    ///
    /// The call blocks: from async code it goes through [`spillway_disk::run`].
    pub fn load_or_create(disk: &dyn Disk) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load(disk)? {
            return Ok(identity);
        }
        let secret = PeerSecret::generate().map_err(|_| IdentityError::Randomness)?;
        let text = encode(&secret);
        match disk.write_durable(Path::new(FILE), text.as_bytes(), Overwrite::Never) {
            Ok(()) => Ok(Self { secret }),
            // Somebody else has made one in this moment: theirs is the node's.
            Err(error @ DiskError::Exists { .. }) => Self::load(disk)?.ok_or(error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The key.
    pub fn secret(&self) -> &PeerSecret {
        &self.secret
    }

    fn load(disk: &dyn Disk) -> Result<Option<Self>, IdentityError> {
        let file = Path::new(FILE);
        let path = disk.display(file);
        let stat = match disk.stat(file) {
            Ok(stat) => stat,
            Err(DiskError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if stat.mode & OTHERS != 0 {
            return Err(IdentityError::Exposed { path, mode: stat.mode });
        }
        let bytes = match disk.read(file, MAX_FILE_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(DiskError::TooLong { .. }) => {
                return Err(IdentityError::Damaged { path, what: Damage::Form });
            }
            Err(error) => return Err(error.into()),
        };
        match decode(&bytes) {
            Ok(secret) => Ok(Some(Self { secret })),
            Err(what) => Err(IdentityError::Damaged { path, what }),
        }
    }
}

pub(super) fn encode(secret: &PeerSecret) -> Zeroizing<String> {
    let seed = Zeroizing::new(hex::encode(secret.seed().as_slice()));
    let public = hex::encode(secret.peer().0);
    Zeroizing::new(format!("{HEADING}\n{}\n{public}\n", seed.as_str()))
}

pub(super) fn decode(bytes: &[u8]) -> Result<PeerSecret, Damage> {
    let text = std::str::from_utf8(bytes).map_err(|_| Damage::Form)?;
    let mut lines = text.lines();
    let (heading, seed, public, end) = (lines.next(), lines.next(), lines.next(), lines.next());
    let (Some(HEADING), Some(seed), Some(public), None) = (heading, seed, public, end) else {
        return Err(Damage::Form);
    };
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(seed, key.as_mut()).map_err(|_| Damage::Digits)?;
    let mut expected = [0; 32];
    hex::decode_to_slice(public, &mut expected).map_err(|_| Damage::Digits)?;
    let secret = PeerSecret::from_seed(&key);
    if secret.peer().0 == expected { Ok(secret) } else { Err(Damage::Mismatch) }
}

#[cfg(test)]
mod tests {
    use spillway_disk::{MemoryDisk, Survival};

    use super::*;

    fn file() -> &'static Path {
        Path::new(FILE)
    }

    #[test]
    fn it_is_made_once_durably_and_for_its_owner() {
        let disk = MemoryDisk::new();
        let first = Identity::load_or_create(&disk).unwrap();
        assert_eq!(disk.stat(file()).unwrap().mode, 0o600);
        let text = String::from_utf8(disk.read(file(), 1_000).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, HEADING));
        let restarted = Identity::load_or_create(&disk).unwrap();
        assert_eq!(restarted.secret().peer(), first.secret().peer());
    }

    #[test]
    fn on_a_real_disk_too() {
        let root = tempfile::tempdir().unwrap();
        let open = || spillway_disk::RealDisk::create(&root.path().join("node")).unwrap();
        let made = Identity::load_or_create(&open()).unwrap();
        assert_eq!(open().stat(file()).unwrap().mode, 0o600);
        assert_eq!(
            Identity::load_or_create(&open()).unwrap().secret().peer(),
            made.secret().peer()
        );
    }

    #[test]
    fn golden() {
        let text = encode(&PeerSecret::from_seed(&[7; 32]));
        let expected = format!(
            "spillway identity v1\n{}\n{}\n",
            "07".repeat(32),
            "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
        );
        assert_eq!(text.as_str(), expected);
    }

    #[test]
    fn a_power_cut_keeps_it() {
        let disk = MemoryDisk::new();
        let made = Identity::load_or_create(&disk).unwrap();
        let found = Identity::load_or_create(&disk.crash(Survival::Nothing)).unwrap();
        assert_eq!(found.secret().peer(), made.secret().peer());
    }

    #[test]
    fn whatever_is_damaged_is_named_and_never_replaced() {
        let good = encode(&PeerSecret::from_seed(&[7; 32]));
        for at in 0..good.len() {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] ^= 1;
            let disk = MemoryDisk::new();
            disk.write_durable(file(), &bytes, Overwrite::Never).unwrap();
            let error = Identity::load_or_create(&disk).unwrap_err();
            assert!(matches!(error, IdentityError::Damaged { .. }), "byte {at}: {error}");
            assert_eq!(disk.read(file(), 1_000).unwrap(), bytes);
        }
        for length in 0..good.len() - 1 {
            let disk = MemoryDisk::new();
            disk.write_durable(file(), &good.as_bytes()[..length], Overwrite::Never).unwrap();
            let error = Identity::load_or_create(&disk).unwrap_err();
            assert!(matches!(error, IdentityError::Damaged { .. }), "length {length}: {error}");
        }
        let disk = MemoryDisk::new();
        disk.write_durable(file(), &[b'a'; 1_000], Overwrite::Never).unwrap();
        let error = Identity::load_or_create(&disk).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { what: Damage::Form, .. }), "{error}");
        assert!(error.to_string().contains("restore it from a copy"), "{error}");
        assert_eq!(error.retry(), Retry::Never);
    }

    #[test]
    fn one_that_others_can_read_is_refused() {
        let disk = MemoryDisk::new();
        Identity::load_or_create(&disk).unwrap();
        disk.set_attributes(file(), 0o640, (0, 0)).unwrap();
        let error = Identity::load_or_create(&disk).unwrap_err();
        assert!(matches!(error, IdentityError::Exposed { mode: 0o640, .. }), "{error}");
    }

    #[test]
    fn a_secret_is_not_in_what_is_shown() {
        let disk = MemoryDisk::new();
        let identity = Identity::load_or_create(&disk).unwrap();
        let seed = hex::encode(identity.secret().seed().as_slice());
        assert!(!format!("{identity:?}").contains(&seed));
        let mut text = disk.read(file(), 1_000).unwrap();
        text[30] ^= 1;
        let disk = MemoryDisk::new();
        disk.write_durable(file(), &text, Overwrite::Never).unwrap();
        let error = Identity::load_or_create(&disk).unwrap_err();
        assert!(!format!("{error:?}{error}").contains(&seed[..8]));
    }
}
