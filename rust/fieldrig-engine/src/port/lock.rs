//! One owner for each real wire, across processes.
//!
//! Rules of this file:
//! - The lock is that of the kernel on an open file (`flock`), so it dies with its process however that ends. What stands in
//!   the file only tells others who it is; a file without a lock means nothing and is never removed, since removing it
//!   would let two in.
//! - Names that mean one device are one name: links and stable USB names are followed first.
//! - Looking who holds a wire takes no lock, not even for a moment: `/proc/locks` tells.

use super::usb;
use crate::error::EngineError;
use fieldrig_proto::time::{Duration, human};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How often a wire that is held is looked at again.
const SLICE: Duration = Duration::from_millis(20);

/// Who holds a wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its program.
    pub program: String,
    /// For what: the name of a bench.
    pub what: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = if self.pid == std::process::id() { ", this process" } else { "" };
        write!(f, "{} (pid {}{us})", self.program, self.pid)?;
        if !self.what.is_empty() {
            write!(f, " for {}", self.what)?;
        }
        let age = i64::try_from(seconds_now().saturating_sub(self.since)).unwrap_or(i64::MAX);
        write!(f, ", for {}", human(age.saturating_mul(1_000_000_000)).replace("0 ns", "less than 1 s"))
    }
}

/// A wire that is ours until this is dropped.
#[derive(Debug)]
pub struct WireLock {
    name: String,
    file: File,
}

impl WireLock {
    /// Takes a wire: a device (`/dev/ttyUSB0`, `usb:0403:6001`) or `host:port`. `what` is for others: the name of a bench.
    /// While somebody else has it, waits at most `wait`, as long as `go_on` says so.
    ///
    /// # Errors
    /// Somebody else has it, who is named; `go_on` said no; the folder of locks cannot be used.
    pub fn acquire(
        name: &str,
        what: &str,
        wait: Duration,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<WireLock, EngineError> {
        WireLock::acquire_in(&folder()?, name, what, wait, go_on)
    }

    /// [`WireLock::acquire`] with a folder of choice.
    ///
    /// # Errors
    /// Those of [`WireLock::acquire`].
    pub fn acquire_in(
        folder: &Path,
        name: &str,
        what: &str,
        wait: Duration,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<WireLock, EngineError> {
        let name = one_name(name)?;
        let path = folder.join(file_name(&name));
        let failed = |error: io::Error| EngineError::machine(&format!("the lock of {name}"), &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&path).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= wait => return Err(held(&name, &path, wait)),
                Err(TryLockError::WouldBlock) if !go_on() => return Err(EngineError::Interrupted),
                Err(TryLockError::WouldBlock) => std::thread::sleep(SLICE.min(wait.saturating_sub(begun.elapsed()))),
            }
        }
        sign(&mut file, what).map_err(failed)?;
        Ok(WireLock { name, file })
    }

    /// The wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who has a wire, if anybody has.
    #[must_use]
    pub fn holder(name: &str) -> Option<Holder> {
        WireLock::holder_in(&folder().ok()?, name)
    }

    /// [`WireLock::holder`] with a folder of choice.
    #[must_use]
    pub fn holder_in(folder: &Path, name: &str) -> Option<Holder> {
        let path = folder.join(file_name(&one_name(name).ok()?));
        read(&path).filter(|holder| is_locked(&path, holder.pid))
    }
}

impl Drop for WireLock {
    fn drop(&mut self) {
        // Nobody reads what stands in a file without a lock; it is emptied for people who look. Closing gives the lock up.
        let _ = self.file.set_len(0);
    }
}

/// The folder of locks of this user: the same for all sessions of it.
fn folder() -> Result<PathBuf, EngineError> {
    // SAFETY: takes no pointers and cannot fail.
    let user = unsafe { libc::getuid() };
    let runtime = PathBuf::from(format!("/run/user/{user}"));
    let folder = match std::fs::metadata(&runtime) {
        Ok(found) if found.is_dir() && found.uid() == user => runtime.join("fieldrig"),
        _ => std::env::temp_dir().join(format!("fieldrig-{user}")),
    };
    let failed = |error: io::Error| EngineError::machine(&format!("the folder of locks, {}", folder.display()), &error);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != user {
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else")));
    }
    Ok(folder)
}

/// The one name of a wire that has several.
fn one_name(name: &str) -> Result<String, EngineError> {
    let name = match usb::device_of(Path::new("/"), name) {
        Some(found) => found?.display().to_string(),
        None => name.to_owned(),
    };
    if !name.starts_with('/') {
        return Ok(name.to_ascii_lowercase());
    }
    Ok(std::fs::canonicalize(&name).map_or(name, |path| path.display().to_string()))
}

/// Readable, and different for different names.
fn file_name(name: &str) -> String {
    let readable = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let text: String = name.trim_start_matches('/').chars().take(60).map(readable).collect();
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{text}-{hash:016x}.lock")
}

