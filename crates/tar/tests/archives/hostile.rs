//! A corpus of hostile archives. Each case says what becomes of it strictly and leniently: entries, as paths,
//! types and stored lengths; or an error with its kind and offset.

#![expect(clippy::too_many_lines, reason = "functions that are tables")]

use erofs_tar::{Entry, Error, Kind, Options, entries};

use super::make::{archive, file, head, long, padded, pax, raw_pax, record};

/// One archive: its name, its bytes, and what comes out strictly and leniently.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) strict: &'static str,
    lenient: &'static str,
}

/// What came out, as the cases have it.
pub(crate) fn outcome(read: &Result<Vec<Entry>, Error>) -> String {
    let entries = match read {
        Ok(entries) => entries,
        Err(error) => {
            let kind = format!("{error:?}");
            return format!("{}@{}", kind.split('(').next().unwrap(), error.offset());
        }
    };
    let show = |entry: &Entry| {
        let (letter, target) = match &entry.kind {
            Kind::File => ('f', &[][..]),
            Kind::Directory => ('d', &[][..]),
            Kind::Symlink { target } => ('l', &target[..]),
            Kind::HardLink { target } => ('h', &target[..]),
            Kind::CharDevice { .. } => ('c', &[][..]),
            Kind::BlockDevice { .. } => ('b', &[][..]),
            Kind::Fifo => ('p', &[][..]),
        };
        let arrow = if target.is_empty() { String::new() } else { format!(">{}", target.escape_ascii()) };
        format!("{}:{letter}{}{arrow}", entry.path.escape_ascii(), entry.stored)
    };
    entries.iter().map(show).collect::<Vec<_>>().join(" ")
}

struct Cases(Vec<Case>);

impl Cases {
    /// An archive with an end marker, and a last file `z` that must not be lost.
    fn add(&mut self, name: &str, parts: &[Vec<u8>], strict: &'static str, lenient: &'static str) {
        let bytes = archive(&[parts.concat(), file(b"z", b"z")]);
        self.raw(name, bytes, strict, lenient);
    }

    fn raw(&mut self, name: &str, bytes: Vec<u8>, strict: &'static str, lenient: &'static str) {
        let lenient = if lenient.is_empty() { strict } else { lenient };
        self.0.push(Case { name: name.to_owned(), bytes, strict, lenient });
    }
}

/// A block that a reader with another idea of lengths takes for a header.
fn inner() -> Vec<u8> {
    head(b'0', b"inner", 0).done()
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    sizes(&mut cases);
    order(&mut cases);
    records(&mut cases);
    numbers(&mut cases);
    names(&mut cases);
    types(&mut cases);
    ends(&mut cases);
    sparse(&mut cases);
    cases.0
}

