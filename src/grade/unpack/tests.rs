//! Archives as students make them, and as somebody makes them who wants more than a grade.

use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const MIB: u64 = 1 << 20;

#[derive(Clone, Copy)]
enum Kind {
    Zip,
    Tar,
    TarGz,
}

/// Unpacks `bytes` within 64 MiB; everything that came out, or why nothing did. Whatever is beside the folder must be as it was.
fn unpacked(kind: Kind, bytes: &[u8]) -> Result<Vec<String>, String> {
    let root = tempfile::tempdir().unwrap();
    let name = match kind {
        Kind::Zip => "x.ZIP",
        Kind::Tar => "x.tar",
        Kind::TarGz => "x.tgz",
    };
    let (archive, to) = (root.path().join(name), root.path().join("class/ada"));
    fs::create_dir_all(&to).unwrap();
    fs::write(root.path().join("precious"), "precious").unwrap();
    fs::write(&archive, bytes).unwrap();
    let result = unpack(&archive, &to, 64 * MIB);
    assert_eq!(fs::read_to_string(root.path().join("precious")).unwrap(), "precious");
    let mut beside: Vec<_> =
        fs::read_dir(root.path().join("class")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.retain(|name| name != "ada");
    assert!(beside.is_empty(), "{beside:?}");
    match result {
        Ok(()) => {
            let to = super::root(&to);
            let mut names = Vec::new();
            let mut folders = vec![to.clone()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    let about = path.symlink_metadata().unwrap();
                    let name = path.strip_prefix(&to).unwrap().display().to_string();
                    let runs = about.is_file() && about.permissions().mode() & 0o111 != 0;
                    names.push(if about.is_dir() {
                        folders.push(path);
                        format!("{name}/")
                    } else if about.is_symlink() {
                        format!("{name} -> {}", fs::read_link(&path).unwrap().display())
                    } else {
                        format!("{name}{} {}", if runs { "*" } else { "" }, about.len())
                    });
                }
            }
            names.sort();
            Ok(names)
        }
        Err(UnpackError::Bad(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

/// A tar of (kind, path, link or content). Paths go in as they are: the library would refuse to write the bad ones.
fn tarred(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        if is_link {
            old.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if is_link { "" } else { *content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zipped(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        match content.strip_prefix("-> ") {
            Some(to) => zip.add_symlink(*name, to, options).unwrap(),
            None => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(content.as_bytes()).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

#[test]
fn what_was_packed_comes_out_without_its_one_folder() {
    let entries = [
        (Directory, "lab/", ""),
        (Regular, "lab/node.py", "print()"),
        (Regular, "lab/lib/util.py", "x"),
        (Regular, "lab/node.py", "print(2)"),
        (Symlink, "lab/main.py", "lib/../node.py"),
        (Link, "lab/again.py", "lab/node.py"),
        (Regular, "__MACOSX/lab/._node.py", "junk"),
    ];
    let expected = ["again.py* 8", "lib/", "lib/util.py* 1", "main.py -> lib/../node.py", "node.py* 8"];
    let tar = tarred(&entries);
    assert_eq!(unpacked(Kind::Tar, &tar).unwrap(), expected);
    assert_eq!(unpacked(Kind::TarGz, &gzipped(&tar)).unwrap(), expected);
    let zip = zipped(&[
        ("lab\\node.py", "print()"),
        ("lab/lib/", ""),
        ("lab/link", "-> node.py"),
        ("lab/.DS_Store", ""),
    ]);
    assert_eq!(unpacked(Kind::Zip, &zip).unwrap(), ["lib/", "link -> node.py", "node.py 7"]);
    let flat = zipped(&[("node.py", "print()"), ("lib/util.py", "")]);
    assert_eq!(unpacked(Kind::Zip, &flat).unwrap(), ["lib/", "lib/util.py 0", "node.py 7"]);
}

#[test]
fn what_leads_out_is_refused() {
    let refused = |entries: &[(EntryType, &str, &str)]| {
        let why = unpacked(Kind::Tar, &tarred(entries)).unwrap_err();
        assert_eq!(unpacked(Kind::TarGz, &gzipped(&tarred(entries))).unwrap_err(), why);
        why
    };
    assert_eq!(refused(&[(Regular, "../precious", "x")]), "\"../precious\" leads out of it");
    assert_eq!(refused(&[(Regular, "a/../../../precious", "x")]), "\"a/../../../precious\" leads out of it");
    assert_eq!(refused(&[(Regular, "/tmp/x", "x")]), "\"/tmp/x\" is an absolute path");
    assert_eq!(refused(&[(Symlink, "a", "/etc/passwd")]), "the link \"a\" leads out of it");
    assert_eq!(refused(&[(Symlink, "a/b", "../../precious")]), "the link \"a/b\" leads out of it");
    // Written through: the link would be there first if it were made in its turn.
    let through = [(Symlink, "a", "b"), (Regular, "a/x", "x"), (Directory, "b", "")];
    assert_eq!(refused(&through), "\"a\" is in it twice, as different things");
    // Each by itself stays inside; one behind the other they do not.
    let chain = [
        (Directory, "d/e", ""),
        (Regular, "x", ""),
        (Symlink, "d/e/up", "../.."),
        (Symlink, "out", "d/e/up/../.."),
    ];
    assert_eq!(refused(&chain), "the link \"out\" leads out of it");
    assert_eq!(refused(&[(Link, "a", "../../precious")]), "\"../../precious\" leads out of it");
    assert_eq!(refused(&[(Link, "a", "nothing")]), "\"nothing\" is a link to something that is not in it");
    let over_link = [(Symlink, "l", "x"), (Link, "a", "l")];
    assert_eq!(refused(&over_link), "\"l\" is a link to something that is not in it");
    for kind in [Char, Block, Fifo] {
        assert_eq!(refused(&[(kind, "dev", "")]), "\"dev\" is neither file, folder nor link");
    }
    let zip = |entries: &[(&str, &str)]| unpacked(Kind::Zip, &zipped(entries)).unwrap_err();
    assert_eq!(zip(&[("../../precious", "x")]), "\"../../precious\" leads out of it");
    assert_eq!(zip(&[("a", "-> ../../precious")]), "the link \"a\" leads out of it");
    assert_eq!(zip(&[("C:\\windows\\x", "x")]), "\"C:/windows/x\" is an absolute path");
}

#[test]
fn a_bomb_is_noticed_while_it_goes_off() {
    let zeroes = vec![0; 48 << 20];
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeroes", SimpleFileOptions::default()).unwrap();
    zip.write_all(&zeroes).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    assert!(zip.len() < 100_000, "{}", zip.len());
    let bomb = "it unpacks to more than 200 times its size, as only a bomb does";
    assert_eq!(unpacked(Kind::Zip, &zip).unwrap_err(), bomb);
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(zeroes.len() as u64);
    builder.append_data(&mut header, "zeroes", zeroes.as_slice()).unwrap();
    let tar = builder.into_inner().unwrap();
    assert_eq!(unpacked(Kind::TarGz, &gzipped(&tar)).unwrap_err(), bomb);
    // Not compressed it is just what it says, and small enough.
    assert_eq!(unpacked(Kind::Tar, &tar).unwrap(), [format!("zeroes {}", zeroes.len())]);
    let entries = vec![(Directory, "x", ""); MOST_FILES as usize + 1];
    assert_eq!(
        unpacked(Kind::TarGz, &gzipped(&tarred(&entries))).unwrap_err(),
        "it holds more than 100000 files"
    );
    let deep = "d/".repeat(DEEPEST + 1);
    assert!(unpacked(Kind::Zip, &zipped(&[(&deep, "")])).unwrap_err().ends_with("is too deep"));
    let long = "n".repeat(LONGEST_PART + 1);
    assert!(unpacked(Kind::Zip, &zipped(&[(&long, "")])).unwrap_err().ends_with("is too long a name"));
}

#[test]
fn more_than_the_rubric_allows_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("a.tar");
    fs::write(&archive, tarred(&[(Regular, "a", "0123456789")])).unwrap();
    let unpack = |most| {
        let to = root.path().join(format!("to{most}"));
        fs::create_dir(&to).unwrap();
        unpack(&archive, &to, most)
    };
    unpack(10).unwrap();
    assert_eq!(unpack(9).unwrap_err().to_string(), "it unpacks to more than 9B (the rubric's `max-size`)");
}

#[test]
fn what_is_no_archive_is_the_submission_s_fault() {
    for kind in [Kind::Zip, Kind::Tar, Kind::TarGz] {
        let why = unpacked(kind, b"PK\x03\x04 not really").unwrap_err();
        assert!(why.starts_with("it is damaged, or no archive"), "{why}");
        assert!(unpacked(kind, b"").is_err());
    }
    let whole = gzipped(&tarred(&[(Regular, "a", &"x".repeat(10_000))]));
    assert!(unpacked(Kind::TarGz, &whole[..whole.len() / 2]).is_err());
    assert_eq!(unpacked(Kind::Tar, &tarred(&[])).unwrap_err(), "it is empty");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Damaged anywhere, an archive is refused or unpacked, and nothing is written outside.
    #[test]
    fn no_damage_does_harm(at in 0_usize..2_000, byte: u8, cut in 0_usize..2_000) {
        let tar = tarred(&[(Regular, "lab/a", "0123"), (Symlink, "lab/b", "a"), (Link, "lab/c", "lab/a")]);
        let zip = zipped(&[("lab/a", "0123"), ("lab/b", "-> a")]);
        for (kind, mut bytes) in [(Kind::Tar, tar.clone()), (Kind::TarGz, gzipped(&tar)), (Kind::Zip, zip)] {
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length / 4);
            let _ = unpacked(kind, &bytes);
        }
    }
}
