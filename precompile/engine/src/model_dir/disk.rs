//! Writing so that it stays written: content and folder are synced before a name counts.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::DirError;

/// Turns a system's error into ours; a full disk or quota has its own.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            DirError::Full { path }
        }
        _ => DirError::Io { action, path, source },
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, DirError> {
    fs::read(path).map_err(failed("read", path))
}

/// Writes a file that is not read until its folder is renamed.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), DirError> {
    let file = File::options().write(true).create(true).truncate(true).open(path).map_err(failed("create", path))?;
    fill(file, path, content)
}

fn fill(mut file: File, path: &Path, content: &[u8]) -> Result<(), DirError> {
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Replaces a file: readers see the old content or the new, never a part.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), DirError> {
    let mut name = path.file_name().expect("a file's name").to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    let written = write(&unfinished, content).and_then(|()| rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Renames within one folder and makes it last.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DirError> {
    fs::rename(from, to).map_err(failed("rename", from))?;
    sync_dir(to.parent().expect("a path in a folder"))
}

/// Makes the names in a folder last. Windows syncs them with the file and cannot open a folder.
pub(super) fn sync_dir(path: &Path) -> Result<(), DirError> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_says_what_to_do() {
        // `/dev/full` answers every write as a full disk does.
        let path = Path::new("/dev/full");
        let file = File::options().write(true).open(path).unwrap();
        let error = fill(file, path, b"content").unwrap_err();
        assert!(matches!(error, DirError::Full { .. }));
        assert!(error.to_string().contains("free some space or choose another --data-dir"), "{error}");
    }

    #[test]
    fn a_failed_replacement_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note.json");
        replace(&path, b"old").unwrap();
        // The name of the new content is taken by a folder, so writing it fails.
        fs::create_dir(dir.path().join("note.json.new")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(read(&path).unwrap(), b"old");
    }
}