fn held(name: &str, path: &Path, wait: Duration) -> EngineError {
    let holder = read(path).map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
    let waited = match wait {
        Duration::ZERO => String::new(),
        wait => format!("; waited {}", human(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX))),
    };
    EngineError::Port {
        url: name.to_owned(),
        what: format!("the wire is held by {holder}{waited}"),
        hint: Some("one run at a time: end the other, or let this one wait (lock_wait in [bench])".to_owned()),
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Says who holds the lock, for others.
fn sign(file: &mut File, what: &str) -> io::Result<()> {
    let program = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let text = serde_json::json!({
        "pid": std::process::id(), "program": program.trim(), "what": what, "since": seconds_now(),
    });
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.to_string().as_bytes())
}

fn read(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    let found: serde_json::Value = serde_json::from_str(&text).ok()?;
    let field = |name: &str| found.get(name)?.as_str().map(str::to_owned);
    Some(Holder {
        pid: u32::try_from(found.get("pid")?.as_u64()?).ok()?,
        program: field("program")?,
        what: field("what")?,
        since: found.get("since")?.as_u64()?,
    })
}

/// Whether a process has a `flock` on a file. Devices are not compared: some file systems show two numbers for one.
fn is_locked(path: &Path, pid: u32) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    let (pid, inode) = (pid.to_string(), format!(":{}", found.ino()));
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        parts.contains(&"FLOCK") && parts.contains(&pid.as_str()) && parts.iter().any(|part| part.ends_with(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fieldrig-lock-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn take(folder: &Path, name: &str, wait: Duration) -> Result<WireLock, EngineError> {
        WireLock::acquire_in(folder, name, "bench `rack2`", wait, &mut || true)
    }

    #[test]
    fn a_wire_has_one_owner_who_is_named() {
        let folder = folder("one");
        let lock = take(&folder, "192.0.2.7:502", Duration::ZERO).expect("free");
        let error = take(&folder, "192.0.2.7:502", Duration::from_millis(30)).expect_err("held");
        let text = error.to_string();
        let pid = std::process::id();
        assert!(text.starts_with("192.0.2.7:502: the wire is held by "), "{text}");
        assert!(text.contains(&format!("(pid {pid}, this process) for bench `rack2`, for ")), "{text}");
        assert!(text.ends_with("; waited 30 ms"), "{text}");
        assert!(error.hint().is_some_and(|hint| hint.contains("lock_wait")));
        assert_eq!(WireLock::holder_in(&folder, "192.0.2.7:502").map(|holder| holder.pid), Some(pid));
        take(&folder, "192.0.2.7:503", Duration::ZERO).expect("another wire");
        drop(lock);
        assert_eq!(WireLock::holder_in(&folder, "192.0.2.7:502"), None);
        take(&folder, "192.0.2.7:502", Duration::ZERO).expect("free again");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn names_of_one_device_are_one_wire() {
        let folder = folder("names");
        let (device, link) = (folder.join("ttyX"), folder.join("by-id"));
        std::fs::write(&device, "").expect("a file");
        std::os::unix::fs::symlink(&device, &link).expect("a link");
        let lock = take(&folder, &device.display().to_string(), Duration::ZERO).expect("free");
        assert!(take(&folder, &link.display().to_string(), Duration::ZERO).is_err());
        drop(lock);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn who_waits_gets_it_when_it_is_free_and_can_give_up() {
        let folder = folder("wait");
        let lock = take(&folder, "wire", Duration::ZERO).expect("free");
        let given_up = WireLock::acquire_in(&folder, "wire", "", Duration::from_secs(60), &mut || false);
        assert_eq!(given_up.map(|_| ()), Err(EngineError::Interrupted));
        let mut lock = Some(lock);
        // Asked only while it is held: the first time frees it.
        let got = WireLock::acquire_in(&folder, "wire", "", Duration::from_secs(60), &mut || {
            drop(lock.take());
            true
        });
        assert_eq!(got.expect("free now").name(), "wire");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_lock_dies_with_its_process() {
        let folder = folder("dies");
        let path = folder.join(file_name("wire"));
        // Another program takes the lock of the kernel on the same file, and is killed.
        let mut other = std::process::Command::new("flock")
            .arg(&path)
            .args(["sh", "-c", "echo held; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("flock of util-linux");
        let mut line = [0; 5];
        other.stdout.take().expect("piped").read_exact(&mut line).expect("it holds the lock");
        let error = take(&folder, "wire", Duration::ZERO).expect_err("held");
        assert_eq!(error.to_string(), "wire: the wire is held by another process");
        // `sleep` inherited the descriptor from `flock`, and is its child: both have to go.
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", other.id())).unwrap_or_default();
        other.kill().expect("killed");
        other.wait().expect("gone");
        for child in children.split_whitespace() {
            let killed = std::process::Command::new("kill").args(["-9", child]).status().expect("kill");
            assert!(killed.success());
        }
        take(&folder, "wire", Duration::from_secs(20)).expect("free");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
