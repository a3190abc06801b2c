//! What the pages say beyond the flags.

/// A section of a page.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) blocks: &'static [Block],
}

/// A part of a section.
pub(crate) enum Block {
    /// A paragraph.
    Text(&'static str),
    /// A term and what it means.
    Item(&'static str, &'static str),
    /// Lines as they are.
    Code(&'static str),
}

use Block::{Code, Item, Text};

pub(crate) const MKFS_EROFS: &[Section] = &[
    Section {
        title: "FINGERPRINTS AND TRUST",
        blocks: &[
            Text(
                "With --ishare-key every non-empty regular file of the image has an extended attribute whose value names \
                 its content. Linux 7.0 and newer keep one copy in memory of files with equal values, whichever of the \
                 mounted images they are in. The mount has to ask for it:",
            ),
            Code("mount -t erofs -o ro,loop,inode_share,domain_id=NAME a.img /mnt/a"),
            Text(
                "Files share when the mounts name the same domain_id, the values are equal, and the sizes are equal. The \
                 name of the attribute may differ from image to image; the kind of value may not, because the kernel \
                 compares the bytes. sha256 is the kind that mkfs.erofs writes, so images of both tools share.",
            ),
            Text(
                "The kernel does not check a value against the content. Whoever makes an image that is mounted in a domain \
                 decides what other images of the domain may show for a file with the same value and size. Mount \
                 images that do not trust each other under different values of domain_id. For the same reason values \
                 are computed here from the bytes that are written, in the same read; an attribute of the source that \
                 would be taken for a fingerprint is left out and counted in the summary, or is an error with --strict. \
                 --ishare-digest=source is the one exception: it trusts the source.",
            ),
            Text(
                "Shared memory serves read and mmap. sendfile and splice make private copies (as of Linux 7.2), and O_DIRECT is \
                 refused on files that share. Images that are mounted directly from a file should have the mount \
                 option directio, those on a loop device direct I/O of that device (losetup --direct-io=on), else \
                 the image file is in memory a second time. Do not mount some images from files and others \
                 from block devices: the kernel shares only among those of one kind.",
            ),
        ],
    },
    Section {
        title: "BUILD TIME AND FILE TIMES",
        blocks: &[
            Text(
                "The build time of the image is the value of -T, else of the environment variable SOURCE_DATE_EPOCH, else \
                 0. It is never the time of day.",
            ),
            Text(
                "What becomes of the modification times of files is said by the first of these that applies:",
            ),
            Item("--mkfs-time", "They are kept."),
            Item("--all-time", "They all become the build time."),
            Item("-T", "They all become the build time."),
            Item(
                "SOURCE_DATE_EPOCH",
                "Those that are not earlier become the build time; the others are kept.",
            ),
            Item("none of these", "They are kept."),
            Text(
                "Of --mkfs-time and --all-time the one that stands last counts. mkfs.erofs lets SOURCE_DATE_EPOCH override -T, \
                 --mkfs-time and --all-time; here what is typed counts more than the environment.",
            ),
        ],
    },
    Section {
        title: "REPRODUCIBILITY",
        blocks: &[
            Text(
                "The image depends on SOURCE, on the options and on SOURCE_DATE_EPOCH alone. The order in which the file \
                 system lists names, the number of threads, the size of a page and the time of day play no part. The UUID is \
                 derived from everything that the image holds, unless -U says otherwise; with -U random every image is \
                 different.",
            ),
            Text(
                "SOURCE includes owners, modification times and extended attributes. Two checkouts of the same files usually \
                 differ in times; -T 0 or SOURCE_DATE_EPOCH makes them equal. --all-root does the same for owners, and -x \
                 -1 leaves extended attributes out.",
            ),
            Text(
                "The form of images has a number, which --version prints. Versions of the program with the same number write \
                 the same bytes.",
            ),
        ],
    },
    Section {
        title: "OUTPUT",
        blocks: &[
            Text(
                "A regular file appears under its name only when the image is complete and on the disk; until then an older \
                 file of that name stays as it is. A run that fails or is killed leaves nothing behind; only on file systems \
                 without nameless files (O_TMPFILE) a killed run leaves a file .mkfs-erofs-* beside IMAGE. Block devices \
                 are written in place, and are not to be used before the program has ended with 0.",
            ),
            Text(
                "If IMAGE is inside SOURCE, it does not become a part of itself; a warning says so. A file of SOURCE that cannot be \
                 read, or that changes while it is read, is an error.",
            ),
            Text(
                "The summary goes to stdout, warnings and errors to stderr. With --json the summary is one object that \
                 includes the warnings:",
            ),
            Item(
                "image, image_bytes, block_size, uuid",
                "The image, its length, the size of a block, the UUID of the volume.",
            ),
            Item(
                "inodes, files, directories, symlinks, special_files, hard_links",
                "Counts. A file with several names is one file, and its other names are hard links.",
            ),
            Item(
                "logical_bytes, stored_bytes, deduplicated_bytes, hole_bytes",
                "The bytes of all files; those of them that the image holds; those that were not stored again because \
                 equal ones had been; those that are holes.",
            ),
            Item(
                "fingerprints",
                "null, or an object: key (the attribute), digest (the kind), files (how many carry one), dropped_from_source \
                 (attributes of the source that were left out because they would have been taken for one).",
            ),
            Item("compat, incompat", "Lists of the names of the features that the image uses."),
            Item(
                "kernel_to_mount, kernel_to_share",
                "The first Linux that mounts the image and that shares its files; the second is null without fingerprints.",
            ),
            Item("warnings, seconds", "A list of texts; how long it took."),
        ],
    },
    Section {
        title: "DIFFERENCES FROM MKFS.EROFS",
        blocks: &[
            Text(
                "Options that both have mean the same. The program may be installed under the name mkfs.erofs. Options of \
                 mkfs.erofs for what this version does not do (compression, tarballs and images as sources, extra devices, \
                 Android's files and others) are refused by name with exit status 2; none is ignored. --mount-point is \
                 accepted with a warning, because nothing that it would change exists here. Long \
                 options cannot be abbreviated.",
            ),
            Text(
                "These defaults differ: the size of a block is 4096 bytes on every machine, the UUID is derived from the contents, \
                 the build time is 0, and with --ishare-key equal files are stored once.",
            ),
            Text(
                "Regular expressions are those of the Rust crate regex, on bytes. They are written like POSIX extended ones, except \
                 that back-references do not exist, and that inside brackets a backslash escapes.",
            ),
        ],
    },
    Section {
        title: "EXIT STATUS",
        blocks: &[
            Item("0", "The image is complete."),
            Item(
                "1",
                "It is not: something could not be read, written, or stored. One line on stderr says what.",
            ),
            Item("2", "The command line or SOURCE_DATE_EPOCH is wrong. Nothing was read or written."),
        ],
    },
    Section {
        title: "ENVIRONMENT",
        blocks: &[
            Item(
                "SOURCE_DATE_EPOCH",
                "Seconds since 1970 in decimal digits, see BUILD TIME AND FILE TIMES. Anything else is an error, also if -T is given.",
            ),
            Item("NO_COLOR", "Help and errors have no colours. Progress bars have none anyway."),
            Item("TERM", "No progress bars if it is dumb, empty or not set."),
        ],
    },
    Section {
        title: "EXAMPLES",
        blocks: &[
            Text(
                "An image whose files share memory with those of other images, under a name that getfattr shows:",
            ),
            Code("mkfs-erofs --ishare-key=trusted.erofs.fingerprint app.img app/"),
            Text("The same without owners and times of the build machine:"),
            Code("mkfs-erofs --ishare-key -T0 --all-root app.img app/"),
            Text(
                "For 512-byte blocks and without tails behind inodes, as loop devices with direct I/O like it:",
            ),
            Code("mkfs-erofs -b512 -E^inline_data app.img app/"),
            Text("What a script wants to know:"),
            Code("mkfs-erofs --quiet --json --ishare-key app.img app/ | jq .deduplicated_bytes"),
        ],
    },
    Section {
        title: "SEE ALSO",
        blocks: &[Text("erofs-ishare(1), mkfs.erofs(1), fsck.erofs(1), dump.erofs(1), mount(8), losetup(8)")],
    },
];

pub(crate) const EROFS_ISHARE: &[Section] = &[
    Section {
        title: "NOTES",
        blocks: &[Text(
            "Images are read by the program itself: neither root nor a kernel with EROFS is needed. Nothing in an image is \
             trusted. A malformed image is an error that names the field, its place and its value.",
        )],
    },
    Section {
        title: "EXIT STATUS",
        blocks: &[
            Item("0", "Done."),
            Item(
                "1",
                "Something could not be done: the image is malformed or cannot be read, or a path is not in it. Each has its line on stderr.",
            ),
            Item("2", "The command line is wrong."),
        ],
    },
    Section {
        title: "EXAMPLES",
        blocks: &[
            Text("What an image is, and whether its files can share memory:"),
            Code("erofs-ishare inspect app.img"),
            Text("One file of it, and all of them:"),
            Code("erofs-ishare cat app.img /etc/os-release\nerofs-ishare extract --output copy app.img"),
        ],
    },
    Section { title: "SEE ALSO", blocks: &[Text("mkfs-erofs(1), fsck.erofs(1), dump.erofs(1)")] },
];
