//! Fingerprints: whether what was graded is still what is to be graded.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same on every machine and in every version. It
/// notices change; it is no seal.
#[derive(Clone, Copy, Debug)]
pub struct Print(u64);

impl Default for Print {
    fn default() -> Self {
        Print(0xcbf2_9ce4_8422_2325)
    }
}

impl Print {
    /// One of several texts, each with its length, so that no two lists run together.
    pub fn of<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
        let mut print = Print::default();
        for text in texts {
            print.text(text.as_ref());
        }
        print.hex()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The fingerprint of a file's content.
///
/// # Errors
/// It cannot be read.
pub fn file(path: &Path) -> io::Result<String> {
    let mut print = Print::default();
    add_file(&mut print, path)?;
    Ok(print.hex())
}

fn add_file(print: &mut Print, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => print.bytes(&buffer[..read]),
        }
    }
}

/// The fingerprint of everything below a folder: names, kinds, contents, whether it may be executed, where links
/// point. Of what is beyond `most_bytes` only that it is there: it will be refused.
///
/// # Errors
/// Something cannot be read.
pub fn folder(root: &Path, most_bytes: u64) -> io::Result<String> {
    let mut print = Print::default();
    let mut bytes = 0;
    add_folder(&mut print, root, most_bytes, &mut bytes)?;
    Ok(print.hex())
}

fn add_folder(print: &mut Print, folder: &Path, most_bytes: u64, bytes: &mut u64) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, path) = (entry.file_type()?, entry.path());
        print.text(&entry.file_name().to_string_lossy());
        if kind.is_dir() {
            print.text("folder");
            add_folder(print, &path, most_bytes, bytes)?;
            print.text("end");
        } else if kind.is_symlink() {
            print.text("link");
            print.text(&fs::read_link(&path)?.to_string_lossy());
        } else if kind.is_file() {
            let about = entry.metadata()?;
            let runs = about.permissions().mode() & 0o111 != 0;
            print.text(if runs { "program" } else { "file" });
            print.bytes(&about.len().to_le_bytes());
            *bytes += about.len();
            if *bytes <= most_bytes {
                add_file(print, &path)?;
            }
        } else {
            print.text("other");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_all_that_matters_to_a_run() {
        let folder_of = |make: &dyn Fn(&Path)| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("lib")).unwrap();
            fs::write(root.path().join("node.py"), "print()").unwrap();
            make(root.path());
            folder(root.path(), 1 << 20).unwrap()
        };
        let same = folder_of(&|_| {});
        assert_eq!(same, folder_of(&|_| {}));
        let changes: [&dyn Fn(&Path); 5] = [
            &|root| fs::write(root.join("node.py"), "print(1)").unwrap(),
            &|root| fs::write(root.join("lib/x"), "").unwrap(),
            &|root| fs::rename(root.join("lib"), root.join("lob")).unwrap(),
            &|root| std::os::unix::fs::symlink("node.py", root.join("link")).unwrap(),
            &|root| fs::set_permissions(root.join("node.py"), fs::Permissions::from_mode(0o755)).unwrap(),
        ];
        for change in changes {
            assert_ne!(same, folder_of(change));
        }
    }

    #[test]
    fn lists_do_not_run_together() {
        assert_ne!(Print::of(["ab", "c"]), Print::of(["a", "bc"]));
        assert_eq!(Print::of(["a"]), Print::of(vec!["a".to_owned()]));
    }
}
