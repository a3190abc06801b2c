//! Logs of strace, and the accesses that they stand for.

use super::*;

/// The lines of a trace that a log becomes, for an image `i` mounted at `/mnt/i`.
fn trace(log: &str) -> Vec<String> {
    let mounts = [
        Mountpoint { dir: b"/mnt/i/".to_vec(), image: b"i".to_vec() },
        Mountpoint { dir: b"/mnt/i/inner".to_vec(), image: b"n".to_vec() },
    ];
    let lines = Reader::new(log.as_bytes(), &mounts).map(|record| record.unwrap().line());
    lines.map(|line| String::from_utf8(line).unwrap().trim_end().to_owned()).collect()
}

#[test]
fn reads_follow_the_position_of_the_file() {
    let log = "\
1 openat(AT_FDCWD, \"/mnt/i/a b\", O_RDONLY) = 3
1 read(3, \"x\"..., 4096) = 4096
1 read(3, \"\", 4096) = 0
1 read(3, \"x\"..., 8192) = 8192
1 pread64(3, \"x\", 10, 5) = 10
1 lseek(3, 0, SEEK_SET) = 0
1 readv(3, [{iov_base=\"a\", iov_len=1}], 1) = 1
1 read(3, 0x7ff, 10) = -1 EIO (Input/output error)
1 close(3) = 0
1 read(3, \"x\", 7) = 7
1 openat(AT_FDCWD, \"/mnt/ix/other\", O_RDONLY) = 3
1 read(3, \"x\", 7) = 7
1 open(\"/mnt/i/inner/f\", O_RDONLY) = 4
1 read(4, \"x\", 7) = 7
";
    assert_eq!(
        trace(log),
        [
            "i /a\\040b 0 12288 read 8192",
            "i /a\\040b 5 10 read 10",
            "i /a\\040b 0 1 read 1",
            "n /f 0 7 read 7"
        ]
    );
}

#[test]
fn every_way_to_bytes_has_its_method() {
    let log = "\
openat(AT_FDCWD, \"/mnt/i/f\", O_RDONLY) = 3
mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0x1000) = 0x7f0000
mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, 3, 0) = 0x7f0000
sendfile(5, 3, NULL, 100) = 100
sendfile(5, 3, [4096] => [4196], 100) = 100
splice(3, [0], 5, NULL, 4096, 0) = 4096
preadv(3, [{iov_base=\"a\", iov_len=1}], 1, 9) = 1
fadvise64(3, 0, 0, POSIX_FADV_WILLNEED) = 0
fadvise64(3, 0, 0, POSIX_FADV_SEQUENTIAL) = 0
readahead(3, 4096, 8192) = 0
execve(\"/mnt/i/bin/p\", [\"p\", \"a)\"], 0x55ce /* 38 vars */) = 0
";
    assert_eq!(
        trace(log),
        [
            "i /f 4096 8192 mmap",
            "i /f 0 100 sendfile 100",
            "i /f 4096 100 sendfile 100",
            "i /f 0 4096 splice 4096",
            "i /f 0 - willneed",
            "i /f 4096 8192 willneed",
            "i /bin/p 0 - exec",
            "i /f 9 1 read 1",
        ]
    );
}

#[test]
fn children_have_what_their_parents_had() {
    // What is read in a row is handed out when the last descriptor is closed, in their order.
    let log = "\
10 chdir(\"/mnt/i\") = 0
10 openat(AT_FDCWD, \"d/../f\", O_RDONLY) = 3
10 openat(AT_FDCWD, \"g\", O_RDONLY|O_CLOEXEC) = 4
10 dup2(3, 7) = 7
10 vfork( <unfinished ...>
11 read(7, \"x\", 100) = 100
11 execve(\"/bin/true\", [\"true\"], 0x5 /* 1 var */ <unfinished ...>
10 <... vfork resumed>) = 11
11 <... execve resumed>) = 0
11 read(4, \"x\", 9) = 9
11 read(3, \"x\", 50) = 50
11 +++ exited with 0 +++
10 clone(child_stack=NULL, flags=CLONE_FILES|CLONE_FS|SIGCHLD) = 12
[pid 12] openat(3</mnt/i/f>, \"x\", O_RDONLY) = -1 ENOTDIR (Not a directory)
12 chdir(\"sub\") = 0
12 openat(AT_FDCWD, \"h\", O_RDONLY) = 5
10 read(5, \"x\", 3) = 3
10 fcntl(5, F_DUPFD_CLOEXEC, 20) = 20
10 openat(AT_FDCWD, \"k\", O_RDONLY) = 6
10 read(20, \"x\", 4) = 4
10 read(6, \"x\", 2) = 2
10 read(9</mnt/i/early>, \"x\", 2) = 2
10 close_range(3, 4294967295, 0) = 0
";
    assert_eq!(
        trace(log),
        ["i /sub/k 0 2 read 2", "i /f 0 150 read 100", "i /early 0 2 read 2", "i /sub/h 0 7 read 4"]
    );
}

#[test]
fn directories_can_be_descriptors() {
    let log = "\
1 openat(AT_FDCWD, \"/mnt/i/d\", O_RDONLY|O_DIRECTORY) = 3
1 openat(3, \"../e/f\", O_RDONLY) = 4
1 read(4, \"x\", 1) = 1
1 fchdir(3) = 0
1 openat(AT_FDCWD, \"g\", O_RDONLY) = 5
1 read(5, \"x\", 1) = 1
";
    assert_eq!(trace(log), ["i /e/f 0 1 read 1", "i /d/g 0 1 read 1"]);
}

#[test]
fn strange_lines_are_counted_and_nothing_panics() {
    let mut state = 11_u64;
    let pieces = [
        "1 ",
        "read(",
        "3",
        ", ",
        "\"",
        "\\",
        ")",
        " = ",
        "<unfinished ...>",
        "<... read resumed>",
        "[",
        "]",
        "openat(AT_FDCWD, \"/mnt/i/f\", 0) = 3",
        "\n",
        "18446744073709551615",
        "close_range(0, 5) = 0",
        "{",
        "mmap(0,99999999999,0,0,3,0) = 1",
        "clone(",
        "exit",
        "+++ exited",
        "0x",
        "-1",
        "dup2(3, 3) = 3",
        "\u{0}",
    ];
    for _ in 0..3000 {
        let mut log = String::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            log.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        for record in Reader::new(log.as_bytes(), &[Mountpoint { dir: b"/".to_vec(), image: b"i".to_vec() }])
        {
            drop(record);
        }
    }
    let mut reader = Reader::new(&b"nonsense\n1 close(3\nstrace: fine\n2 <... x resumed>) = 0\n"[..], &[]);
    assert!(reader.next().is_none());
    assert_eq!((reader.strange_lines(), reader.line()), (3, 5));
}