fn sizes(cases: &mut Cases) {
    let size = |value: &'static [u8]| pax(b'x', &[("size", value)]);
    let plain = |kind, own| head(kind, b"a", own).link(b"t").done();
    cases.add("size in pax only", &[size(b"512"), plain(b'0', 0), inner()], "a:f512 z:f1", "");
    cases.add("size in both, different", &[size(b"512"), plain(b'0', 1024), inner()], "a:f512 z:f1", "");
    cases.add("size 0 in pax", &[size(b"0"), plain(b'0', 512), inner()], "a:f0 inner:f0 z:f1", "");
    cases.add(
        "size twice",
        &[pax(b'x', &[("size", b"0"), ("size", b"512")]), plain(b'0', 0), inner()],
        "Differs@521",
        "a:f512 z:f1",
    );
    for value in [&b"5x"[..], b"+5", b"-5", b" 5", b"0x5", b"5.0", b"18446744073709551616"] {
        cases.add("size that is no number", &[size(value), plain(b'0', 5)], "Invalid@512", "");
    }
    cases.add("size without a value", &[size(b""), plain(b'0', 0)], "Differs@512", "a:f0 z:f1");
    cases.add("size of 2^63", &[size(b"9223372036854775808"), plain(b'0', 0)], "Invalid@1536", "");
    cases.add("size of almost 2^63", &[size(b"9223372036854775807"), plain(b'0', 0)], "Invalid@1536", "");
    let text = "Cut@3584";
    cases.add("size behind the end", &[size(b"9223372036854770000"), plain(b'0', 0)], text, "");
    for (kind, strict) in [
        (b'5', "a:d0 inner:f0 z:f1"),
        (b'2', "a:l0>t inner:f0 z:f1"),
        (b'6', "a:p0 inner:f0 z:f1"),
        (b'1', "a:h0>t inner:f0 z:f1"),
    ] {
        cases.add("size of what has no content", &[plain(kind, 512), inner()], strict, "");
    }
    let device = |kind| head(kind, b"a", 512).put(329, b"0000001\0").put(337, b"0000003\0").done();
    cases.add("size of a device", &[device(b'3'), inner()], "a:c0 inner:f0 z:f1", "");
    cases.add("size of a block device", &[device(b'4'), inner()], "a:b0 inner:f0 z:f1", "");
    cases.add(
        "pax size of a directory",
        &[size(b"512"), plain(b'5', 0), inner()],
        "Differs@512",
        "a:d0 inner:f0 z:f1",
    );
    cases.add(
        "pax size of a hard link",
        &[size(b"512"), plain(b'1', 0), inner()],
        "Differs@1148",
        "a:h512>t z:f1",
    );
    cases.add(
        "size of a hard link with pax",
        &[pax(b'x', &[("mtime", b"5")]), plain(b'1', 512), inner()],
        "Differs@1148",
        "a:h512>t z:f1",
    );
    cases.add(
        "size of a hard link behind pax",
        &[pax(b'x', &[]), file(b"f", b""), plain(b'1', 512), inner()],
        "Differs@1148",
        "f:f0 a:h512>t z:f1",
    );
    cases.add(
        "size of a hard link, size 0 in pax",
        &[size(b"0"), plain(b'1', 512), inner()],
        "a:h0>t inner:f0 z:f1",
        "",
    );
    cases.add("global size", &[pax(b'g', &[("size", b"512")]), plain(b'0', 0), inner()], "Refused@512", "");
    cases.add(
        "pax size in front of a long name",
        &[size(b"512"), long(b'L', b"long"), plain(b'0', 0), inner()],
        "long:f512 z:f1",
        "",
    );
    cases.add(
        "pax size in front of a long target",
        &[size(b"0"), long(b'K', b"long"), plain(b'2', 0), inner()],
        "a:l0>long inner:f0 z:f1",
        "",
    );
    cases.add(
        "pax size behind a long name",
        &[long(b'L', b"long"), size(b"512"), plain(b'0', 0), inner()],
        "long:f512 z:f1",
        "",
    );
    cases.add(
        "other real size",
        &[pax(b'x', &[("SCHILY.realsize", b"7")]), plain(b'0', 0)],
        "Differs@512",
        "a:f0 z:f1",
    );
    cases.add("same real size", &[pax(b'x', &[("SCHILY.realsize", b"0")]), plain(b'0', 0)], "a:f0 z:f1", "");
}

fn order(cases: &mut Cases) {
    let path = |value: &'static [u8]| pax(b'x', &[("path", value)]);
    let a = || file(b"a", b"");
    let comment = || pax(b'g', &[("comment", b"c")]);
    cases.add("x twice", &[path(b"p"), path(b"q"), a()], "Differs@1024", "q:f0 z:f1");
    cases.add("x and X", &[path(b"p"), pax(b'X', &[("path", b"q")]), a()], "Differs@1024", "q:f0 z:f1");
    cases.add("x, g, file", &[path(b"p"), comment(), a()], "Differs@1180", "p:f0 z:f1");
    cases.add("x, g, x", &[path(b"p"), comment(), path(b"q"), a()], "Differs@1180", "q:f0 z:f1");
    cases.add("x is for one entry", &[path(b"p"), a(), file(b"b", b"")], "p:f0 b:f0 z:f1", "");
    cases.add("L twice", &[long(b'L', b"l"), long(b'L', b"m"), a()], "Differs@1024", "m:f0 z:f1");
    cases.add("K twice", &[long(b'K', b"l"), long(b'K', b"m"), a()], "Differs@1024", "a:f0 z:f1");
    cases.add(
        "L and K",
        &[long(b'L', b"l"), long(b'K', b"m"), head(b'2', b"a", 0).link(b"t").done()],
        "l:l0>m z:f1",
        "",
    );
    cases.add("L is for one entry", &[long(b'L', b"l"), a(), file(b"b", b"")], "l:f0 b:f0 z:f1", "");
    cases.add("x with path in front of L", &[path(b"p"), long(b'L', b"l"), a()], "Differs@1024", "p:f0 z:f1");
    cases.add("x with path behind L", &[long(b'L', b"l"), path(b"p"), a()], "Differs@0", "p:f0 z:f1");
    cases.add("the same path twice", &[long(b'L', b"p"), path(b"p"), a()], "p:f0 z:f1", "");
    cases.add(
        "x with linkpath behind K",
        &[long(b'K', b"l"), pax(b'x', &[("linkpath", b"p")]), head(b'2', b"a", 0).done()],
        "Differs@0",
        "a:l0>p z:f1",
    );
    cases.add("path twice", &[pax(b'x', &[("path", b"p"), ("path", b"q")]), a()], "Differs@521", "q:f0 z:f1");
    cases.raw("x at the end", archive(&[a(), path(b"p")]), "Differs@1536", "a:f0");
    cases.raw("L at the end", archive(&[a(), long(b'L', b"p")]), "Differs@1536", "a:f0");
    cases.raw("x at the end of the input", [a(), path(b"p")].concat(), "Differs@1536", "a:f0");
    cases.raw("g at the end", archive(&[a(), comment()]), "a:f0", "");
    cases.add("empty x", &[pax(b'x', &[]), a()], "a:f0 z:f1", "");
    cases.add("empty g", &[pax(b'g', &[]), a()], "a:f0 z:f1", "");
    for key in ["uid", "gid", "mtime"] {
        cases.add("global metadata", &[pax(b'g', &[(key, b"7")]), a()], "Differs@512", "a:f0 z:f1");
    }
    for key in [
        "path",
        "linkpath",
        "GNU.sparse.name",
        "GNU.sparse.major",
        "SCHILY.xattr.user.a",
        "LIBARCHIVE.xattr.a",
        "GNU.volume.size",
    ] {
        cases.add("global names and contents", &[pax(b'g', &[(key, b"7")]), a()], "Refused@512", "");
    }
}

