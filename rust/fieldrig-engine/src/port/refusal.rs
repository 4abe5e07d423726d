//! Why a serial port cannot be opened, with who is in the way and what to do about it.

use super::{open_error, usb};
use crate::error::EngineError;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The error for a device node that is not there: says what is.
pub(super) fn missing(url: &str, path: &Path, error: &io::Error) -> EngineError {
    if error.kind() != io::ErrorKind::NotFound {
        return open_error(url, error);
    }
    let what = "no such device or file".to_owned();
    let name = path.to_string_lossy();
    let hint = if name.starts_with("tty") && !name.contains('/') {
        format!("a device node has its whole path, and three slashes: serial:///dev/{name}")
    } else {
        usb::instead_of(Path::new("/"), &name)
    };
    EngineError::Port { url: url.to_owned(), what, hint: Some(hint) }
}

/// The error for something that is there and is no serial port: a file, a folder, or a device of another kind, which
/// others may have open without being in the way.
pub(super) fn no_port(url: &str, path: &Path) -> Option<EngineError> {
    let found = std::fs::metadata(path).ok()?;
    let is_port = found.file_type().is_char_device() && class(found.rdev()).is_none_or(|class| class == "tty");
    (!is_port).then(|| EngineError::Port {
        url: url.to_owned(),
        what: "this is no serial port".to_owned(),
        hint: Some("give the device node, such as /dev/ttyUSB0".to_owned()),
    })
}

/// What the kernel calls the kind of a character device; `None` where it does not say, as of a pty.
fn class(device: u64) -> Option<String> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let class = std::fs::read_link(format!("/sys/dev/char/{major}:{minor}/subsystem")).ok()?;
    Some(class.file_name()?.to_string_lossy().into_owned())
}

/// The error for a device node that is there and could not be opened.
pub(super) fn refused(url: &str, path: &Path, found: &Metadata, error: &serialport::Error) -> EngineError {
    let port = |what: String, hint: Option<String>| EngineError::Port { url: url.to_owned(), what, hint };
    match error.kind {
        // So the crate calls the flag of the kernel (EBUSY) and a lock (`flock`) of somebody else.
        serialport::ErrorKind::NoDevice => taken(url, path, &holders(path)),
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            port("permission denied".to_owned(), Some(permission(path, found)))
        }
        serialport::ErrorKind::Io(kind) => open_error(url, &io::Error::from(kind)),
        _ => port(error.to_string(), None),
    }
}

/// The error for a device that others have, who are named as far as this user may see them.
pub(super) fn taken(url: &str, path: &Path, holders: &[String]) -> EngineError {
    let (what, hint) = match holders {
        [] => (
            "the port is in use by a process that you may not see".to_owned(),
            format!("`sudo fuser -v {}` names it", path.display()),
        ),
        holders => (format!("the port is in use by {}", holders.join(", ")), "close it there first".to_owned()),
    };
    EngineError::Port { url: url.to_owned(), what, hint: Some(hint) }
}

/// What to do about a device that this user may not open.
fn permission(path: &Path, found: &Metadata) -> String {
    // SAFETY: takes no pointers and cannot fail.
    let user = entry("/etc/passwd", 2, unsafe { libc::geteuid() });
    let user = user.map_or_else(|| "USER".to_owned(), |entry| first(&entry));
    let group = entry("/etc/group", 2, found.gid());
    let listed = group.as_ref().is_some_and(|entry| {
        entry.rsplit(':').next().is_some_and(|members| members.split(',').any(|member| member == user))
    });
    let group = group.map_or_else(|| found.gid().to_string(), |entry| first(&entry));
    let mode = found.mode() & 0o777;
    if mode & 0o060 != 0o060 {
        let path = path.display();
        return format!(
            "{path} belongs to group {group}, which may not use it either (mode {mode:03o}): \
             a udev rule with GROUP=\"dialout\", MODE=\"0660\" opens it to a group"
        );
    }
    if listed {
        return format!("the device belongs to group {group}, and {user} is a member of it: log in again");
    }
    format!("the device belongs to group {group}: `sudo usermod -aG {group} {user}`, then log in again")
}

/// The line of a file like `/etc/passwd` whose field has this number.
fn entry(file: &str, field: usize, number: u32) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let wanted = number.to_string();
    text.lines().find(|line| line.split(':').nth(field) == Some(&*wanted)).map(str::to_owned)
}

fn first(entry: &str) -> String {
    entry.split(':').next().unwrap_or_default().to_owned()
}

/// Who has the device open: `name (pid 123)`, as far as this user may see.
pub(super) fn holders(path: &Path) -> Vec<String> {
    let Ok(device) = path.canonicalize() else { return Vec::new() };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == device));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let us = if pid == std::process::id() { ", this process" } else { "" };
            found.push(format!("{} (pid {pid}{us})", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_told_with_what_is() {
        let error = io::Error::from_raw_os_error(libc::ENOENT);
        let error = missing("serial:///dev/ttyUSB97", Path::new("/dev/ttyUSB97"), &error);
        assert_eq!(error.to_string(), "serial:///dev/ttyUSB97: no such device or file");
        assert!(error.hint().is_some_and(|hint| hint.contains("plugged in")), "{error:?}");
    }

    #[test]
    fn what_is_no_serial_port_is_not_told_as_one_in_use() {
        for path in ["/dev/null", "/dev/zero", "/", "/etc/passwd"] {
            // Who has /dev/null open is not in the way. (Where nothing is known of the class of a device, it is opened.)
            let Some(error) = no_port("serial://x", Path::new(path)) else {
                assert!(path.starts_with("/dev") && !Path::new("/sys/dev/char").exists(), "{path}");
                continue;
            };
            assert_eq!(error.to_string(), "serial://x: this is no serial port", "{path}");
        }
        assert!(no_port("serial://x", Path::new("/dev/ptmx")).is_none(), "a terminal");
        assert!(no_port("serial://x", Path::new("/dev/ttyUSB97")).is_none(), "missing is another error");
    }

    #[test]
    fn a_name_without_its_folder_is_told_how_to_write_it() {
        let error = missing("serial://ttyUSB97", Path::new("ttyUSB97"), &io::Error::from_raw_os_error(libc::ENOENT));
        assert!(error.hint().is_some_and(|hint| hint.ends_with("serial:///dev/ttyUSB97")), "{error:?}");
    }

    #[test]
    fn a_device_for_root_alone_needs_a_rule_and_no_group() {
        let path = std::env::temp_dir().join(format!("fieldrig-refusal-{}", std::process::id()));
        std::fs::write(&path, "").expect("written");
        for (mode, remedy) in [(0o600, "a udev rule"), (0o660, "log in again")] {
            let mut permissions = std::fs::metadata(&path).expect("there").permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode);
            std::fs::set_permissions(&path, permissions).expect("ours");
            let hint = permission(&path, &std::fs::metadata(&path).expect("there"));
            assert!(hint.contains(remedy) && hint.contains("belongs to group"), "{hint}");
        }
        std::fs::remove_file(path).expect("it was made");
    }
}
