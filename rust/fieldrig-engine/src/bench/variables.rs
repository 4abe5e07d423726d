//! What stands for `${NAME}` in the files of a bench.

use std::path::PathBuf;

/// The name of the folder of this process; no environment variable changes what it is.
const FOLDER: &str = "FIELDRIG_DIR";

/// The value of an environment variable; `FIELDRIG_DIR` is a folder that this process has for itself: programs of the
/// bench put their sockets there. Its path is short, since that of a unix socket has 107 bytes at most (unix(7)). Whoever
/// starts such a program makes the folder.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    if name == FOLDER { Some(folder().to_string_lossy().into_owned()) } else { std::env::var(name).ok() }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("fieldrig-run-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_process_is_its_own() {
        let found = variable(FOLDER).expect("it is always there");
        assert!(found.ends_with(&format!("/fieldrig-run-{}", std::process::id())), "{found}");
        assert_eq!(variable("FIELDRIG_NO_SUCH_VARIABLE"), None);
    }
}