fn records(cases: &mut Cases) {
    let a = || file(b"a", b"");
    for bad in [
        &b"13 path=pq\n"[..],
        b"10 path=pq\n",
        b"0 path=pq\n",
        b"2 path=pq\n",
        b"11 path=pqX",
        b"11 pathxpq\n",
        b"7 =pqr\n",
        b"12  path=pq\n",
        b" 11 path=pq\n",
        b"+11 path=pq\n",
        b"99999999999999999999 path=pq\n",
        b"18446744073709551627 path=pq\n",
        b"11\tpath=pq\n",
        b"path=pq\n",
        b"\n",
        b"9 p\0h=pq\n",
    ] {
        cases.add("malformed record", &[raw_pax(b'x', bad), a()], "Invalid@512", "");
        cases.add("malformed global record", &[raw_pax(b'g', bad), a()], "Invalid@512", "");
    }
    cases.add("second record malformed", &[raw_pax(b'x', b"11 path=pq\n99 x=y\n"), a()], "Invalid@523", "");
    cases.add(
        "zeros behind records",
        &[raw_pax(b'x', b"11 path=pq\n\0\0\0"), a()],
        "Differs@523",
        "pq:f0 z:f1",
    );
    cases.add("length with a zero in front", &[raw_pax(b'x', b"012 path=pq\n"), a()], "pq:f0 z:f1", "");
    cases.add(
        "record with a newline",
        &[pax(b'x', &[("comment", b"1\n11 path=pq\n")]), a()],
        "a:f0 z:f1",
        "",
    );
    for (key, value) in [
        ("path", &b"p\0q"[..]),
        ("uid", b"-2"),
        ("uid", b"1.5"),
        ("gid", b"x"),
        ("mtime", b".5"),
        ("mtime", b"1e3"),
        ("mtime", b"+1"),
        ("mtime", b"1.x"),
        ("mtime", b"99999999999999999999"),
        ("SCHILY.realsize", b"x"),
    ] {
        cases.add("record with a wrong value", &[pax(b'x', &[(key, value)]), a()], "Invalid@512", "");
    }
    for key in ["path", "uid", "gid", "mtime", "linkpath"] {
        cases.add("record without a value", &[pax(b'x', &[(key, b"")]), a()], "Differs@512", "a:f0 z:f1");
    }
    cases.add("charset", &[pax(b'x', &[("hdrcharset", b"BINARY")]), a()], "a:f0 z:f1", "");
    cases.add("unknown charset", &[pax(b'x', &[("hdrcharset", b"EBCDIC")]), a()], "Refused@512", "");
    cases.add("a part of a volume", &[pax(b'x', &[("GNU.volume.offset", b"5")]), a()], "Refused@512", "");
    for (key, value) in [
        ("SCHILY.xattr.", &b"v"[..]),
        ("LIBARCHIVE.xattr.", b"AA"),
        ("LIBARCHIVE.xattr.a%0", b"AA"),
        ("LIBARCHIVE.xattr.a%00", b"AA"),
        ("LIBARCHIVE.xattr.a", b"A"),
        ("LIBARCHIVE.xattr.a", b"A*"),
    ] {
        cases.add("wrong attribute", &[pax(b'x', &[(key, value)]), a()], "Invalid@512", "");
    }
    let name = format!("SCHILY.xattr.user.{}", "n".repeat(251));
    cases.add("long name of an attribute", &[pax(b'x', &[(&name, b"v")]), a()], "Invalid@512", "");
    cases.add(
        "escaped name of an attribute",
        &[pax(b'x', &[("SCHILY.xattr.user.a%3Db", b"v")]), a()],
        "Differs@512",
        "a:f0 z:f1",
    );
    cases.add(
        "attribute with two values",
        &[pax(b'x', &[("SCHILY.xattr.user.a", b"v"), ("LIBARCHIVE.xattr.user.a", b"AA")]), a()],
        "Differs@1024",
        "a:f0 z:f1",
    );
    cases.add(
        "attribute in both forms",
        &[pax(b'x', &[("SCHILY.xattr.user.a", b"\0"), ("LIBARCHIVE.xattr.user.a", b"AA")]), a()],
        "a:f0 z:f1",
        "",
    );
    let large = [record("comment", &vec![b'x'; 1 << 20]), record("uid", b"1")].concat();
    cases.add("too many records", &[raw_pax(b'x', &large), a()], "Limit@124", "");
    let claimed = head(b'x', b"pax", 0).put(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").done();
    cases.add("claimed length of records", &[claimed, a()], "Limit@124", "");
    let many: Vec<Vec<u8>> =
        (0..3).map(|n| pax(b'g', &[(&format!("comment{n}"), &vec![b'x'; 400_000])])).collect();
    cases.add("too many global records", &[many.concat(), a()], "Limit@802304", "");
}

fn numbers(cases: &mut Cases) {
    // Name, offset and length of each field.
    let fields = [("mode", 100, 8), ("uid", 108, 8), ("gid", 116, 8), ("size", 124, 12), ("mtime", 136, 12)];
    for (field, at, length) in fields {
        for (value, is_invalid) in [
            (&b"12x"[..], true),
            (b"-12", true),
            (b"+12", true),
            (b"9", true),
            (b"\t12", true),
            (b"\x81\0\0\0\0\0\0\x05", true),
            (b"\xfe\0\0\0\0\0\0\x05", true),
            (b"0 0", false),
            (b"0\x000", false),
            (b"\x000", false),
        ] {
            let bytes = head(b'0', b"a", 0).put(at, &vec![0; length]).put(at, value).done();
            let name = format!("{field} is {}", value.escape_ascii());
            let at = match at {
                100 => {
                    if is_invalid {
                        "Invalid@100"
                    } else {
                        "Differs@100"
                    }
                }
                108 => {
                    if is_invalid {
                        "Invalid@108"
                    } else {
                        "Differs@108"
                    }
                }
                116 => {
                    if is_invalid {
                        "Invalid@116"
                    } else {
                        "Differs@116"
                    }
                }
                124 => {
                    if is_invalid {
                        "Invalid@124"
                    } else {
                        "Differs@124"
                    }
                }
                _ => {
                    if is_invalid {
                        "Invalid@136"
                    } else {
                        "Differs@136"
                    }
                }
            };
            cases.add(&name, &[bytes], at, if is_invalid { "" } else { "a:f0 z:f1" });
        }
        let blank = head(b'0', b"a", 0).put(at, &vec![b' '; length]).done();
        let strict = ["Differs@100", "Differs@108", "Differs@116", "Differs@124", "Differs@136"];
        let index = fields.iter().position(|one| one.0 == field).unwrap();
        cases.add(&format!("{field} of blanks"), &[blank], strict[index], "a:f0 z:f1");
        let zeros = head(b'0', b"a", 0).put(at, &vec![0; length]).done();
        cases.add(&format!("{field} of zeros"), &[zeros], "a:f0 z:f1", "");
        let negative = head(b'0', b"a", 0).put(at, &vec![0xff; length]).put(at + length - 1, b"\xfe").done();
        let strict = ["Invalid@100", "Invalid@108", "Invalid@116", "Invalid@124", "a:f0 z:f1"];
        cases.add(&format!("{field} negative"), &[negative], strict[index], "");
    }
    let wide = head(b'0', b"a", 0).put(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").done();
    cases.add("size beyond 63 bits", &[wide], "Invalid@124", "");
    let major = head(b'3', b"a", 0).put(329, b"\x80\0\0\x01\0\0\0\0").done();
    cases.add("major number beyond 32 bits", &[major], "Invalid@329", "");
    let other = [pax(b'x', &[("SCHILY.devminor", b"7")]), head(b'3', b"a", 0).done()];
    cases.add("two minor numbers", &other, "Differs@512", "a:c0 z:f1");
    let mut sum = file(b"a", b"");
    sum[148..156].copy_from_slice(b"0000001\0");
    cases.add("wrong checksum", &[sum.clone()], "Checksum@148", "");
    sum[148..156].copy_from_slice(b"garbage!");
    cases.add("checksum that is no number", &[sum], "Checksum@148", "");
    let mut damaged = file(b"a", b"");
    damaged[0] ^= 1;
    cases.add("damaged header", &[damaged], "Checksum@148", "");
    cases.add("garbage", &[vec![b'x'; 512]], "Checksum@148", "");
    let mut signed = file(b"\xff\xfe", b"");
    let total: i64 = signed
        .iter()
        .zip(0..)
        .map(|(&byte, at)| i64::from(if (148..156).contains(&at) { b' ' } else { byte }.cast_signed()))
        .sum();
    signed[148..156].copy_from_slice(format!("{total:06o}\0 ").as_bytes());
    cases.add("checksum of signed bytes", &[signed], "\\xff\\xfe:f0 z:f1", "");
}

fn names(cases: &mut Cases) {
    cases.add("no name", &[file(b"", b"")], "Invalid@0", "");
    cases.add("prefix without a name", &[head(b'0', b"", 0).put(345, b"p").done()], "Invalid@0", "");
    cases.add("empty long name", &[long(b'L', b""), file(b"a", b"")], "Invalid@0", "");
    cases.add("long name of no bytes", &[head(b'L', b"l", 0).gnu().done(), file(b"a", b"")], "Invalid@0", "");
    cases.add(
        "long name without NUL",
        &[head(b'L', b"l", 2).gnu().with(b"bc"), file(b"a", b"")],
        "bc:f0 z:f1",
        "",
    );
    cases.add("long name with NUL inside", &[long(b'L', b"b\0c"), file(b"a", b"")], "b:f0 z:f1", "");
    cases.add("long name beyond the limit", &[long(b'L', &[b'n'; 4097]), file(b"a", b"")], "Limit@124", "");
    let claimed = head(b'L', b"l", 0).gnu().put(124, b"77777777777\0").done();
    cases.add("claimed length of a name", &[claimed, file(b"a", b"")], "Limit@124", "");
    cases.add(
        "pax path beyond the limit",
        &[pax(b'x', &[("path", &[b'n'; 4097])]), file(b"a", b"")],
        "Limit@512",
        "",
    );
    cases.add("link without a target", &[head(b'2', b"a", 0).done()], "Invalid@157", "");
    cases.add("hard link without a target", &[head(b'1', b"a", 0).done()], "Invalid@157", "");
    cases.add(
        "pax target with NUL",
        &[pax(b'x', &[("linkpath", b"a\0b")]), head(b'2', b"a", 0).done()],
        "Invalid@512",
        "",
    );
    for name in [&b"../a"[..], b"/etc/passwd", b"a/../../b", b"./a", b"a//b", b"."] {
        let strict = match name {
            b"../a" => "../a:f0 z:f1",
            b"/etc/passwd" => "/etc/passwd:f0 z:f1",
            b"a/../../b" => "a/../../b:f0 z:f1",
            b"./a" => "./a:f0 z:f1",
            b"a//b" => "a//b:f0 z:f1",
            _ => ".:f0 z:f1",
        };
        cases.add("path as it is", &[file(name, b"")], strict, "");
    }
    cases.add(
        "symbolic link and a file below it",
        &[head(b'2', b"s", 0).link(b"/etc").done(), file(b"s/passwd", b"")],
        "s:l0>/etc s/passwd:f0 z:f1",
        "",
    );
    cases.add("file with a slash", &[file(b"a/", b"")], "Differs@0", "a/:d0 z:f1");
    cases.add(
        "file with a slash and a content",
        &[head(b'0', b"a/", 512).done(), inner()],
        "Differs@0",
        "a/:d0 inner:f0 z:f1",
    );
    cases.add(
        "pax file with a slash",
        &[pax(b'x', &[("path", b"p/")]), file(b"a", b"")],
        "Differs@1024",
        "p/:d0 z:f1",
    );
    cases.add("old directory", &[head(0, b"a/", 0).v7().done()], "a/:d0 z:f1", "");
    cases.add(
        "old directory with a size",
        &[head(0, b"a/", 512).v7().done(), inner()],
        "Differs@0",
        "a/:d0 inner:f0 z:f1",
    );
    cases.add(
        "old directory with another name",
        &[pax(b'x', &[("path", b"p")]), head(0, b"a/", 0).done()],
        "Differs@1024",
        "p:f0 z:f1",
    );
    cases.add(
        "old file that becomes a directory",
        &[long(b'L', b"p/"), head(0, b"a", 0).done()],
        "Differs@1024",
        "p/:d0 z:f1",
    );
    cases.add(
        "prefix without magic",
        &[head(b'0', b"a", 0).v7().put(345, b"p").done()],
        "Differs@345",
        "a:f0 z:f1",
    );
    cases.add(
        "prefix in a header of GNU tar",
        &[head(b'0', b"a", 0).gnu().put(345, b"p").done()],
        "Differs@345",
        "a:f0 z:f1",
    );
    cases.add(
        "times in a header of GNU tar",
        &[head(b'0', b"a", 0).gnu().put(345, b"00000001750\0").done()],
        "Differs@345",
        "a:f0 z:f1",
    );
    cases.add("prefix of ustar", &[head(b'0', b"a", 0).put(345, b"p").done()], "p/a:f0 z:f1", "");
    cases.add(
        "other version of ustar",
        &[head(b'0', b"a", 0).put(257, b"ustar\0\0\0").put(345, b"p").done()],
        "p/a:f0 z:f1",
        "",
    );
    cases.add(
        "magic of neither",
        &[head(b'0', b"a", 0).put(257, b"ustar 00").put(345, b"p").done()],
        "Differs@257",
        "p/a:f0 z:f1",
    );
}

fn types(cases: &mut Cases) {
    for kind in [b'8', b'9', b'A', b'E', b'I', b'N', b'Q', b'a', b'l', 1, 0xff] {
        cases.add("unknown type", &[head(kind, b"a", 1).with(b"a")], "Refused@156", "a:f1 z:f1");
    }
    cases.add("volume", &[head(b'M', b"a", 1).gnu().with(b"a")], "Refused@156", "");
    cases.add("volume label", &[head(b'V', b"label", 0).gnu().done()], "Differs@156", "z:f1");
    cases.add(
        "volume label with a size",
        &[head(b'V', b"label", 512).gnu().done(), inner()],
        "Differs@156",
        "Refused",
    );
    cases.add(
        "incremental directory",
        &[head(b'D', b"a/", 9).gnu().with(b"Yfile\0\0\0\0")],
        "Differs@156",
        "a/:d9 z:f1",
    );
    cases.add("contiguous file", &[head(b'7', b"a", 1).with(b"a")], "a:f1 z:f1", "");
    cases.add("sparse file of star", &[head(b'S', b"a", 1).with(b"a")], "Refused@156", "");
    cases.add("sun's records", &[pax(b'X', &[("path", b"p")]), file(b"a", b"")], "p:f0 z:f1", "");
}

fn ends(cases: &mut Cases) {
    let a = || file(b"a", b"abc");
    let zeros = |count| vec![0; count];
    cases.raw("nothing", Vec::new(), "NoEnd@0", "no entries");
    cases.raw("no end marker", a(), "NoEnd@1024", "a:f3");
    cases.raw("half of an end marker", [a(), zeros(512)].concat(), "NoEnd@1536", "a:f3");
    cases.raw("one zero block and an entry", archive(&[a(), zeros(512), a()]), "Garbage@1536", "a:f3");
    cases.raw("an entry behind the end", archive(&[a(), zeros(1024), a()]), "Garbage@2048", "a:f3");
    cases.raw(
        "a byte behind the end",
        [archive(&[a()]), zeros(100), vec![7]].concat(),
        "Garbage@2148",
        "a:f3",
    );
    cases.raw(
        "a late byte behind the end",
        [archive(&[a()]), zeros(5000), vec![7]].concat(),
        "Garbage@7048",
        "a:f3",
    );
    cases.raw("odd zeros behind the end", [archive(&[a()]), zeros(100)].concat(), "a:f3", "");
    cases.raw("only an end marker", zeros(1024), "no entries", "");
    for length in [1, 511, 512, 515, 1023] {
        let strict = match length {
            1 => "Cut@1",
            511 => "Cut@511",
            512 => "Cut@512",
            515 => "Cut@515",
            _ => "Cut@1023",
        };
        cases.raw(&format!("cut at {length}"), a()[..length].to_vec(), strict, "");
    }
    let with = [pax(b'x', &[("path", b"p")]), a()].concat();
    for (length, strict) in [(512, "Cut@512"), (600, "Cut@600"), (1100, "Cut@1100")] {
        cases.raw(&format!("cut in records at {length}"), with[..length].to_vec(), strict, "");
    }
    cases.raw("cut end marker", archive(&[a()])[..1500].to_vec(), "Cut@1500", "");
    cases.raw("cut second zero block", archive(&[a()])[..2000].to_vec(), "Cut@2000", "");
}

/// A sparse file of version 1.0 whose map is this text.
fn front(map: &[u8], data: u64) -> Vec<u8> {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"2000"),
    ];
    let content = [padded(map), vec![b'x'; usize::try_from(data).unwrap()]].concat();
    [pax(b'x', &records), file(b"a", &content)].concat()
}

