//! A small ext4 in a file, whose power can be cut.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::ioctl::{Setter, ioctl};

/// Room for the client's margin of 16 MiB and a few segments; only what is written takes space.
const IMAGE_BYTES: u64 = 192 << 20;

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`: from here on nothing reaches the disk.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written out, as when power fails.
const NO_LOG_FLUSH: u32 = 2;

/// How often, and how long after the last time, it is tried to unmount what a process that was
/// killed has just let go: two seconds.
const UNMOUNT_TRIES: u32 = 100;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// A file system of our own. It is unmounted and removed when this is dropped.
#[derive(Debug)]
pub(super) struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl LoopDisk {
    /// Makes and mounts one in this directory. Blocks for some ten milliseconds.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let disk = Self { image: dir.join("disk.img"), mount: dir.join("disk"), mounted: false };
        std::fs::create_dir_all(&disk.mount).context("cannot make a place to mount")?;
        let image = File::create(&disk.image).context("cannot make an image")?;
        image.set_len(IMAGE_BYTES).context("cannot make an image long")?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&disk.image))?;
        disk.mounted()
    }

    fn mounted(mut self) -> Result<Self> {
        self.mount()?;
        Ok(self)
    }

    fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power: what was not synced is lost. Whoever has files open here gets errors.
    pub(super) fn cut(&self) -> Result<()> {
        let root = File::open(&self.mount).context("cannot open the root of the disk")?;
        // SAFETY: the call reads one u32 through its pointer, as `_IOR` with __u32 says, and
        // `Setter` points it to one that lives for the whole call. It changes nothing of ours.
        #[expect(unsafe_code, reason = "rustix has no safe form of this call")]
        let done = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
        done.context("this file system cannot be shut down")
    }

    /// Power is back: the file system is mounted again, its journal replayed.
    pub(super) fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn unmount(&mut self) -> Result<()> {
        let mut last = None;
        for _ in 0..UNMOUNT_TRIES {
            match run(Command::new("umount").arg(&self.mount)) {
                Ok(()) => {
                    self.mounted = false;
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
            std::thread::sleep(UNMOUNT_PAUSE);
        }
        Err(last.context("cannot unmount")?)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Gone from the tree at once, and from the system when its last file is closed.
            let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        }
        // What stays is in the directory of the cycle, which goes with it.
        let _ = std::fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let name = command.get_program().to_string_lossy().into_owned();
    let output = output.with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
