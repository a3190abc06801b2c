//! Golden images and domains: hash trees compared with veritysetup, signatures against openssl, and secrets
//! that stay secret.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it where it stands")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use erofs_testkit::require::{Absent, need};
use erofs_testkit::{content, place};
use erofs_verity::{Certificates, RootHash, Trust, signature};
use serde_json::Value;
use tempfile::TempDir;

const MKFS: &str = env!("CARGO_BIN_EXE_mkfs-erofs");
const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// A program of another package.
fn program(name: &str, package: &str) -> Result<PathBuf, Absent> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps programs for administrators, which is not in the path of others.
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Absent::because(format!("{name} is not on this machine (package {package})")))
}

fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn ok<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A tree with files of these lengths.
fn tree(lengths: &[usize]) -> TempDir {
    let dir = place::scratch().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    for (index, &length) in lengths.iter().enumerate() {
        let path = dir.path().join("tree").join(index.to_string());
        fs::write(path, content::noise(index as u64, length)).unwrap();
    }
    dir
}

/// Builds `image` in the directory from its tree; the summary as JSON.
fn mkfs(dir: &Path, options: &[&str], image: &str) -> Value {
    let arguments = [&["-T0", "--all-root", "--json"], options, &[image, "tree"]].concat();
    let output = Command::new(MKFS).current_dir(dir).args(&arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn hash_areas_are_those_of_veritysetup() {
    let Some(veritysetup) = need("trees against veritysetup", program("veritysetup", "cryptsetup-bin"))
    else {
        return;
    };
    // Data of one block, of one and of several blocks of hashes, and of blocks that are no multiple of 4096.
    for (lengths, options) in [
        (&[][..], &[][..]),
        (&[100, 5000], &[]),
        (&[4096 * 120], &[]),
        (&[4096 * 127, 4096 * 3], &[]),
        (&[9_000_000, 1, 4096 * 200, 77_777], &["--ishare-key"]),
        (&[3000, 700], &["-b512"]),
    ] {
        let dir = tree(lengths);
        let place = |name: &str| dir.path().join(name);
        let alone = mkfs(dir.path(), &[options, &["--verity=own"]].concat(), "image");
        let report = &alone["verity"];
        let word = |key: &str| report[key].as_str().unwrap().to_owned();
        assert_eq!((report["hash_file"].as_str(), report["hash_offset"].as_u64()), (Some("own"), Some(0)));
        let (salt, uuid) = (format!("--salt={}", word("salt")), format!("--uuid={}", word("uuid")));
        let format = |data: &Path, hashes: &Path, more: &[&str]| {
            let words = ["format", salt.as_str(), uuid.as_str()]
                .into_iter()
                .chain(more.iter().copied())
                .map(OsStr::new);
            let text = ok(&veritysetup, words.chain([data.as_os_str(), hashes.as_os_str()]));
            text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned()
        };
        let theirs = place("theirs");
        assert_eq!(format(&place("image"), &theirs, &[]), word("root_hash"));
        assert_eq!(fs::read(&theirs).unwrap(), fs::read(place("own")).unwrap(), "{lengths:?}");
        let verify = [
            OsStr::new("verify"),
            place("image").as_os_str(),
            place("own").as_os_str(),
            word("root_hash").as_ref(),
        ]
        .map(OsStr::to_owned);
        ok(&veritysetup, verify);

        let behind = mkfs(dir.path(), &[options, &["--verity"]].concat(), "both");
        assert_eq!(behind["verity"]["root_hash"], alone["verity"]["root_hash"]);
        let offset = behind["verity"]["hash_offset"].as_u64().unwrap();
        fs::copy(place("image"), place("glued")).unwrap();
        let glue = [format!("--hash-offset={offset}"), format!("--data-blocks={}", offset / 4096)];
        let glue: Vec<&str> = glue.iter().map(String::as_str).collect();
        assert_eq!(format(&place("glued"), &place("glued"), &glue), word("root_hash"));
        assert_eq!(fs::read(place("glued")).unwrap(), fs::read(place("both")).unwrap(), "{lengths:?}");
    }
}

#[test]
fn salt_and_uuid_can_be_given() {
    let Some(veritysetup) = need("salts against veritysetup", program("veritysetup", "cryptsetup-bin"))
    else {
        return;
    };
    let dir = tree(&[200_000]);
    for salt in ["-", "00", &"5a".repeat(256)] {
        let uuid = "11111111-2222-4333-8444-555555555555";
        let options = ["--verity=own", "--verity-salt", salt, "--verity-uuid", uuid];
        let report = mkfs(dir.path(), &options, "image");
        assert_eq!(
            (report["verity"]["salt"].as_str(), report["verity"]["uuid"].as_str()),
            (Some(salt), Some(uuid))
        );
        let words = [format!("--salt={salt}"), format!("--uuid={uuid}")];
        let theirs = dir.path().join("theirs");
        let image = dir.path().join("image");
        let flags = ["format", &words[0], &words[1]].map(OsStr::new);
        ok(&veritysetup, flags.into_iter().chain([image.as_os_str(), theirs.as_os_str()]));
        assert_eq!(fs::read(theirs).unwrap(), fs::read(dir.path().join("own")).unwrap(), "{salt}");
    }
}

#[test]
fn the_same_source_gives_the_same_tree() {
    let dir = tree(&[3_000_000, 10]);
    let one = mkfs(dir.path(), &["--verity", "--workers=1"], "a");
    let two = mkfs(dir.path(), &["--verity", "--workers=3"], "b");
    assert_eq!(one["verity"], two["verity"]);
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), fs::read(dir.path().join("b")).unwrap());
}

