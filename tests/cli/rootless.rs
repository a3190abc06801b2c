//! Building without root, as `docs/building-without-root.md` says: fakeroot, pseudo, user namespaces.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use erofs_testkit::peers::run;
use erofs_testkit::require::{Absent, need, program, root};
use tempfile::TempDir;

use crate::{MKFS, Ran};

const ISHARE: &str = env!("CARGO_BIN_EXE_erofs-ishare");

/// An unprivileged user and group of nobody in particular.
const SOMEONE: u32 = 12_345;

/// A tree with owners, devices and attributes that only root can make, its image, and what is extracted from
/// that.
const SCRIPT: &str = r"set -e
mkdir t t/d
echo a >t/root; echo b >t/other; echo c >t/d/f; ln -s x t/l; ln t/root t/d/root2
chown 0:0 t t/root; chown 12:34 t/other t/d/f; chown 5:6 t/d; chown -h 7:8 t/l
mknod t/null c 1 3; mknod t/d/blk b 8 1; mknod t/p p
chmod 4750 t/other; chmod 666 t/null
./mkfs-erofs --quiet -T0 image t
./erofs-ishare ls -lR image
./erofs-ishare extract --quiet image -o x
cd x; stat -c '%n %u:%g %a %F %t,%T' root other d d/f d/blk d/root2 null p l
";

const LISTED: [&str; 10] = [
    "drwxr-xr-x 0 0 /",
    "drwxr-xr-x 5 6 /d",
    "brw-r--r-- 0 0 /d/blk",
    "-rw-r--r-- 12 34 /d/f",
    "-rw-r--r-- 0 0 /d/root2",
    "lrwxrwxrwx 7 8 /l",
    "crw-rw-rw- 0 0 /null",
    "-rwsr-x--- 12 34 /other",
    "prw-r--r-- 0 0 /p",
    "-rw-r--r-- 0 0 /root",
];

const EXTRACTED: [&str; 9] = [
    "root 0:0 644 regular file 0,0",
    "other 12:34 4750 regular file 0,0",
    "d 5:6 755 directory 0,0",
    "d/f 12:34 644 regular file 0,0",
    "d/blk 0:0 644 block special file 8,1",
    "d/root2 0:0 644 regular file 0,0",
    "null 0:0 666 character special file 1,3",
    "p 0:0 644 fifo 0,0",
    "l 7:8 777 symbolic link 0,0",
];

/// A folder of the unprivileged user with both programs in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(erofs_testkit::place::disk_scratch().unwrap());
        // Another process makes the copies, because a file that this one has open for writing cannot be run
        // while some thread of the tests is between fork and exec.
        run(Command::new("cp").args([MKFS, ISHARE]).arg(home.0.path())).unwrap();
        fs::set_permissions(home.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(home.0.path(), Some(SOMEONE), Some(SOMEONE)).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command of the unprivileged user in this folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.uid(SOMEONE).gid(SOMEONE).current_dir(self.0.path()).env("HOME", self.0.path());
        command
    }
}

/// What `ls -lR` lists, without links, sizes and times.
fn listed(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = |number: usize| words.get(number).copied().unwrap_or_default();
    let path = words.iter().find(|word| word.starts_with('/')).copied().unwrap_or_default();
    [at(0), at(2), at(3), path].join(" ")
}

fn assert_script(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let (image, files) = lines.split_at(LISTED.len().min(lines.len()));
    assert_eq!(image.iter().map(|line| listed(line)).collect::<Vec<_>>(), LISTED, "{ran:?}");
    assert_eq!(files, EXTRACTED, "{ran:?}");
}

#[test]
fn owners_and_devices_under_fakeroot() {
    let Some(()) = need("owners under fakeroot", root()) else { return };
    let Some(_) = need("owners under fakeroot", program("fakeroot")) else { return };
    let home = Home::new();
    let ran = Ran::of(home.command("fakeroot").args(["sh", "-c", SCRIPT]));
    assert_script(&ran);
    assert_eq!(ran.stderr, "");
}

#[test]
fn owners_and_devices_under_pseudo() {
    let Some(()) = need("owners under pseudo", root()) else { return };
    let Some(program) = need("owners under pseudo", program("pseudo")) else { return };
    let home = Home::new();
    let program = program.canonicalize().unwrap();
    let prefix = program.ancestors().nth(2).unwrap();
    let pseudo = || {
        let mut command = home.command("pseudo");
        command.env("PSEUDO_PREFIX", prefix).env("PSEUDO_LOCALSTATEDIR", home.path("state"));
        command
    };
    let ran = Ran::of(pseudo().args(["sh", "-c", SCRIPT]));
    // The server would wait for more.
    drop(pseudo().arg("-S").output());
    assert_script(&ran);
}

/// Whether an unprivileged user may have a user namespace.
fn namespace(home: &Home) -> Result<(), Absent> {
    program("unshare")?;
    let output = home.command("unshare").args(["-Ur", "true"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Absent::because(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(Absent::because(error.to_string())),
    }
}

#[test]
fn owners_that_a_user_namespace_does_not_map() {
    let Some(()) = need("owners in a user namespace", root()) else { return };
    let home = Home::new();
    let Some(()) = need("owners in a user namespace", namespace(&home)) else { return };
    fs::create_dir(home.path("t")).unwrap();
    for (name, uid, gid) in [("mine", SOMEONE, SOMEONE), ("other", 5, SOMEONE), ("third", 5, 6)] {
        fs::write(home.path("t").join(name), name).unwrap();
        chown(home.path("t").join(name), Some(uid), Some(gid)).unwrap();
    }
    chown(home.path("t"), Some(SOMEONE), Some(SOMEONE)).unwrap();
    let build = |flags: &[&str]| {
        let line = ["-Ur", "./mkfs-erofs", "-T0"].iter().chain(flags).chain(&["image", "t"]);
        Ran::of(home.command("unshare").args(line))
    };
    let users = "2 files have the owner 65534, which stands for all that this user namespace does not map \
                 (first is /other); --all-root and --force-uid set one";
    let groups = "1 file has the group 65534, which stands for all that this user namespace does not map \
                  (first is /third); --all-root and --force-gid set one";
    let warning = |text: &str| format!("mkfs-erofs: warning: {text}\n");
    for (flags, wanted) in [
        (&[][..], [users, groups].map(warning).concat()),
        (&["--force-uid=0"], warning(groups)),
        (&["--all-root"], String::new()),
        (&["--all-root", "--strict"], String::new()),
    ] {
        let ran = build(flags);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), wanted.as_str()), "{flags:?}");
    }
    let listed = |ran: &Ran| ran.stdout.lines().map(listed).collect::<Vec<_>>();
    let list = || Ran::of(home.command("./erofs-ishare").args(["ls", "-lR", "image"]));
    let all_root =
        ["drwxr-xr-x 0 0 /", "-rw-r--r-- 0 0 /mine", "-rw-r--r-- 0 0 /other", "-rw-r--r-- 0 0 /third"];
    assert_eq!(listed(&list()), all_root);
    fs::remove_file(home.path("image")).unwrap();
    let line = "/other: owner 65534, which in this user namespace stands for what is not mapped, and 1 more \
                of this: wanted mapped ones, or another owner to store\n";
    build(&["--strict"]).assert_refused(1, line);
    assert!(!home.path("image").exists());
    // Where all owners are mapped, there is nothing to say.
    for name in ["other", "third"] {
        chown(home.path("t").join(name), Some(SOMEONE), Some(SOMEONE)).unwrap();
    }
    let ran = build(&["--strict"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(listed(&list()), all_root);
}
