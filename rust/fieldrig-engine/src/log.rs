//! The run log: steps, verdicts, measurements and whatever was unusual, one JSON object per line, only ever appended.
//!
//! Each line is one `write` to a file opened for appending, made before the call returns: a crash of the process keeps
//! every line, and at most the last one is torn. [`read`] leaves a torn last line out.
//!
//! ```
//! use fieldrig_engine::log::RunLog;
//!
//! let log = RunLog::start(None)?;
//! log.note("step", &[("name", "power on".into())]);
//! assert_eq!(log.lines(), 1);
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::json;
use crate::secrets::Secrets;
use crate::trace::new_file;
use fieldrig_proto::record::{Record, Value};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The log of one run. Clones are the same log.
#[derive(Clone, Debug)]
pub struct RunLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Option<(Mutex<File>, PathBuf)>,
    secrets: Secrets,
    lines: AtomicU64,
    lost: AtomicU64,
}

impl RunLog {
    /// Starts `run.jsonl` in the folder (`run-2.jsonl` and so on where the name is taken). Without a folder lines are
    /// only counted.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start(folder: Option<&Path>) -> io::Result<RunLog> {
        RunLog::start_masked(folder, Secrets::default())
    }

    /// [`RunLog::start`] of a log in which secrets are masked.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start_masked(folder: Option<&Path>, secrets: Secrets) -> io::Result<RunLog> {
        let file = folder.map(|folder| new_file(folder, "run", "jsonl")).transpose()?;
        let file = file.map(|(file, path)| (Mutex::new(file), path));
        Ok(RunLog { inner: Arc::new(Inner { file, secrets, lines: AtomicU64::new(0), lost: AtomicU64::new(0) }) })
    }

    /// Appends a record. A line that cannot be written is counted ([`RunLog::lost`]).
    pub fn write(&self, record: &Record) {
        let Some((file, _)) = &self.inner.file else {
            self.inner.lines.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut line = json::from_record(&self.inner.secrets.record(record));
        line.push('\n');
        let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        let count = if written.is_ok() { &self.inner.lines } else { &self.inner.lost };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends a record without an instant.
    pub fn note(&self, kind: &str, fields: &[(&str, Value)]) {
        let mut record = Record::new(kind.to_owned());
        record.fields = fields.iter().map(|(name, value)| ((*name).to_owned().into(), value.clone())).collect();
        self.write(&record);
    }

    /// The file, if one is written.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.file.as_ref().map(|(_, path)| path.as_path())
    }

    /// How many lines were written.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.inner.lines.load(Ordering::Relaxed)
    }

    /// How many lines could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }
}

/// Reads a run log back. A last line without a line feed was torn by a crash and is left out.
///
/// # Errors
/// The file cannot be read, or a whole line is no record; the text names the line.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let parse = |(index, line)| {
        json::to_record(line).ok_or_else(|| {
            let text = format!("{}:{}: not a record of a run log", path.display(), index + 1);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    };
    lines.enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::Folder;
    use crate::trace::{Capture, Level};
    use fieldrig_proto::dissect::{Direction, Sender};
    use fieldrig_proto::endpoint::Conn;
    use fieldrig_proto::time::{Stamp, Time};
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn every_line_is_in_the_file_when_the_call_returns() {
        let folder = Folder::new("log");
        let log = RunLog::start(Some(&folder.0)).unwrap();
        for number in 0..3i64 {
            log.note("step", &[("number", Value::Int(number)), ("text", Value::from("line\nfeed"))]);
            let records = read(log.path().unwrap()).unwrap();
            assert_eq!(records.len() as i64, number + 1);
            assert_eq!(records.last().and_then(|record| record.field("number")), Some(&Value::Int(number)));
        }
        assert_eq!((log.lines(), log.lost()), (3, 0));
    }

    #[test]
    fn secrets_are_masked() {
        let folder = Folder::new("log-secrets");
        let log = RunLog::start_masked(Some(&folder.0), Secrets::new(["swordfish"])).unwrap();
        log.note("login", &[("text", "with swordfish".into()), ("sent", Value::Bytes(b"\x01swordfish".to_vec()))]);
        let text = std::fs::read_to_string(log.path().unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"kind\":\"login\",\"fields\":{\"text\":\"with ***\",\"sent\":{\"hex\":\"012a2a2a2a2a2a2a2a2a\"}}}\n"
        );
    }

    #[test]
    fn lines_of_many_threads_do_not_mix() {
        let folder = Folder::new("log-threads");
        let log = RunLog::start(Some(&folder.0)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4i64 {
                let log = log.clone();
                scope.spawn(move || {
                    (0..500i64).for_each(|number| log.note("n", &[("t", thread.into()), ("i", number.into())]));
                });
            }
        });
        assert_eq!(read(log.path().unwrap()).unwrap().len(), 2000);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_foreign_line_is_named() {
        let folder = Folder::new("log-torn");
        std::fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("run.jsonl");
        std::fs::write(&path, "{\"kind\":\"a\",\"fields\":{}}\n{\"kind\":\"b\",\"fie").unwrap();
        assert_eq!(read(&path).unwrap(), [Record::new("a")]);
        std::fs::write(&path, "{\"kind\":\"a\",\"fields\":{}}\nhello\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("run.jsonl:2: not a record of a run log"));
    }

    #[test]
    fn without_a_folder_lines_are_counted() {
        let log = RunLog::start(None).unwrap();
        log.note("step", &[]);
        assert_eq!((log.lines(), log.path()), (1, None));
    }

    const FOLDER_OF_CHILD: &str = "FIELDRIG_TEST_LOG_FOLDER";

    /// Not a test of its own: what the process does that the next test kills.
    #[test]
    fn child_that_is_killed() {
        let Some(folder) = std::env::var_os(FOLDER_OF_CHILD) else { return };
        let folder = PathBuf::from(folder);
        let log = RunLog::start(Some(&folder)).unwrap();
        let capture = Capture::start(Some(&folder), Level::Full).unwrap();
        let link = capture.link("link", None, Sender::Client, "");
        for number in 0i64.. {
            log.note("step", &[("number", number.into())]);
            let at = Stamp::exact(Time::from_nanos(number as u64));
            capture.frame(link, Conn(0), Direction::Out, at, &number.to_le_bytes());
            if number == 99 {
                capture.flush().unwrap();
                println!("\nhundred lines");
            }
        }
    }

    #[test]
    fn a_process_that_is_killed_leaves_every_line_and_what_was_flushed() {
        let folder = Folder::new("log-killed");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::tests::child_that_is_killed", "--nocapture"])
            .env(FOLDER_OF_CHILD, &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line == "hundred lines"));
        child.kill().unwrap();
        child.wait().unwrap();
        let numbers: Vec<_> = read(&folder.0.join("run.jsonl")).unwrap().into_iter().map(|r| r.fields).collect();
        assert!(numbers.len() >= 100);
        let expected = (0..numbers.len() as i64).map(|number| vec![("number".into(), Value::Int(number))]);
        assert!(numbers.into_iter().eq(expected));
        let frames = crate::trace::read(&folder.0.join("trace.pcapng")).unwrap();
        assert!(frames.len() >= 100);
        let expected = (0..frames.len() as i64).map(i64::to_le_bytes);
        assert!(frames.into_iter().map(|frame| frame.bytes).eq(expected.map(Vec::from)));
    }
}