#[test]
fn sidecars_are_in_their_dialects() {
    let dir = tree(&[100_000]);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let report = mkfs(dir.path(), &["--verity-sidecar=systemd", "--verity-roothash=root"], "app.raw");
    let root = report["verity"]["root_hash"].as_str().unwrap();
    assert_eq!((read("root").as_str(), read("app.roothash").as_str()), (root, root));
    assert_eq!(report["verity"]["hash_file"], "app.verity");
    assert_eq!(&fs::read(dir.path().join("app.verity")).unwrap()[..8], b"verity\0\0");
    let report = mkfs(dir.path(), &["--verity-sidecar=containerd,oci"], "layer.erofs");
    let (root, offset) = (&report["verity"]["root_hash"], &report["verity"]["hash_offset"]);
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    assert_eq!(json("layer.erofs.dmverity"), serde_json::json!({ "roothash": root, "hashoffset": offset }));
    let want = serde_json::json!({
        "org.erofs.dmverity.hash_offset": offset.to_string(),
        "org.erofs.dmverity.root_digest": format!("sha256:{}", root.as_str().unwrap()),
        "org.erofs.dmverity.block_size": "4096",
    });
    assert_eq!(json("layer.erofs.annotations.json"), want);
}

#[test]
fn a_tree_that_cannot_be_written_leaves_no_image() {
    let dir = tree(&[100_000]);
    fs::write(dir.path().join("image"), b"old").unwrap();
    for flag in ["--verity=no/where", "--verity-roothash=no/where"] {
        let output = Command::new(MKFS)
            .current_dir(dir.path())
            .args(["--verity", flag, "image", "tree"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(err(&output).contains("no/where"), "{}", err(&output));
        assert_eq!(fs::read(dir.path().join("image")).unwrap(), b"old");
    }
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2, "only the tree and the old image");
    let output = Command::new(MKFS)
        .current_dir(dir.path())
        .args(["--verity", "--offset=4096", "image", "tree"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_flipped_bit_is_found_by_both() {
    let dir = tree(&[4096 * 300, 5]);
    let report = mkfs(dir.path(), &["--verity", "--verity-roothash=root"], "image");
    let verity = &report["verity"];
    let (root, offset) = (verity["root_hash"].as_str().unwrap(), verity["hash_offset"].as_u64().unwrap());
    let image = dir.path().join("image");
    let veritysetup = need("flipped bits against veritysetup", program("veritysetup", "cryptsetup-bin"));
    let accepts = |path: &Path| {
        let place = format!("--hash-offset={offset}");
        let words = [OsStr::new("verify"), place.as_ref(), path.as_os_str(), path.as_os_str(), root.as_ref()];
        veritysetup.as_ref().map(|program| run(program, words).status.success())
    };
    assert_ne!(accepts(&image), Some(false));
    let to_be_signed = dir.path().join("tbs");
    let sign = |path: &Path| {
        run(ISHARE, [OsStr::new("sign"), path.as_os_str(), "--to-be-signed".as_ref(), to_be_signed.as_ref()])
    };
    assert!(sign(&image).status.success());
    assert_eq!(fs::read_to_string(&to_be_signed).unwrap(), root);
    for (at, words) in [
        (1024, "data block 0 at byte 0 is not what the tree says"),
        (offset - 1, "is not what the tree says"),
        (offset + 2 * 4096 + 40, "hash block 0 of level 0"),
        (offset + 100, "salt"),
    ] {
        let bad = dir.path().join("bad");
        fs::copy(&image, &bad).unwrap();
        flip(&bad, at);
        assert_ne!(accepts(&bad), Some(true), "byte {at}");
        let output = sign(&bad);
        // With another salt no block fits, the first of all.
        let found = err(&output);
        assert!(!output.status.success() && (found.contains(words) || words == "salt"), "byte {at}: {found}");
    }
}

#[test]
fn a_tree_is_found_when_bytes_follow_it() {
    for options in [&["--verity"][..], &["--verity", "-b512"]] {
        let dir = tree(&[4096 * 130, 5]);
        // A device that is longer than what is written to it, with the content of before behind it.
        fs::write(dir.path().join("image"), content::noise(9, 3_000_001)).unwrap();
        let report = mkfs(dir.path(), options, "image");
        let root = report["verity"]["root_hash"].as_str().unwrap().to_owned();
        let image = fs::OpenOptions::new().append(true).open(dir.path().join("image")).unwrap();
        std::io::Write::write_all(&mut &image, &content::noise(8, 1_000_001)).unwrap();
        let ishare =
            |line: &str| Command::new(ISHARE).current_dir(dir.path()).args(line.split(' ')).output().unwrap();
        let output = ishare(&format!("verify --verity --roothash {root} image"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let output = ishare("sign --to-be-signed tbs image");
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(fs::read_to_string(dir.path().join("tbs")).unwrap(), root);
    }
}

/// Keys and certificates: one that signs itself, and one with an authority.
struct Keys {
    dir: TempDir,
    openssl: PathBuf,
}

impl Keys {
    fn new(check: &str) -> Option<Self> {
        let openssl = need(check, program("openssl", "openssl"))?;
        let keys = Self { dir: place::scratch().unwrap(), openssl };
        fs::write(keys.path("root"), ROOT).unwrap();
        Some(keys)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs openssl in the directory.
    fn openssl(&self, line: &str) -> Output {
        Command::new(&self.openssl).current_dir(self.dir.path()).args(line.split(' ')).output().unwrap()
    }

    fn openssl_ok(&self, line: &str) {
        let output = self.openssl(line);
        assert!(output.status.success(), "openssl {line}: {}", err(&output));
    }

    /// A key `NAME.key` and a certificate `NAME.pem` that signs itself.
    fn make(&self, name: &str, kind: &str) {
        self.openssl_ok(&format!(
            "req -x509 -newkey {kind} -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30"
        ));
    }

    /// Runs `erofs-ishare` in the directory.
    fn ishare(&self, line: &str) -> Output {
        Command::new(ISHARE).current_dir(self.dir.path()).args(line.split(' ')).output().unwrap()
    }

    fn ishare_ok(&self, line: &str) {
        let output = self.ishare(line);
        assert!(output.status.success(), "erofs-ishare {line}: {}", err(&output));
    }

    /// What the library says about a signature of [`ROOT`].
    fn verify(&self, file: &str, trusted: &str) -> Result<signature::Signer, String> {
        let trusted = Certificates::from_pem(&fs::read(self.path(trusted)).unwrap()).unwrap();
        let der = fs::read(self.path(file)).unwrap();
        signature::verify(&der, &RootHash::parse(ROOT).unwrap(), &trusted, SystemTime::now())
            .map_err(|error| error.to_string())
    }
}

const ROOT: &str = "7b1f0c3a5e9d2846f1b0a97c6d5e3f428190abcdef0123456789fedcba987654";
const RSA: &str = "rsa:2048";
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
/// How systemd and the kernel want it made.
const SMIME: &str = "smime -sign -nocerts -noattr -binary -in root -outform der";

#[test]
fn openssl_accepts_our_signatures() {
    let Some(keys) = Keys::new("signatures against openssl") else { return };
    for (name, kind) in [("r", RSA), ("p", P256), ("q", P384)] {
        keys.make(name, kind);
        for embed in ["", " --embed-certificates"] {
            keys.ishare_ok(&format!(
                "sign --roothash root --key {name}.key --certificate {name}.pem -o {name}.p7s{embed}"
            ));
            let given = if embed.is_empty() { " -nointern" } else { "" };
            let check = format!(
                "smime -verify -binary -inform der -in {name}.p7s -content root -certfile {name}.pem{given} -CAfile {name}.pem -purpose any"
            );
            keys.openssl_ok(&check);
            keys.openssl_ok(&check.replace("smime", "cms"));
            let signer = keys.verify(&format!("{name}.p7s"), &format!("{name}.pem")).unwrap();
            assert_eq!(
                (signer.subject.as_str(), signer.trust),
                (format!("CN={name}").as_str(), Trust::Given)
            );
            assert!(
                signer.not_valid.is_empty() && !signer.has_attributes && signer.not_before < signer.not_after
            );
        }
    }
    // A signature of RSA has no random part, so the whole file is the same.
    keys.openssl_ok(&format!("{SMIME} -signer r.pem -inkey r.key -out theirs.p7s"));
    keys.ishare_ok("sign --roothash root --key r.key --certificate r.pem -o r.p7s");
    assert_eq!(fs::read(keys.path("r.p7s")).unwrap(), fs::read(keys.path("theirs.p7s")).unwrap());
}

#[test]
fn openssl_signatures_are_accepted_here() {
    let Some(keys) = Keys::new("signatures of openssl") else { return };
    for (name, kind) in [("r", RSA), ("p", P256), ("q", P384)] {
        keys.make(name, kind);
        let signer = format!("-signer {name}.pem -inkey {name}.key -out x.p7s");
        for (form, has_attributes) in [
            (SMIME.to_owned(), false),
            (SMIME.replace(" -noattr", ""), true),
            (SMIME.replace("smime", "cms"), false),
            (SMIME.replace("smime", "cms").replace(" -noattr", ""), true),
            (format!("{SMIME} -md sha512"), false),
            (SMIME.replace("smime", "cms").replace(" -noattr", " -keyid -md sha384"), true),
        ] {
            keys.openssl_ok(&format!("{form} {signer}"));
            let found =
                keys.verify("x.p7s", &format!("{name}.pem")).unwrap_or_else(|e| panic!("{form}: {e}"));
            assert_eq!(
                (found.subject.as_str(), found.has_attributes),
                (format!("CN={name}").as_str(), has_attributes)
            );
        }
    }
    keys.openssl_ok(&format!("{SMIME} -nodetach -signer r.pem -inkey r.key -out x.p7s"));
    assert!(keys.verify("x.p7s", "r.pem").unwrap_err().contains("want a detached one"));
    fs::write(keys.path("root"), ROOT.replace('7', "8")).unwrap();
    keys.openssl_ok(&format!("{SMIME} -signer r.pem -inkey r.key -out x.p7s"));
    assert!(keys.verify("x.p7s", "r.pem").unwrap_err().contains("is not the one of"));
    keys.openssl_ok(&format!("{} -signer r.pem -inkey r.key -out x.p7s", SMIME.replace(" -noattr", "")));
    assert!(keys.verify("x.p7s", "r.pem").unwrap_err().contains("those of another root hash"));
    assert!(keys.verify("x.p7s", "p.pem").unwrap_err().contains("whose certificate is not there"));
}

#[test]
fn what_is_signed_has_to_be_called_data() {
    let Some(keys) = Keys::new("signatures over other kinds of content") else { return };
    keys.make("r", RSA);
    keys.openssl_ok(&format!("{SMIME} -signer r.pem -inkey r.key -out r.p7s"));
    keys.verify("r.p7s", "r.pem").unwrap();
    // The object identifier of data, 1.2.840.113549.1.7.1, and 5 in the place of its last number.
    let data = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let mut bytes = fs::read(keys.path("r.p7s")).unwrap();
    let at = bytes.windows(data.len()).position(|window| window == data).unwrap();
    bytes[at + data.len() - 1] = 5;
    fs::write(keys.path("r.p7s"), bytes).unwrap();
    let error = keys.verify("r.p7s", "r.pem").unwrap_err();
    let want = "encapContentInfo.eContentType: found 1.2.840.113549.1.7.5, want 1.2.840.113549.1.7.1 (data)";
    assert!(error.contains(want), "{error}");
}

#[test]
fn authorities_vouch_for_signers() {
    let Some(keys) = Keys::new("certificate authorities") else { return };
    keys.make("ca", RSA);
    keys.make("other", P256);
    // An authority of its own, and one that may not be one.
    for (name, above, extension) in [
        ("middle", "ca", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign"),
        ("signer", "middle", "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature"),
        ("encipher", "middle", "basicConstraints=CA:FALSE\nkeyUsage=keyEncipherment"),
        ("below", "signer", "basicConstraints=CA:FALSE"),
    ] {
        keys.openssl_ok(&format!(
            "req -new -newkey {P256} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        fs::write(keys.path("ext"), extension).unwrap();
        keys.openssl_ok(&format!("x509 -req -in {name}.csr -CA {above}.pem -CAkey {above}.key -CAcreateserial -days 30 -extfile ext -out {name}.pem"));
    }
    let bundle = |names: &[&str]| {
        let all: Vec<_> =
            names.iter().map(|name| fs::read(keys.path(&format!("{name}.pem"))).unwrap()).collect();
        fs::write(keys.path("bundle"), all.concat()).unwrap();
    };
    let sign = |name: &str| {
        keys.ishare_ok(&format!(
            "sign --roothash root --key {name}.key --certificate bundle -o x.p7s --embed-certificates"
        ));
    };
    bundle(&["signer", "middle"]);
    sign("signer");
    let found = keys.verify("x.p7s", "ca.pem").unwrap();
    assert_eq!((found.subject.as_str(), found.trust), ("CN=signer", Trust::Issued { by: "CN=ca".into() }));
    assert!(
        keys.verify("x.p7s", "other.pem")
            .unwrap_err()
            .contains("no trusted certificate vouches for CN=signer")
    );
    keys.openssl_ok("cms -verify -binary -inform der -in x.p7s -content root -CAfile ca.pem -purpose any");
    bundle(&["signer"]);
    sign("signer");
    assert!(keys.verify("x.p7s", "ca.pem").is_err(), "the one in the middle is missing");
    bundle(&["below", "signer", "middle"]);
    sign("below");
    assert!(keys.verify("x.p7s", "ca.pem").is_err(), "the signer's certificate is no authority");
    // Here, nobody signs with such a certificate.
    let embedded = SMIME.replace(" -nocerts", "");
    let signer = "-certfile middle.pem -signer encipher.pem -inkey encipher.key -out x.p7s";
    keys.openssl_ok(&format!("{embedded} {signer}"));
    assert!(keys.verify("x.p7s", "ca.pem").is_err(), "its key is not for signatures");
}

/// Certificates with one thing wrong each: what is in the extensions of the signer and of its authority, and
/// what is said.
const PURPOSES: &[(&str, &str, &str)] = &[
    ("keyUsage=digitalSignature\nextendedKeyUsage=codeSigning", "", ""),
    ("keyUsage=nonRepudiation\nextendedKeyUsage=serverAuth,anyExtendedKeyUsage", "", ""),
    ("subjectAltName=critical,DNS:example.org\ncertificatePolicies=critical,1.2.3.4", "", ""),
    ("", "extendedKeyUsage=codeSigning\nkeyUsage=critical,keyCertSign", ""),
    ("keyUsage=keyAgreement", "", "CN=signer may not sign: found a key usage without signatures"),
    (
        "extendedKeyUsage=serverAuth,clientAuth",
        "",
        "found the extended key usage id-kp-serverAuth, id-kp-clientAuth, want codeSigning in it, or none",
    ),
    ("1.2.3.4=critical,ASN1:NULL", "", "CN=signer may not sign: found the critical extension 1.2.3.4"),
    ("", "extendedKeyUsage=serverAuth", "vouches for CN=signer: CN=middle: found the extended key usage"),
    (
        "",
        "nameConstraints=critical,permitted;DNS:.org",
        "CN=middle: found the critical extension id-ce-nameConstraints",
    ),
    (
        "",
        "keyUsage=critical,cRLSign",
        "vouches for CN=signer: CN=middle: found a key usage without certificates",
    ),
];

#[test]
fn certificates_are_held_to_their_purpose() {
    let Some(keys) = Keys::new("purposes of certificates") else { return };
    keys.make("ca", P256);
    let make = |name: &str, kind: &str, above: &str, extensions: &str| {
        keys.openssl_ok(&format!(
            "req -new -newkey {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        fs::write(keys.path("ext"), extensions).unwrap();
        let authority = format!("-CA {above}.pem -CAkey {above}.key -CAcreateserial");
        keys.openssl_ok(&format!(
            "x509 -req -in {name}.csr {authority} -days 30 -extfile ext -out {name}.pem"
        ));
    };
    for (signer, middle, words) in PURPOSES {
        make("middle", P256, "ca", &format!("basicConstraints=critical,CA:TRUE\n{middle}"));
        make("signer", P256, "middle", &format!("basicConstraints=CA:FALSE\n{signer}"));
        let both = ["signer", "middle"].map(|name| fs::read(keys.path(&format!("{name}.pem"))).unwrap());
        fs::write(keys.path("bundle"), both.concat()).unwrap();
        // By openssl, which signs with anything; by us, as far as the signer's own certificate allows.
        keys.openssl_ok(&format!(
            "{} -certfile middle.pem -signer signer.pem -inkey signer.key -out x.p7s",
            SMIME.replace(" -nocerts", "")
        ));
        let issued = keys.verify("x.p7s", "ca.pem").map(drop);
        let given = keys.verify("x.p7s", "signer.pem").map(drop);
        let ours = keys.ishare(
            "sign --roothash root --key signer.key --certificate bundle -o y.p7s --embed-certificates",
        );
        if words.is_empty() {
            assert!(
                issued.is_ok() && given.is_ok() && ours.status.success(),
                "{signer}: {issued:?} {given:?} {}",
                err(&ours)
            );
            assert!(keys.verify("y.p7s", "ca.pem").is_ok());
            continue;
        }
        assert!(issued.as_ref().unwrap_err().contains(words), "{words}: {issued:?}");
        let of_signer = middle.is_empty();
        assert_eq!((given.is_err(), ours.status.success()), (of_signer, !of_signer), "{words}");
        assert!(!of_signer || err(&ours).contains(words), "{words}: {}", err(&ours));
    }
}

#[test]
fn short_rsa_keys_are_refused() {
    const SHORT: &str = "found an RSA key of 1024 bits, want at least 2048";
    let Some(keys) = Keys::new("short RSA keys") else { return };
    keys.make("short", "rsa:1024");
    keys.make("long", "rsa:4096");
    keys.make("p", P256);
    for (name, other) in [("short", "p"), ("p", "short")] {
        let output =
            keys.ishare(&format!("sign --roothash root --key {name}.key --certificate {other}.pem -o x.p7s"));
        assert!(output.status.code() == Some(1) && err(&output).contains(SHORT), "{name}: {}", err(&output));
    }
    keys.openssl_ok(&format!("{SMIME} -signer short.pem -inkey short.key -out x.p7s"));
    assert!(keys.verify("x.p7s", "short.pem").unwrap_err().contains(SHORT));
    keys.ishare_ok("sign --roothash root --key long.key --certificate long.pem -o x.p7s");
    assert!(keys.verify("x.p7s", "long.pem").is_ok());
    // An authority of 1024 bits vouches for nobody.
    keys.openssl_ok(&format!("req -new -newkey {P256} -nodes -keyout s.key -out s.csr -subj /CN=s"));
    keys.openssl_ok("x509 -req -in s.csr -CA short.pem -CAkey short.key -CAcreateserial -days 30 -out s.pem");
    keys.ishare_ok("sign --roothash root --key s.key --certificate s.pem -o x.p7s --embed-certificates");
    assert!(
        keys.verify("x.p7s", "short.pem").unwrap_err().contains("no trusted certificate vouches for CN=s")
    );
}

#[test]
fn dates_are_told_and_can_be_required() {
    let Some(keys) = Keys::new("dates of certificates") else { return };
    golden(&keys);
    keys.openssl_ok(
        "x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -out signer.pem",
    );
    keys.ishare_ok(
        "sign app.raw --key signer.key --certificate signer.pem -o app.roothash.p7s --embed-certificates",
    );
    let output = keys.ishare("verify --verity --certificate ca.pem app.raw");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("not valid today"), "{text}");
    let output = keys.ishare("verify --verity --certificate ca.pem --require-valid-dates app.raw");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4));
    assert!(text.contains("signature: app.roothash.p7s: found CN=signer out of its dates"), "{text}");
    let again = "x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out signer.pem";
    keys.openssl_ok(again);
    keys.ishare_ok(
        "sign app.raw --key signer.key --certificate signer.pem -o app.roothash.p7s --embed-certificates",
    );
    let output = keys.ishare("verify --verity --certificate ca.pem --require-valid-dates app.raw");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_signature_without_certificates_names_both_ways_out() {
    let Some(keys) = Keys::new("signatures without certificates") else { return };
    golden(&keys);
    keys.ishare_ok("sign app.raw --key signer.key --certificate signer.pem -o app.roothash.p7s");
    let output = keys.ishare("verify --verity --certificate ca.pem app.raw");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(4), "{text}");
    let words = "sign with --embed-certificates, or give that certificate by --certificate as well";
    assert!(text.contains(words), "{text}");
    let output = keys.ishare("verify --verity --certificate ca.pem --certificate signer.pem app.raw");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    keys.ishare_ok(
        "sign app.raw --key signer.key --certificate signer.pem -o app.roothash.p7s --embed-certificates",
    );
    let output = keys.ishare("verify --verity --certificate ca.pem app.raw");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A hash area for the first blocks of a file, made by the library, in the file `hashes` beside it.
fn tree_of_a_part(image: &Path, blocks: u64) -> RootHash {
    let data = fs::read(image).unwrap();
    let out = std::sync::Mutex::new(Vec::new());
    let params = erofs_verity::Params::derived(uuid::Uuid::NAMESPACE_DNS, blocks);
    let formatted = erofs_verity::format(&data, blocks, &params, &out, 0, 1).unwrap();
    fs::write(image.with_file_name("hashes"), out.into_inner().unwrap()).unwrap();
    formatted.root
}

#[test]
fn a_tree_has_to_cover_the_whole_file_system() {
    let dir = tree(&[300_000, 5]);
    mkfs(dir.path(), &["--ishare-key"], "image");
    let image = dir.path().join("image");
    let blocks = fs::metadata(&image).unwrap().len() / 4096;
    let ishare =
        |line: String| Command::new(ISHARE).current_dir(dir.path()).args(line.split(' ')).output().unwrap();
    let both = |blocks: u64| {
        let root = tree_of_a_part(&image, blocks);
        let verify = ishare(format!("verify --verity=hashes --roothash {root} image"));
        let sign = ishare("sign --verity hashes --to-be-signed tbs image".to_owned());
        let text = [String::from_utf8_lossy(&verify.stdout).into_owned(), err(&verify), err(&sign)];
        (verify.status.code(), sign.status.code(), text.concat())
    };
    assert_eq!(both(blocks), (Some(0), Some(0), both(blocks).2));
    for part in [1, 2, blocks - 1] {
        let (verify, sign, text) = both(part);
        assert_eq!((verify, sign), (Some(4), Some(1)), "{part} blocks: {text}");
        let words =
            format!("found one over {} of the {} bytes of the file system", part * 4096, blocks * 4096);
        assert_eq!(text.matches(&words).count(), 2, "{part} blocks: {text}");
    }
    // A superblock that calls the file system shorter than it is: what is behind the tree is no part of the
    // image.
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&2_u32.to_le_bytes(), 1024 + 36).unwrap();
    let (verify, _, text) = both(2);
    assert_eq!(verify, Some(4), "{text}");
    assert!(text.contains("bounds"), "{text}");
}

#[test]
fn there_are_no_core_dumps_while_a_key_is_in_memory() {
    let Some(keys) = Keys::new("core dumps") else { return };
    let Some(()) = need("core dumps of another user", erofs_testkit::require::root()) else { return };
    keys.make("p", P256);
    let fifo = keys.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    for name in [keys.path(""), fifo.clone()] {
        fs::set_permissions(name, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::copy(ISHARE, keys.path("ishare")).unwrap();
    let line =
        "ulimit -c unlimited; exec ./ishare sign --roothash root --key fifo --certificate p.pem -o x.p7s";
    let mut command = Command::new("bash");
    command.current_dir(keys.path("")).args(["-c", line]).uid(0x4000_0000).gid(0x4000_0000);
    let mut child = command.spawn().unwrap();
    // It waits for the key until somebody opens the FIFO.
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Files of processes that cannot be dumped belong to root (proc(5)).
    assert_eq!(fs::metadata(proc.join("mem")).unwrap().uid(), 0);
    std::io::Write::write_all(&mut writer, &fs::read(keys.path("p.key")).unwrap()).unwrap();
    drop(writer);
    // The signature gets its name through /proc/self/fd, which is the user's own again by then.
    assert!(child.wait().unwrap().success() && keys.path("x.p7s").exists());
}

#[test]
fn signing_in_two_steps() {
    let Some(keys) = Keys::new("signing in two steps") else { return };
    for (name, kind) in [("r", RSA), ("p", P256)] {
        keys.make(name, kind);
        keys.ishare_ok("sign --roothash root --to-be-signed tbs");
        assert_eq!(fs::read_to_string(keys.path("tbs")).unwrap(), ROOT);
        keys.openssl_ok(&format!("dgst -sha256 -sign {name}.key -out raw tbs"));
        keys.ishare_ok(&format!(
            "sign --roothash root --join-signature raw --certificate {name}.pem -o joined.p7s"
        ));
        assert!(keys.verify("joined.p7s", &format!("{name}.pem")).is_ok());
        flip(&keys.path("raw"), 20);
        let output = keys.ishare(&format!(
            "sign --roothash root --join-signature raw --certificate {name}.pem -o bad.p7s"
        ));
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains("not signed by the key of the certificate"), "{}", err(&output));
        assert!(!keys.path("bad.p7s").exists());
    }
}

/// A golden image in the directory of the keys, signed by somebody whom an authority vouches for.
fn golden(keys: &Keys) {
    let source = tree(&[20_000, 4096 * 300, 5]);
    fs::rename(source.path().join("tree"), keys.path("tree")).unwrap();
    let options = ["--quiet", "--ishare-key", "--verity", "--verity-roothash=root"];
    mkfs(keys.dir.path(), &options, "app.raw");
    keys.make("ca", P256);
    keys.make("strange", P256);
    keys.openssl_ok(&format!(
        "req -new -newkey {P256} -nodes -keyout signer.key -out signer.csr -subj /CN=signer"
    ));
    keys.openssl_ok(
        "x509 -req -in signer.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out signer.pem",
    );
}

/// The words of the command line, what is changed, and the exit status and the line that come of it.
struct Golden {
    words: String,
    change: fn(&Keys),
    code: i32,
    line: String,
}

/// From the image to the certificate authority, with one thing wrong at a time.
fn golden_rows(root: &str) -> Vec<Golden> {
    const CA: &str = "--certificate ca.pem";
    const SIGNATURE: &str = "signature: app.roothash.p7s: found signature: ";
    let row = |words: &str, change, code, line: &str| Golden {
        words: format!("--verity {words}"),
        change,
        code,
        line: line.to_owned(),
    };
    let signed = format!("root hash {root} signed by CN=signer");
    let stranger = format!("{SIGNATURE}no trusted certificate vouches for CN=signer");
    let flipped =
        "verity: dm-verity hash tree: found data block 170 at byte 696320 is not what the tree says";
    vec![
        row(CA, |_| {}, 0, &signed),
        row("--roothash root --certificate strange.pem --certificate ca.pem", |_| {}, 0, &signed),
        row("--certificate signer.pem", |_| {}, 0, &signed),
        row("--certificate strange.pem", |_| {}, 4, &stranger),
        row(
            &format!("--roothash {} {CA}", "0".repeat(64)),
            |_| {},
            4,
            "verity: dm-verity hash tree: found root hash: found",
        ),
        row(CA, |keys| flip(&keys.path("app.raw"), 700_000), 4, flipped),
        // Level 0 is behind the superblock and the level above it.
        row(
            CA,
            |keys| flip(&keys.path("app.raw"), hash_area(keys) + 2 * 4096 + 40),
            4,
            "verity: dm-verity hash tree: found hash block 0 of level 0",
        ),
        // With another block at the top there is another root hash, and nobody signed that.
        row(CA, |keys| flip(&keys.path("app.raw"), hash_area(keys) + 4096 + 40), 4, SIGNATURE),
        row(CA, flip_signature, 4, SIGNATURE),
        row(CA, |keys| fs::write(keys.path("app.roothash.p7s"), "no signature").unwrap(), 4, SIGNATURE),
        row(
            CA,
            |keys| fs::remove_file(keys.path("app.roothash.p7s")).unwrap(),
            8,
            "app.raw: app.roothash.p7s: No such file",
        ),
        row(
            "--certificate ca.key",
            |_| {},
            8,
            "app.raw: certificate: found none, want a block CERTIFICATE in PEM",
        ),
    ]
}

#[test]
fn golden_images_are_checked_up_to_the_authority() {
    let Some(keys) = Keys::new("golden images up to the authority") else { return };
    golden(&keys);
    let rows = golden_rows(&fs::read_to_string(keys.path("root")).unwrap());
    let image = fs::read(keys.path("app.raw")).unwrap();
    let ours =
        "sign app.raw --key signer.key --certificate signer.pem -o app.roothash.p7s --embed-certificates";
    let smime = SMIME.replace(" -nocerts", "");
    let cms = smime.replace("smime", "cms").replace(" -noattr", "");
    for by_openssl in [None, Some(smime), Some(cms)] {
        for Golden { words, change, code, line } in &rows {
            fs::write(keys.path("app.raw"), &image).unwrap();
            match &by_openssl {
                None => keys.ishare_ok(ours),
                Some(form) => keys.openssl_ok(&format!(
                    "{form} -signer signer.pem -inkey signer.key -out app.roothash.p7s"
                )),
            }
            change(&keys);
            let output = keys.ishare(&format!("verify {words} app.raw"));
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), err(&output));
            assert_eq!(output.status.code(), Some(*code), "{by_openssl:?}: {words}: {text}");
            assert!(
                text.lines().any(|found| found.contains(line)),
                "{by_openssl:?}: {words}: {line}: {text}"
            );
        }
    }
}

/// Where the hash area of the golden image begins.
fn hash_area(keys: &Keys) -> u64 {
    let image = fs::read(keys.path("app.raw")).unwrap();
    (image.chunks(4096).position(|block| block.starts_with(b"verity\0\0")).unwrap() * 4096) as u64
}

/// A bit of the signature itself, which is at the end.
fn flip_signature(keys: &Keys) {
    let path = keys.path("app.roothash.p7s");
    let length = fs::metadata(&path).unwrap().len();
    flip(&path, length - 10);
}

#[test]
fn keys_in_other_forms() {
    let Some(keys) = Keys::new("forms of keys") else { return };
    keys.make("r", RSA);
    keys.make("p", P256);
    keys.openssl_ok("rsa -in r.key -traditional -out r1.key");
    keys.openssl_ok("ec -in p.key -out p1.key");
    keys.openssl_ok("ecparam -name prime256v1 -out params");
    let both = [fs::read(keys.path("params")).unwrap(), fs::read(keys.path("p1.key")).unwrap()].concat();
    fs::write(keys.path("p2.key"), both).unwrap();
    keys.openssl_ok("pkcs8 -topk8 -in r.key -passout pass:x -out locked.key");
    for (key, certificate) in [("r1.key", "r.pem"), ("p1.key", "p.pem"), ("p2.key", "p.pem")] {
        keys.ishare_ok(&format!("sign --roothash root --key {key} --certificate {certificate} -o x.p7s"));
    }
    for (key, certificate, words) in [
        ("locked.key", "r.pem", "it is encrypted, which is not supported"),
        ("r.key", "p.pem", "not signed by the key of the certificate CN=p"),
        ("r.pem", "r.pem", "found no block PRIVATE KEY"),
        ("r.key", "r.key", "certificate: found none"),
    ] {
        let output =
            keys.ishare(&format!("sign --roothash root --key {key} --certificate {certificate} -o y.p7s"));
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains(words) && !keys.path("y.p7s").exists(), "{key}: {}", err(&output));
        // Nothing of the key is in the message.
        let text = fs::read_to_string(keys.path(key)).unwrap();
        let secret = text.lines().filter(|line| line.len() > 20 && !line.starts_with('-'));
        assert!(secret.map(|line| &line[..12]).all(|line| !err(&output).contains(line)), "{}", err(&output));
    }
    fs::set_permissions(keys.path("r.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = keys.ishare("sign --roothash root --key r.key --certificate r.pem -o x.p7s");
    assert!(
        output.status.success() && err(&output).contains("others can use this key: mode 644"),
        "{}",
        err(&output)
    );
}

#[test]
fn identifiers_are_new_and_kept() {
    let dir = place::scratch().unwrap();
    let file = dir.path().join("id");
    let path = file.to_str().unwrap();
    ok(ISHARE, ["domain", "new", "-o", path]);
    let id = fs::read_to_string(&file).unwrap();
    assert!(id.len() == 65 && id.trim_end().chars().all(|c| c.is_ascii_hexdigit()), "{}", id.len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(run(ISHARE, ["domain", "new", "-o", path]).status.code(), Some(1), "a file is not replaced");
    assert_eq!(fs::read_to_string(&file).unwrap(), id);
    assert_ne!(ok(ISHARE, ["domain", "new"]), id);
    assert_eq!(ok(ISHARE, ["domain", "check", path]), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let copy = dir.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    for (ids, rules) in [
        (vec![path], vec!["readable"]),
        (vec![path, copy.to_str().unwrap()], vec!["readable", "readable", "equal"]),
        (vec!["prod"], vec!["command-line", "short", "guessable"]),
    ] {
        let output = run(ISHARE, ["domain", "check", "--json"].into_iter().chain(ids));
        assert_eq!(output.status.code(), Some(3));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found: Vec<_> =
            report["findings"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap()).collect();
        assert_eq!(found, rules);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains(id.trim_end()));
    }
}

#[test]
fn commands_and_units_name_the_file_alone() {
    let dir = place::scratch().unwrap();
    let file = dir.path().join("id");
    let path = file.to_str().unwrap();
    ok(ISHARE, ["domain", "new", "-o", path]);
    let id = fs::read_to_string(&file).unwrap();
    let command =
        ok(ISHARE, ["domain", "mount-command", "--domain-file", path, "-o", "directio", "/a b.img", "/mnt"]);
    assert_eq!(
        command,
        format!("erofs-ishare domain mount --domain-file {path} -o directio '/a b.img' /mnt\n")
    );
    let unit = ok(ISHARE, ["domain", "unit", "--domain-file", path, "/srv/a.img", "/mnt/a"]);
    for line in [
        format!("LoadCredential=domain:{path}").as_str(),
        "ExecStart=/usr/bin/erofs-ishare domain mount --domain-file %d/domain /srv/a.img /mnt/a",
        "ExecStop=/usr/bin/umount /mnt/a",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line} in {unit}");
    }
    assert!(!unit.contains(id.trim_end()) && !command.contains(id.trim_end()));
    for verb in ["mount", "mount-command", "unit"] {
        let output =
            run(ISHARE, ["domain", verb, "--domain-file", path, "-o", "domain_id=sesame", "/a.img", "/mnt"]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        assert!(!err(&output).contains("sesame"), "{}", err(&output));
    }
    let output = run(ISHARE, ["domain", "unit", "--domain-file", path, "a.img", "/mnt"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A kernel that does not share refuses, and says so without the secret; one that does is in the lab.
#[test]
fn a_mount_that_fails_does_not_tell() {
    let dir = tree(&[10]);
    mkfs(dir.path(), &["--ishare-key"], "image");
    let (file, at) = (dir.path().join("id"), dir.path().join("at"));
    fs::create_dir(&at).unwrap();
    ok(ISHARE, [OsStr::new("domain"), "new".as_ref(), "-o".as_ref(), file.as_os_str()]);
    let id = fs::read_to_string(&file).unwrap();
    let image = dir.path().join("image");
    let words = [OsStr::new("domain"), "mount".as_ref(), "--domain-file".as_ref(), file.as_os_str()];
    let wrong = ["-o", "no-such-option"].map(OsStr::new);
    let output = run(ISHARE, words.into_iter().chain(wrong).chain([image.as_os_str(), at.as_os_str()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(!err(&output).contains(id.trim_end()), "{}", err(&output));
}

/// A directory that becomes the initial file system of a virtual machine.
struct Guest {
    dir: TempDir,
}

impl Guest {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a program and the libraries that it names to their places.
    fn program(&self, path: &Path) {
        let listed = String::from_utf8(run("ldd", [path]).stdout).unwrap();
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
        for library in libraries {
            let to = self.path(library.strip_prefix("/").unwrap().to_str().unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
        fs::copy(path, self.path("bin").join(path.file_name().unwrap())).unwrap();
    }

    /// The lines of the guest that begin with RESULT.
    fn start(&self, kernel: &Path, disks: &[PathBuf]) -> Vec<String> {
        let initrd = self.dir.path().with_extension("cpio");
        let pack = format!(
            "cd '{}' && find . | {} cpio -o -H newc",
            self.dir.path().display(),
            kernel.join("busybox").display()
        );
        fs::write(&initrd, run("sh", ["-c", &pack]).stdout).unwrap();
        let mut qemu = Command::new("timeout");
        qemu.args([
            "300",
            "qemu-system-x86_64",
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            "max",
            "-m",
            "2048",
            "-no-reboot",
        ]);
        qemu.args(["-nodefaults", "-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel.join("vmlinuz"));
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]).arg("-initrd").arg(&initrd);
        for (index, disk) in disks.iter().enumerate() {
            let drive = format!("if=none,id=d{index},file={},format=raw,readonly=on", disk.display());
            qemu.args(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive=d{index}")]);
        }
        let output = qemu.stdin(std::process::Stdio::null()).output().unwrap();
        fs::remove_file(initrd).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let results: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("RESULT ")).map(str::to_owned).collect();
        assert_eq!(results.last().map(String::as_str), Some("done yes"), "{text}{}", err(&output));
        results
    }
}

/// The kernel of the lab, with dm-verity, and the programs that the guest needs.
fn lab() -> Result<(PathBuf, [PathBuf; 2]), Absent> {
    let programs = [program("veritysetup", "cryptsetup-bin")?, program("keyctl", "keyutils")?];
    let lab = erofs_lab::Lab::prepare(&place::target_dir().join("lab"));
    let lab = lab.map_err(|error| Absent::because(error.to_string()))?;
    Ok((lab.static_program().parent().unwrap().to_path_buf(), programs))
}

#[test]
fn the_kernel_opens_trees_checks_signatures_and_hides_domains() {
    let check = "dm-verity, signed root hashes and domains on a real kernel";
    let Some((kernel, programs)) = need(check, lab()) else { return };
    let Some(keys) = Keys::new(check) else { return };
    let source = tree(&[3_000_000, 5, 70_000]);
    let report = mkfs(source.path(), &["--ishare-key", "--verity"], "image");
    let image = source.path().join("image");
    let root = report["verity"]["root_hash"].as_str().unwrap();
    let offset = report["verity"]["hash_offset"].as_u64().unwrap();
    fs::write(keys.path("root"), root).unwrap();
    let guest = Guest { dir: place::scratch().unwrap() };
    for folder in ["bin", "dev", "proc", "sys", "run", "mnt", "modules"] {
        fs::create_dir(guest.path(folder)).unwrap();
    }
    for (name, kind) in [("rsa", RSA), ("p256", P256), ("p384", P384), ("stranger", P256)] {
        keys.make(name, kind);
        keys.ishare_ok(&format!(
            "sign --roothash root --key {name}.key --certificate {name}.pem -o {name}.p7s"
        ));
        fs::copy(keys.path(&format!("{name}.p7s")), guest.path(&format!("{name}.p7s"))).unwrap();
        if name != "stranger" {
            keys.openssl_ok(&format!("x509 -in {name}.pem -outform der -out {name}.der"));
            fs::copy(keys.path(&format!("{name}.der")), guest.path(&format!("{name}.der"))).unwrap();
        }
    }
    for program in programs.iter().map(PathBuf::as_path).chain([Path::new(ISHARE)]) {
        guest.program(program);
    }
    fs::copy(kernel.join("busybox"), guest.path("bin/busybox")).unwrap();
    for module in fs::read_dir(kernel.join("modules")).unwrap() {
        let module = module.unwrap();
        fs::copy(module.path(), guest.path("modules").join(module.file_name())).unwrap();
    }
    fs::write(guest.path("root"), root).unwrap();
    fs::write(guest.path("offset"), offset.to_string()).unwrap();
    ok(ISHARE, [OsStr::new("domain"), "new".as_ref(), "-o".as_ref(), guest.path("domain").as_os_str()]);
    fs::copy(place::workspace().join("tests/golden/guest.sh"), guest.path("init")).unwrap();
    fs::set_permissions(guest.path("init"), fs::Permissions::from_mode(0o755)).unwrap();
    // In the first, a middle and the last block of the data; in the lowest and the highest level of the tree;
    // in the salt.
    let places = [1094, 1_500_000, offset - 1, offset + 2 * 4096 + 40, offset + 4096 + 40, offset + 100];
    let flipped = places.map(|at| {
        let disk = source.path().join(format!("flipped-{at}"));
        fs::copy(&image, &disk).unwrap();
        flip(&disk, at);
        disk
    });
    let disks = [&[image], &flipped[..]].concat();
    let want = [
        "open yes",
        "read yes",
        "every-block yes",
        "flipped-vdb no",
        "flipped-vdc no",
        "flipped-vdd no",
        "flipped-vde no",
        "flipped-vdf no",
        "flipped-vdg no",
        "without-certificates no",
        "rsa yes",
        "p256 yes",
        "p384 yes",
        "stranger no",
        "domain yes",
        "done yes",
    ];
    assert_eq!(guest.start(&kernel, &disks), want);
}
