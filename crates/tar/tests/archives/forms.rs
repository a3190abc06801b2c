//! What entries hold, form by form.

use erofs_tar::{Error, Kind, Options, Parser, Segment, Time, Xattr, entries};

use super::make::{archive, file, head, long, padded, pax};

fn read(parts: &[Vec<u8>]) -> Vec<erofs_tar::Entry> {
    entries(&archive(parts), &Options::default()).unwrap()
}

#[test]
fn fields_of_a_header() {
    let block = head(b'0', b"name", 3)
        .put(100, b"0104755\0")
        .put(108, b"0001750\0")
        .put(116, b"0000144\0")
        .put(345, b"dir");
    let all = read(&[block.with(b"abc")]);
    let entry = &all[0];
    assert_eq!((entry.path.as_slice(), &entry.kind, entry.mode), (&b"dir/name"[..], &Kind::File, 0o4755));
    assert_eq!((entry.uid, entry.gid, entry.mtime), (1000, 100, Time { seconds: 1000, nanoseconds: 0 }));
    assert_eq!((entry.header_offset, entry.data_offset, entry.stored, entry.size), (0, 512, 3, 3));
    assert!(entry.segments.is_none() && entry.xattrs.is_empty() && entry.records.is_empty());
}

#[test]
fn numbers_in_base_256() {
    let block = head(b'0', b"a", 0)
        .gnu()
        .put(108, b"\x80\0\0\x01\0\0\0\0")
        .put(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
    let entry = &read(&[block.done()])[0];
    assert_eq!((entry.uid, entry.mtime.seconds), (1 << 32, -2));
}

#[test]
fn devices_and_pipes() {
    let device = |kind| head(kind, b"a", 0).put(329, b"0000010\0").put(337, b"7777777\0").done();
    let all = read(&[device(b'3'), device(b'4'), head(b'6', b"a", 0).done()]);
    let kinds: Vec<_> = all.into_iter().map(|entry| entry.kind).collect();
    let (major, minor) = (8, 0o7_777_777);
    assert_eq!(kinds, [Kind::CharDevice { major, minor }, Kind::BlockDevice { major, minor }, Kind::Fifo]);
}

#[test]
fn records_are_values_and_raw() {
    let records: [(&str, &[u8]); 8] = [
        ("path", b"\xff/p"),
        ("mtime", b"-1.25"),
        ("uid", b"4294967296"),
        ("gid", b"7"),
        ("uname", b"root"),
        ("SCHILY.xattr.user.b", b"\0=\n"),
        ("LIBARCHIVE.xattr.user.a%3D", b"AP8"),
        ("SCHILY.acl.access", b"user::rwx"),
    ];
    let all = read(&[file(b"first", b""), pax(b'x', &records), file(b"a", b"content")]);
    let entry = &all[1];
    assert_eq!(entry.path, b"\xff/p");
    assert_eq!((entry.uid, entry.gid), (1 << 32, 7));
    assert_eq!(entry.mtime, Time { seconds: -2, nanoseconds: 750_000_000 });
    let xattr = |name: &[u8], value: &[u8]| Xattr { name: name.into(), value: value.into() };
    assert_eq!(entry.xattrs, [xattr(b"user.a=", b"\0\xff"), xattr(b"user.b", b"\0=\n")]);
    let raw: Vec<_> =
        entry.records.iter().map(|record| (record.key.as_slice(), record.value.as_slice())).collect();
    assert_eq!(raw, records.map(|(key, value)| (key.as_bytes(), value)));
    assert_eq!(entry.records[0].offset, 1024);
    assert_eq!((entry.header_offset, entry.data_offset), (512, 2048));
}

#[test]
fn global_records() {
    let bytes = archive(&[
        pax(b'g', &[("comment", b"c"), ("mtime", b"5")]),
        file(b"a", b""),
        pax(b'g', &[("mtime", b"")]),
        file(b"b", b""),
    ]);
    let mut parser = Parser::new(Options { lenient: true, ..Options::default() });
    let mut times = Vec::new();
    let mut globals = Vec::new();
    while let Some(block) = bytes[usize::try_from(parser.offset()).unwrap()..].first_chunk() {
        if let Some(entry) = parser.push(block).unwrap() {
            times.push(entry.mtime.seconds);
            globals.push(parser.globals().count());
        }
    }
    assert_eq!((times, globals), (vec![5, 1000], vec![2, 1]));
}

#[test]
fn long_names() {
    let name = vec![b'n'; 4096];
    let all = read(&[long(b'L', &name), long(b'K', &name), head(b'1', b"n", 0).gnu().link(b"n").done()]);
    assert_eq!((&all[0].path, &all[0].kind), (&name, &Kind::HardLink { target: name.clone() }));
    assert_eq!(all[0].header_offset, 0);
}

#[test]
fn maps_of_holes() {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"1000406016"),
    ];
    // The map takes more than a block.
    let count = 100;
    let lines: Vec<String> =
        (0..count).map(|at| format!("{}\n512\n", at * 4096 + 1_000_000_000_u64)).collect();
    let content = [padded(format!("{count}\n{}", lines.concat()).as_bytes()), vec![b'x'; 51_200]].concat();
    let all = read(&[pax(b'x', &records), file(b"GNUSparseFile.0/s", &content), file(b"z", b"")]);
    let entry = &all[0];
    assert_eq!((entry.path.as_slice(), entry.size, entry.stored), (&b"s"[..], 1_000_406_016, 51_200));
    let segments = entry.segments.as_ref().unwrap();
    assert_eq!((segments.len(), segments[1]), (100, Segment { offset: 1_000_004_096, length: 512 }));
    assert_eq!(entry.data_offset, 3072);

    // Old headers: four slots, and twenty-one in each block that continues them.
    let slot = |at: u64| format!("{:011o}\0{:011o}\0", at * 1024, 512).into_bytes();
    let mut block = head(b'S', b"s", 26 * 512).gnu().put(483, b"00000063000\0");
    for at in 0..4 {
        block = block.put(386 + at * 24, &slot(at as u64));
    }
    block.0[482] = 1;
    let mut more = [0; 1024];
    for at in 0..21 {
        more[at * 24..at * 24 + 24].copy_from_slice(&slot(at as u64 + 4));
    }
    more[504] = 1;
    more[512..536].copy_from_slice(&slot(25));
    let all = read(&[block.done(), more.to_vec(), vec![b'x'; 26 * 512], file(b"z", b"")]);
    assert_eq!((all[0].size, all[0].stored, all[0].data_offset), (25 * 1024 + 512, 26 * 512, 1536));
    assert_eq!(all[0].segments.as_ref().unwrap()[25], Segment { offset: 25 * 1024, length: 512 });
    assert_eq!(all[1].path, b"z");
}

