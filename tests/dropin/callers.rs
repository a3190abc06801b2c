//! The command lines of programs and scripts that call mkfs.erofs on a directory, as their sources have them.

use std::fs;
use std::process::Command;

use erofs_testkit::compare::assert_same;
use erofs_testkit::require::need;
use erofs_testkit::{Backing, Expect, Mount, mount, peers, trees};

use crate::{Room, run};

const UUID: &str = "-U 00000000-0000-0000-0000-000000000000";

/// Callers whose command lines take erofs-utils more than five minutes on this source, whose long runs of
/// zeros its -Ededupe is slow with. Their images are compared with the source alone.
const SLOW: [&str; 2] = ["Fedora CoreOS", "Buildroot"];

/// A caller, its command line, and what the image is beside its source.
fn callers() -> Vec<(&'static str, String, Expect)> {
    let plain = Expect::default;
    let at = |sec| Expect { mtime: Some((sec, 0)), ..Expect::default() };
    let without = |path: &str| Expect { excluded: vec![path.into()], ..Expect::default() };
    let dracut = Expect { xattrs: false, excluded: vec!["names".into()], ..at(0) };
    let root = Some((0, 0));
    let words = |text: &str| text.to_owned();
    vec![
        ("containerd, commit", words("--quiet -Enoinline_data IMG DIR"), plain()),
        ("systemd-repart", format!("{UUID} --quiet -zzstd,level=3 IMG DIR"), plain()),
        ("lorax", words("IMG DIR -z zstd,8 -Ededupe,all-fragments -C 65536"), plain()),
        ("kiwi", words("-z zstd,level=21 --exclude-regex=^names.*$ -L label IMG DIR"), without("names")),
        (
            "osbuild",
            words("IMG DIR --quiet -z lz4hc,12 -E ztailpacking,fragments -C 65536 --exclude-regex ^holes$"),
            without("holes"),
        ),
        ("Fedora CoreOS", words("-zlzma,level=6 -Eall-fragments,dedupe -C1048576 --quiet IMG DIR"), plain()),
        (
            "dracut",
            format!("--exclude-path=names -C 65536 -E fragments -x -1 {UUID} -T 0 -z zstd IMG DIR"),
            dracut.clone(),
        ),
        (
            "dracut without compression",
            format!("--exclude-path=names -C 65536 -E fragments -x -1 {UUID} -T 0 IMG DIR"),
            dracut,
        ),
        (
            "Buildroot",
            format!(
                "-zlz4hc,9 --compress-hints HINTS -T 1000 {UUID} -C65536 -Ededupe -Efragments \
                 -Eztailpacking IMG DIR"
            ),
            at(1000),
        ),
        (
            "Buildroot without compression",
            format!("-T 1000 {UUID} -C65536 -Ededupe -Efragments -Eall-fragments -Eztailpacking IMG DIR"),
            at(1000),
        ),
        ("OpenEmbedded", words("-zlz4hc IMG DIR"), plain()),
        ("OpenWrt", words("-zlzma,109 -C1048576 IMG DIR"), plain()),
        (
            "AOSP, without its files",
            format!(
                "-z lz4hc,9 --compress-hints HINTS -b 4096 --mount-point /system -T 7 {UUID} -C 16384 \
                 --chunksize 4096 -E legacy-compress IMG DIR"
            ),
            at(7),
        ),
        (
            "microvm.nix",
            words(
                "-zlz4hc -Eztailpacking -Efragments -T 0 --all-root -L nix-store \
                 --mount-point=/nix/store IMG DIR",
            ),
            Expect { owner: root, ..at(0) },
        ),
        (
            "sysext-bakery",
            format!("-zlz4hc,12 -C65536 -Efragments,ztailpacking {UUID} --all-root IMG DIR"),
            Expect { owner: root, ..plain() },
        ),
        ("kata", words("-zlz4hc -Enoinline_data IMG DIR"), plain()),
        ("nerdbox", words("-zlz4 IMG ."), plain()),
        ("gVisor", words("-E noinline_data IMG DIR"), plain()),
        ("go-erofs", words("-Enoinline_data --quiet IMG DIR"), plain()),
    ]
}

/// The image is what the source is, and what erofs-utils makes of the same command line.
#[test]
fn command_lines_of_callers() {
    let Some(()) = need("callers of mkfs.erofs under the kernel", mount::supported(Backing::Loop)) else {
        return;
    };
    let source = trees::one_of_each().unwrap();
    let source = source.path();
    // erofs-utils gives a directory with a whiteout of overlayfs an attribute that its source has not
    // (docs/drop-in.md).
    fs::remove_file(source.join("special/c-0-0")).unwrap();
    // It drops fractions of seconds of what was changed in the second of the build.
    let touched = Command::new("touch").args(["-d", "@1600000000"]).arg(source.join("special")).status();
    assert!(touched.unwrap().success());
    let room = Room::new();
    let hints = room.path("hints");
    fs::write(&hints, "65536 .*copies.*\n").unwrap();
    let peers = need("callers of mkfs.erofs, compared with erofs-utils", peers::find());
    for (caller, words, expect) in callers() {
        let what = format!("{caller}: {words}");
        let image = room.path("ours.img");
        let output = run(&room.program(), &words, &image, source, &hints);
        assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
        let ours = Mount::new(&image, Backing::Loop).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(source, ours.path(), &expect, &what);
        let Some(peers) = peers.filter(|_| !SLOW.contains(&caller)) else { continue };
        let image = room.path("theirs.img");
        let output = run(&peers.mkfs, &words, &image, source, &hints);
        assert_eq!(output.status.code(), Some(0), "erofs-utils, {what}: {output:?}");
        let theirs = Mount::new(&image, Backing::Loop).unwrap_or_else(|error| panic!("{what}: {error}"));
        let as_it_is = Expect::default();
        assert_same(theirs.path(), ours.path(), &as_it_is, &format!("against erofs-utils, {what}"));
    }
}
