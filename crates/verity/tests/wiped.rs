//! Nothing of a private key stays in memory when it is dropped.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use erofs_testkit::place;
use erofs_testkit::require::{Absent, need};
use erofs_verity::PrivateKey;

/// Bytes of a secret that are looked for.
const NEEDLE: usize = 16;
/// Bytes that are looked at once.
const PIECE: usize = 1 << 20;

fn openssl(dir: &Path, line: &str) -> Result<String, Absent> {
    let output = Command::new("openssl").current_dir(dir).args(line.split(' ')).output();
    let output = output.map_err(|error| Absent::because(format!("openssl: {error}")))?;
    assert!(output.status.success(), "openssl {line}");
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// A number of `openssl pkey -text`, in the order of its bytes; each is inverted, so that the number itself
/// is nowhere.
fn number(text: &str, name: &str) -> Vec<u8> {
    let mut lines = text.lines().skip_while(|line| *line != name).skip(1);
    let digits: Vec<&str> =
        std::iter::from_fn(|| lines.next().filter(|line| line.starts_with(' '))).collect();
    let bytes = digits.iter().flat_map(|line| line.trim().split(':')).filter(|pair| !pair.is_empty());
    let mut bytes: Vec<u8> = bytes.map(|pair| !u8::from_str_radix(pair, 16).unwrap()).collect();
    if bytes.first() == Some(&0xff) {
        bytes.remove(0);
    }
    bytes
}

/// The second line of a file in PEM, inverted, and nothing of it elsewhere.
fn line(path: &Path) -> Vec<u8> {
    let mut text = fs::read(path).unwrap();
    let inverted = text.split(|byte| *byte == b'\n').nth(1).unwrap().iter().map(|byte| !byte).collect();
    text.fill(0);
    std::hint::black_box(text);
    inverted
}

/// In how many places of this process's writable memory a part of a number stands, in either order of its
/// bytes.
fn places(number: &[u8]) -> usize {
    let reversed: Vec<u8> = number.iter().rev().copied().collect();
    let needles = [&number[8..8 + NEEDLE], &reversed[8..8 + NEEDLE]];
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut buffer = vec![0_u8; PIECE];
    let own = buffer.as_ptr() as usize..buffer.as_ptr() as usize + PIECE;
    let mut found = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let (from, to) = range.split_once('-').unwrap();
        let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
        if !rights.starts_with("rw") {
            continue;
        }
        let (mut at, end) = (hex(from), hex(to));
        while at < end {
            let length = PIECE.min(end - at);
            let Ok(read) = memory.read_at(&mut buffer[..length], at as u64) else { break };
            for (offset, window) in buffer[..read].windows(NEEDLE).enumerate() {
                if own.contains(&(at + offset)) {
                    continue;
                }
                for needle in needles {
                    if window.iter().zip(needle).all(|(byte, inverted)| *byte == !*inverted) {
                        found += 1;
                    }
                }
            }
            at += if read == length && at + length < end { length - NEEDLE } else { length };
        }
    }
    buffer.fill(0);
    found
}

#[test]
fn nothing_of_a_key_stays_in_memory() {
    let dir = place::scratch().unwrap();
    let made = openssl(dir.path(), "genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out r.key");
    let Some(_) = need("keys in memory", made) else { return };
    openssl(dir.path(), "ecparam -name prime256v1 -genkey -noout -out p.key").unwrap();
    let numbers = |file: &str, names: &[&str]| -> Vec<Vec<u8>> {
        let text = openssl(dir.path(), &format!("pkey -in {file} -noout -text")).unwrap();
        names.iter().map(|name| number(&text, name)).collect()
    };
    let rsa = numbers(
        "r.key",
        &["privateExponent:", "prime1:", "prime2:", "exponent1:", "exponent2:", "coefficient:"],
    );
    let p256 = numbers("p.key", &["priv:"]);
    for (file, mut numbers) in [("r.key", rsa), ("p.key", p256)] {
        numbers.push(line(&dir.path().join(file)));
        let key = PrivateKey::read(File::open(dir.path().join(file)).unwrap()).unwrap();
        assert!(
            numbers.iter().map(|number| places(number)).sum::<usize>() > 0,
            "{file}: a key in use is found"
        );
        assert!(!key.sign(b"message").unwrap().is_empty());
        drop(key);
        for (index, number) in numbers.iter().enumerate() {
            assert_eq!(places(number), 0, "{file}: secret {index} after the key was dropped");
        }
    }
}
