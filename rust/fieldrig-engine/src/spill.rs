//! Files for what does not fit into the memory of a stream.
//!
//! Rules of this file:
//! - A file is made when the first byte goes into it, in the folder of the run, or where the system keeps temporary files.
//! - It has no name from then on: it is gone when the stream is, also after a kill, and what was received never lies
//!   about. What a run leaves behind is its trace, in which secrets are masked.
//! - A limit keeps a device that talks without end from filling the disk.

use fieldrig_proto::line::stream::{Spill, Spills};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file without a name.
struct SpillFile {
    folder: PathBuf,
    file: Option<File>,
    length: u64,
    limit: u64,
}

/// The files of one stream, in the folder of the run if it has one. None of them is larger than `limit` bytes.
#[must_use]
pub fn spills(folder: Option<&Path>, limit: u64) -> Spills {
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let file = |folder: &Path| Box::new(SpillFile { folder: folder.to_path_buf(), file: None, length: 0, limit });
    Spills { bytes: file(&folder), stamps: file(&folder) }
}

impl Spill for SpillFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.length + bytes.len() as u64 > self.limit {
            return Err(format!("it may not be larger than {} bytes", self.limit));
        }
        if self.file.is_none() {
            self.file = Some(nameless(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(bytes, self.length).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), String> {
        let Some(file) = &self.file else { return Err("it was never written".to_owned()) };
        file.read_exact_at(into, at).map_err(|error| error.to_string())
    }
}

/// A new file that only we can reach.
fn nameless(folder: &Path) -> std::io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".fieldrig-spill-{}-{number}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_again_and_no_file_is_seen() {
        let folder = std::env::temp_dir().join(format!("fieldrig-spill-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut spill = spills(Some(&folder), 10).bytes;
        spill.append(b"boot").expect("room");
        spill.append(b" ok").expect("room");
        let mut read = [0; 4];
        spill.read(2, &mut read).expect("it was appended");
        assert_eq!(&read, b"ot o");
        assert_eq!(spill.append(b"1234"), Err("it may not be larger than 10 bytes".to_owned()));
        assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0);
        std::fs::remove_dir(&folder).expect("it is empty");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let mut spill = spills(Some(Path::new("/proc/fieldrig")), 10).bytes;
        let error = spill.append(b"boot").expect_err("nothing can be made there");
        assert!(error.starts_with("/proc/fieldrig: "), "{error}");
    }
}