/// A sparse file of version 0.1.
fn list(map: &[u8], blocks: &[u8], data: usize) -> Vec<u8> {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.size", b"2000"),
        ("GNU.sparse.numblocks", blocks),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.map", map),
    ];
    [pax(b'x', &records), file(b"a", &vec![b'x'; data])].concat()
}

/// A sparse file of an old header with these slots.
fn old(slots: &[(u64, u64)], data: usize, more: bool) -> Vec<u8> {
    let mut block = head(b'S', b"s", data as u64).gnu().put(483, b"00000003720\0");
    for (at, (offset, length)) in (386..).step_by(24).zip(slots) {
        block = block.put(at, format!("{offset:011o}\0{length:011o}\0").as_bytes());
    }
    block.0[482] = u8::from(more);
    let mut parts = block.done();
    if more {
        parts.extend([0; 512]);
    }
    [parts, padded(&vec![b'x'; data])].concat()
}

fn sparse(cases: &mut Cases) {
    cases.add("1.0", &[front(b"2\n0\n512\n1996\n4\n", 516)], "s:f516 z:f1", "");
    cases.add("1.0 without data", &[front(b"1\n2000\n0\n", 0)], "s:f0 z:f1", "");
    cases.add("1.0 that ends before the file", &[front(b"1\n0\n7\n", 7)], "Differs@0", "s:f7 z:f1");
    cases.add("old that ends before the file", &[old(&[(0, 7)], 7, false)], "Differs@0", "s:f7 z:f1");
    cases.add("1.0 in odd pieces", &[front(b"2\n0\n3\n1996\n4\n", 7)], "Differs@0", "s:f7 z:f1");
    cases.add("1.0 with more data", &[front(b"1\n0\n3\n", 7)], "Invalid@0", "");
    cases.add("1.0 with less data", &[front(b"1\n0\n30\n", 7)], "Invalid@0", "");
    cases.add("1.0 overlapping", &[front(b"2\n0\n4\n3\n3\n", 7)], "Invalid@1545", "");
    cases.add("1.0 not in order", &[front(b"2\n9\n4\n0\n3\n", 7)], "Invalid@1545", "");
    cases.add("1.0 beyond the file", &[front(b"1\n1999\n7\n", 7)], "Invalid@1544", "");
    cases.add("1.0 overflowing", &[front(b"1\n18446744073709551615\n7\n", 7)], "Invalid@1560", "");
    cases.add("1.0 with letters", &[front(b"1\nx\n7\n", 7)], "Invalid@1539", "");
    cases.add("1.0 with an empty line", &[front(b"1\n\n7\n", 7)], "Invalid@1538", "");
    cases.add("1.0 with a long number", &[front(b"1\n000000000000000000000\n7\n", 7)], "Invalid@1558", "");
    cases.add("1.0 with too many", &[front(b"9999999\n", 7)], "Limit@1543", "");
    cases.add("1.0 with a count that wraps", &[front(b"9223372036854775808\n", 7)], "Limit@1555", "");
    cases.add("1.0 with a map that does not end", &[front(b"3\n0\n", 0)], "Invalid@1560", "Invalid");
    cases.add("1.0 without a map", &[front(b"", 0)], "Invalid@1536", "Invalid");
    cases.add("0.1", &[list(b"0,512,1996,4", b"2", 516)], "s:f516 z:f1", "");
    cases.add("0.1 with another count", &[list(b"0,3,1000,4", b"3", 7)], "Invalid@512", "");
    cases.add("0.1 with odd numbers", &[list(b"0,3,1000", b"1", 3)], "Invalid@512", "");
    cases.add("0.1 with letters", &[list(b"0,3,x,4", b"2", 7)], "Invalid@583", "");
    cases.add("0.1 with a comma more", &[list(b"0,3,", b"1", 3)], "Invalid@583", "");
    cases.add("0.1 overlapping", &[list(b"0,4,3,3", b"2", 7)], "Invalid@512", "");
    cases.add("0.1 with other data", &[list(b"0,4", b"1", 7)], "Invalid@0", "");
    let records: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", b"2000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"512"),
        ("GNU.sparse.offset", b"1996"),
        ("GNU.sparse.numbytes", b"4"),
    ];
    let stored = || file(b"s", &[b'x'; 516]);
    cases.add("0.0", &[pax(b'x', &records), stored()], "s:f516 z:f1", "");
    cases.add("0.0 cut", &[pax(b'x', &records[..5]), stored()], "Invalid@512", "");
    cases.add("0.0 without a size", &[pax(b'x', &records[1..]), stored()], "Invalid@512", "");
    cases.add(
        "0.0 with two offsets",
        &[pax(b'x', &[records[0], records[2], records[4]]), stored()],
        "Invalid@559",
        "",
    );
    cases.add(
        "0.0 and a map",
        &[pax(b'x', &[&records[..], &[("GNU.sparse.map", b"0,7")]].concat()), stored()],
        "Invalid@512",
        "",
    );
    cases.add(
        "two sizes",
        &[pax(b'x', &[("GNU.sparse.size", b"7"), ("GNU.sparse.realsize", b"8")]), stored()],
        "Invalid@533",
        "",
    );
    cases.add(
        "another version",
        &[
            pax(b'x', &[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.size", b"7")]),
            stored(),
        ],
        "Invalid@512",
        "",
    );
    cases.add("an unknown record", &[pax(b'x', &[("GNU.sparse.other", b"2")]), stored()], "Invalid@512", "");
    let directory = head(b'5', b"d", 0).done();
    cases.add("a sparse directory", &[pax(b'x', &records), directory], "Invalid@1180", "");
    cases.add("old", &[old(&[(0, 512), (1996, 4)], 516, false)], "s:f516 z:f1", "");
    cases.add("old with a hole at the end", &[old(&[(0, 3), (2000, 0)], 3, false)], "s:f3 z:f1", "");
    cases.add("old with other data", &[old(&[(0, 3)], 4, false)], "Invalid@0", "");
    cases.add("old overlapping", &[old(&[(0, 4), (3, 3)], 7, false)], "Invalid@410", "");
    cases.add("old beyond the file", &[old(&[(1999, 3)], 3, false)], "Invalid@386", "");
    cases.add("old continued when it has ended", &[old(&[(0, 3)], 3, true)], "Invalid@0", "");
    cases.add(
        "old continued by nothing",
        &[old(&[(0, 1), (5, 1), (7, 1), (1999, 1)], 4, true)],
        "Differs@0",
        "s:f4 z:f1",
    );
    cases.add(
        "old and pax size",
        &[pax(b'x', &[("size", b"512")]), old(&[(0, 3)], 3, false)],
        "Differs@512",
        "Invalid",
    );
    cases.add("old and a map", &[pax(b'x', &records), old(&[(0, 3)], 3, false)], "Invalid@1180", "");
}

#[test]
fn each_case_is_as_it_says() {
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        for (lenient, wanted) in [(false, case.strict), (true, case.lenient)] {
            let read = entries(&case.bytes, &Options { lenient, ..Options::default() });
            let found = outcome(&read);
            let wanted = if wanted == "no entries" { "" } else { wanted };
            // A kind without an offset stands for any.
            let is_kind = found.split('@').next() == Some(wanted) && !wanted.is_empty();
            if found != wanted && !is_kind {
                wrong.push(format!(
                    "{} (lenient: {lenient}): found {found}, wanted {wanted}: {read:?}",
                    case.name
                ));
            }
            if let Err(error) = &read {
                let text = error.to_string();
                assert!(!text.contains('\n') && text.is_ascii() | text.contains('…'), "{text}");
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_cut_is_an_error() {
    for case in cases().iter().filter(|case| !case.strict.contains('@')).take(40) {
        for length in (0..case.bytes.len().min(6000)).step_by(37) {
            let cut = case.bytes.get(..length).unwrap();
            if cut.len() + 1024 <= case.bytes.len() {
                assert!(entries(cut, &Options::default()).is_err(), "{} cut at {length}", case.name);
            }
        }
    }
}

#[test]
fn no_changed_byte_makes_it_panic() {
    for case in cases().iter().filter(|case| case.bytes.len() < 8192) {
        let mut bytes = case.bytes.clone();
        for at in (0..bytes.len()).step_by(13) {
            for value in [0, b'7', 0xff] {
                let before = std::mem::replace(&mut bytes[at], value);
                for lenient in [false, true] {
                    let options = Options { lenient, concatenated: true, ..Options::default() };
                    drop(entries(&bytes, &options));
                }
                bytes[at] = before;
            }
        }
    }
}