#[test]
fn archives_in_a_row() {
    let one = archive(&[pax(b'g', &[("comment", b"c")]), file(b"a", b"1")]);
    let two = [one.clone(), vec![0; 512 * 7], archive(&[file(b"b", b"2")])].concat();
    let options = Options { concatenated: true, ..Options::default() };
    let paths: Vec<_> = entries(&two, &options).unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, [b"a", b"b"]);
    assert!(matches!(entries(&two, &Options::default()), Err(Error::Garbage(_))));
    let cut = two.get(..two.len() - 1024).unwrap();
    assert!(matches!(entries(cut, &options), Err(Error::NoEnd(_))));
}

#[test]
fn contradictions_are_counted() {
    let bytes = archive(&[pax(b'x', &[("size", b"0")]), head(b'0', b"a", 512).done()]);
    let mut parser = Parser::new(Options::default());
    while let Some(block) = bytes[usize::try_from(parser.offset()).unwrap()..].first_chunk() {
        parser.push(block).unwrap();
    }
    assert!(parser.is_at_end());
    assert_eq!(parser.contradictions(), 1);
}

#[test]
fn a_parser_stays_with_its_error() {
    let mut parser = Parser::new(Options::default());
    let error = parser.push(&[b'x'; 512]).unwrap_err();
    assert_eq!(parser.push(&[0; 512]).unwrap_err(), error);
    assert_eq!(parser.finish(1024, &[]).unwrap_err(), error);
}

#[test]
fn limits_are_options() {
    let options = Options { max_name: 3, max_pax: 30, max_segments: 1, ..Options::default() };
    let is_limit = |parts: &[Vec<u8>]| matches!(entries(&archive(parts), &options), Err(Error::Limit(_)));
    assert!(is_limit(&[file(b"long", b"")]));
    assert!(!is_limit(&[file(b"abc", b"")]));
    assert!(is_limit(&[long(b'L', b"long"), file(b"a", b"")]));
    assert!(is_limit(&[pax(b'x', &[("comment", &[b'x'; 30])]), file(b"a", b"")]));
    assert!(is_limit(&[
        pax(b'g', &[("comment", b"1234")]),
        pax(b'g', &[("comment2", b"1234567")]),
        pax(b'g', &[("comment3", b"12345678")]),
        file(b"a", b"")
    ]));
}
