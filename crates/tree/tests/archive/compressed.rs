//! Compressed archives.

use std::io::{Cursor, Read as _, Write as _};
use std::process::{Command, Stdio};

use erofs_testkit::require::{need, program};
use erofs_tree::source::tar::decompressed;
use erofs_tree::{Silent, Source as _, Stream as _, TarOptions, TarSource, TarStream};

use super::make::{archive, file};

fn filtered(command: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

fn whole(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    decompressed(Cursor::new(bytes))?.read_to_end(&mut all)?;
    Ok(all)
}

#[test]
fn forms_are_recognised() {
    let content: Vec<u8> = (0..400_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let bytes = archive(&[file(b"a", &content), file(b"z", b"z")]);
    for command in [&["gzip", "-1"][..], &["zstd", "-3"], &["xz", "-1"], &["lzip", "-1"]] {
        let Some(_) = need("compressed archives", program(command[0])) else { continue };
        let half = bytes.len() / 2;
        let one = filtered(command, &bytes);
        let several = [filtered(command, &bytes[..half]), filtered(command, &bytes[half..])].concat();
        for packed in [&one, &several] {
            assert!(whole(packed).unwrap() == bytes, "{command:?}");
            let options = TarOptions::default();
            let mut stream = TarStream::decompressed(Cursor::new(packed), "-", &options).unwrap();
            assert_eq!(stream.finish().unwrap().counts().files, 2, "{command:?}");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tar");
            std::fs::write(&path, packed).unwrap();
            let mut source = TarSource::open(path, options).unwrap();
            assert_eq!(source.scan(&Silent).unwrap().counts().file_bytes, content.len() as u64 + 1);
        }
        for length in [one.len() - 1, one.len() / 2, 300] {
            assert!(whole(&one[..length]).is_err(), "{command:?} cut at {length}");
        }
        let mut damaged = one.clone();
        damaged[one.len() / 2] ^= 0x55;
        assert!(whole(&damaged).is_err() || whole(&damaged).unwrap() != bytes, "{command:?}");
    }
}

#[test]
fn windows_are_bounded() {
    let Some(_) = need("compressed archives", program("zstd")) else { return };
    let large = filtered(&["zstd", "--ultra", "--long=28", "-1"], &vec![7; 1 << 20]);
    // The size of the content is not known on a pipe, so the frame states the whole window.
    let error = whole(&large).unwrap_err().to_string();
    assert!(error.starts_with("zstd: "), "{error}");
    assert_eq!(whole(&filtered(&["zstd", "--long=27", "-1"], &vec![7; 1 << 20])).unwrap().len(), 1 << 20);
}

#[test]
fn what_is_not_compressed_stays() {
    for name in [&b"LZIP"[..], b"BZh9", b"\x1f\x8b"] {
        let bytes = archive(&[file(name, b"")]);
        assert_eq!(whole(&bytes).unwrap(), bytes);
    }
    assert_eq!(whole(b"").unwrap(), b"");
    assert_eq!(whole(b"BZh9xxx").unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}
