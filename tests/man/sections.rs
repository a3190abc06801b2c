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
            Code(
                "losetup --find --show --read-only --direct-io=on a.img\n\
                 mount -t erofs -o ro,inode_share,domain_id=NAME /dev/loop0 /mnt/a",
            ),
            Text("where /dev/loop0 is the device that losetup prints."),
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
                 refused on files that share. A loop device should have direct I/O (losetup --direct-io=on), and an image \
                 that is mounted directly from its file the mount option directio, else the image file is in memory a second \
                 time. Before util-linux 2.41, mount(8) mounts no file directly: it makes a loop device without \
                 direct I/O, for which the kernel ignores directio; with the option loop later versions do so as well. \
                 erofs-ishare domain mount --domain-file FILE -o directio mounts the file itself. Do not mount some \
                 images from files and others from block devices: the kernel shares only among those of one kind.",
            ),
        ],
    },
    Section {
        title: "SOURCE",
        blocks: &[
            Text(
                "SOURCE is a directory, or with --tar an archive. Symbolic links are stored and not followed, unless SOURCE itself is \
                 one; what is mounted inside is stored like anything else. A file that cannot be read, or \
                 that changes while it is read, is an error.",
            ),
            Text(
                "Names are one file with several names (hard links) if device and inode number are the \
                 same, the link count is above one, and type, size, times, mode, owner and extended \
                 attributes are the same as well. On file systems that make their inode numbers up, such as \
                 FUSE, overlayfs and network file systems, the content is compared too, and an inode number \
                 that changes is no change of the file.",
            ),
            Text(
                "A file that says it is empty and is not, as those of proc do, is stored with the content \
                 that it has when it is scanned, up to 1 MiB each and 64 MiB together; a warning counts \
                 such files. Any other file whose content is not as long as it says is an error.",
            ),
            Text(
                "Holes of sparse files are not read. A file may have 2^26 chunks, which are as long as \
                 --chunksize says or, without it, 1 MiB for the longest files, so that 64 TiB is the limit \
                 then; with fingerprints a file may have 2^44 bytes, because each zero is hashed; \
                 compressed, 2^31 blocks. Longer ones are an error.",
            ),
            Text(
                "If IMAGE is inside SOURCE, it does not become a part of itself; a warning says so. The \
                 same holds for files of a hash tree beside it. Other names of an older IMAGE are stored \
                 like other files.",
            ),
        ],
    },
    Section {
        title: "BUILDING WITHOUT ROOT",
        blocks: &[
            Text(
                "Owners, modes, devices and extended attributes are read by functions of libc, so that \
                 images that are made under fakeroot and pseudo have what these show. A static program does \
                 not see them.",
            ),
            Text(
                "In a user namespace owners are stored as they are seen inside. What is not mapped is seen \
                 as one number, mostly 65534: a warning counts files that have it, and --strict makes them \
                 an error. --all-root, --force-uid and --force-gid store an owner of their own.",
            ),
            Text(
                "Attributes of the namespace trusted are shown to root of the initial user namespace alone. \
                 Others do not see that there are any.",
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
                 --mkfs-time and --all-time, and so does this program under its name; else what is typed counts more than the environment.",
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
        title: "COMPRESSION",
        blocks: &[
            Text(
                "-z names the algorithms; -z help lists them with their levels and the first Linux that reads each. The first \
                 of them is for every file; others are for --compress-hints and -E head2. A pcluster, whose largest size \
                 is that of -C, holds as much content as fits. What does not get smaller is stored as it is. These \
                 words of -E say more:",
            ),
            Item(
                "legacy-compress",
                "Full indexes, 8 bytes for each block of content, instead of compact ones.",
            ),
            Item(
                "ztailpacking",
                "The last pcluster of a file stands behind its inode where it fits (Linux 5.17). It changes nothing with 48bit.",
            ),
            Item(
                "fragments[=BYTES], all-fragments",
                "Small files and ends of files, or whole files, go to one packed inode, whose pclusters have up to BYTES \
                 (Linux 6.1). Without dedupe and 48bit, blocks that are stored as they are are interlaced then: \
                 each byte stands where it stands in its block of the file. Equal fragments are stored once unless \
                 fragdedupe=off is given.",
            ),
            Item("dedupe", "Parts of files that equal parts of others are stored once (Linux 6.1)."),
            Item(
                "48bit",
                "Pclusters stand one behind the other to the byte, told by extent records (Linux 6.15).",
            ),
            Item(
                "head2[=PERCENT]",
                "Each pcluster is encoded by the second algorithm of -z too, and stored like that if it takes at most PERCENT \
                 percent more for each byte of content (0 to 100; 5 if nothing is said; Linux 5.16). What a strong \
                 algorithm hardly makes smaller than a fast one is read by the fast one then. The two must be of different \
                 formats, which lz4 and lz4hc are not. Files to which a hint gives another algorithm or size, \
                 and the metadata of -m, have one algorithm. The packed inode may have both.",
            ),
        ],
    },
    Section {
        title: "OUTPUT",
        blocks: &[
            Text(
                "A new image, and one that replaces an older file, appears under its name only when it is \
                 complete and on the disk; until then the older file stays as it is. A run that fails, or is \
                 ended by SIGINT, SIGTERM or SIGHUP, leaves nothing behind. SIGKILL can leave a file \
                 .mkfs-erofs-* beside IMAGE, on file systems without nameless files (O_TMPFILE) such as FUSE \
                 and NFS. A folder that cannot be synced when all else is done is a warning.",
            ),
            Text(
                "Written in place is what cannot or must not be replaced: devices; descriptors \
                 (/dev/stdout, /dev/fd/N, /proc/self/fd/N), which are refused if they were opened for \
                 appending; an empty file, because whoever made it may hold it open; a file that is a mount \
                 point; and a file whose folder takes no new files or keeps those of others (no permission, \
                 the sticky bit, the attributes a and i of chattr). Such a file is cut to --offset before \
                 anything is written, its superblock is written last, and a run that fails leaves it empty. \
                 If stdout goes to IMAGE, the summary goes to stderr.",
            ),
            Text(
                "A block device must not be in use, and is not to be used before the program has ended with \
                 0. Its first 8 MiB and its last 2 MiB are filled with zeros first, so that no signature of \
                 an older file system, RAID or partition table makes libblkid, udev and mount(8) see \
                 something else; nothing else outside the image is touched. With an --offset other than 0 \
                 only the image is written, and older signatures stay.",
            ),
            Text(
                "Contents that wait for their place are in memory, and in nameless files beside IMAGE when \
                 they are more than 16 MiB; in TMPDIR if IMAGE is written in place.",
            ),
            Text(
                "An output that is also an input, or another output, is refused, whatever links or mounts lead \
                 to it.",
            ),
            Text(
                "The summary goes to stdout, warnings and errors to stderr. With --json the summary is one object that \
                 includes the warnings; docs/json.md lists its fields. A build that fails prints no object.",
            ),
        ],
    },
    Section {
        title: "GOLDEN IMAGES",
        blocks: &[
            Text(
                "With --verity the image gets a dm-verity hash tree: SHA-256, blocks of 4096 bytes, a superblock before the tree, \
                 byte for byte as veritysetup format makes it with the same salt and UUID. Where nothing else is said it lies \
                 behind the image. The image is filled with zeros to a multiple of 4096 bytes.",
            ),
            Text(
                "Image, tree, root hash and sidecars are one set: all of them are complete and on the disk \
                 before the first gets its name, and if something fails, or a signal ends the program, all \
                 older files are what they were. Only SIGKILL or a crash in the moment in which names change \
                 can leave files of both sets (IMAGE gets its name last), and the older ones as \
                 .mkfs-erofs-*; the same command once more makes the set whole. What is written in place is \
                 not restored. A signature FILE.p7s beside a root hash FILE that changes is renamed to \
                 FILE.p7s.stale, which a warning says.",
            ),
            Text(
                "Salt and UUID follow from the UUID of the volume and the number of blocks, so that the same image has the same root \
                 hash everywhere. A salt is no secret: it keeps work on one image from serving against another.",
            ),
            Item(
                "--verity-sidecar=systemd",
                "For IMAGE X.raw, X.verity with the tree and X.roothash with the root hash; any other name gets the suffixes behind it. \
                 X.roothash.p7s is made by erofs-ishare sign.",
            ),
            Item(
                "--verity-sidecar=containerd",
                "IMAGE.dmverity, a JSON object with roothash and hashoffset. The tree is behind the image.",
            ),
            Item(
                "--verity-sidecar=oci",
                "IMAGE.annotations.json, an object with the annotations org.erofs.dmverity.hash_offset, .root_digest and .block_size \
                 for the layer's descriptor. The tree is behind the image.",
            ),
            Code(
                "mkfs-erofs --ishare-key --verity --verity-roothash=app.roothash app.img app/\n\
                 veritysetup verify app.img app.img $(cat app.roothash) --hash-offset=OFFSET",
            ),
        ],
    },
    Section {
        title: "DIFFERENCES FROM MKFS.EROFS",
        blocks: &[
            Text(
                "Options that both have mean the same. Under the name mkfs.erofs, and with --as-mkfs-erofs, the \
                 command line is read as mkfs.erofs of erofs-utils 1.9.4 reads it: SOURCE_DATE_EPOCH counts more \
                 than -T, --all-time and --mkfs-time; each -z adds algorithms; regular expressions are POSIX \
                 extended ones; long options can be abbreviated; --sort, --aufs, --clean and --ovlfs-strip=0, \
                 which change nothing about a directory, are taken; and a wrong command line ends with 1. \
                 docs/drop-in.md lists what stays different.",
            ),
            Text(
                "Options of mkfs.erofs for what this version does not do (tarballs and images as sources, extra \
                 devices, Android's files and others) are refused by name under both names; none is ignored. \
                 --mount-point is accepted with a warning, because nothing that it would change exists here.",
            ),
            Text(
                "These defaults differ: the size of a block is 4096 bytes on every machine, the UUID is derived from the contents, \
                 the build time is 0, and the whole blocks of equal files are stored once, with and without \
                 --ishare-key. A tail that is stored after its inode is stored with each of the files. --no-file-dedupe \
                 stores every file.",
            ),
            Text(
                "Under the own name regular expressions are those of the Rust crate regex, on bytes. They are written like POSIX extended ones, except \
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
            Item(
                "2",
                "The command line or SOURCE_DATE_EPOCH is wrong. Nothing was read or written. Under the name \
                 mkfs.erofs this is 1 as well.",
            ),
        ],
    },
    Section {
        title: "ENVIRONMENT",
        blocks: &[
            Item(
                "SOURCE_DATE_EPOCH",
                "Seconds since 1970 in decimal digits, see BUILD TIME AND FILE TIMES. Anything else is an error, also if -T is given.",
            ),
            Item("TMPDIR", "The folder of temporary files if IMAGE is written in place [default: /tmp]."),
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
            Text("Zstandard, and LZ4 where that is as good within a tenth:"),
            Code("mkfs-erofs -z zstd,3:lz4 -C65536 -E head2=10 app.img app/"),
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
        title: "COMPANION IMAGES",
        blocks: &[
            Text(
                "index makes the companion of an image that has no fingerprints, or none that one wants to believe: an image with \
                 the same tree and fingerprints that were computed here, without contents. Those stay in the original, \
                 which is the device of the companion. The pair shares page cache with every image that carries \
                 equal fingerprints:",
            ),
            Code("mount -t erofs -o ro,inode_share,domain_id=NAME,device=/dev/loop0 /dev/loop1 DIR"),
            Text(
                "where /dev/loop0 is a loop device with the original and /dev/loop1 one with the companion, both with direct \
                 I/O; where the companion is mounted straight from its file, device= names the file of the original.",
            ),
            Text(
                "A fingerprint is right as long as the original stays what it was. Linux compares nothing: an original that was \
                 changed later, or another one, shows its bytes to all that share with it. Keep both read-only, best below \
                 dm-verity. The mark of the device in the companion is the UUID of the original, for people to compare. Without device= the \
                 companion can be mounted, but its files cannot be read, unless the original stands on the same \
                 device from the block on that the device table tells.",
            ),
            Text(
                "What cannot be referred to is copied: the ends of files that the original keeps behind their inodes. They start at \
                 any byte, and addresses count blocks. On a Debian root they are 5 % of the image. They stand with the metadata, \
                 which is compressed (--metadata), so that the companion takes 2.6 %, or 6 % with --plain-metadata; that of an \
                 image made with -E^inline_data takes 0.5 % at most. Compressed metadata needs Linux 6.17, sharing 7.0. Where blocks are smaller than 4096 bytes each such end takes a block. fsck.erofs 1.9.4 reads \
                 the blocks in front of such an end from the companion instead of the device, and reports wrong digests; \
                 Linux reads the right ones.",
            ),
            Text(
                "Compressed files of the original, whatever the algorithm and the form of their index, are compressed files of the \
                 companion with the same pclusters, which stay in the original; fragments are those of a packed inode that has \
                 the original's content. A last pcluster behind an inode of the original (-E ztailpacking) is named by its bytes \
                 in extent records where metadata is compressed, else copied like the end of a plain file. On the same Debian \
                 root, -z zstd,3 -C 65536, the companion takes 4.8 % of an image of 132 MiB, nearly all of it ends of plain files; \
                 with fragments 0.6 %, with -E^inline_data 0.4 %. The superblock announces what these files need and no more: \
                 the summary names the first kernel. fsck.erofs 1.9.4 looks for their pclusters in the companion and finds them \
                 damaged. Refused are images that have extra devices themselves.",
            ),
            Text(
                "With --overlay the files of the companion are holes with the attributes trusted.overlay.metacopy and \
                 trusted.overlay.redirect, and the original, of any kind, is a layer below for data only (Linux 6.5 and newer):",
            ),
            Code("mount -t overlay overlay -o ro,metacopy=on,redirect_dir=on,lowerdir=META::DATA DIR"),
            Text(
                "This form has no fingerprints: shared under the names of the real contents, its holes would be read as zeros by \
                 everybody. Page cache is that of the original. Attributes of the original under trusted.overlay. are \
                 escaped, as Linux 6.7 and newer undo it; character devices with number 0:0 are hidden by overlayfs, which is said.",
            ),
        ],
    },
    Section {
        title: "WHAT VERIFY FINDS",
        blocks: &[
            Text(
                "Each finding begins with the name of its kind, which stays the same from version to \
                 version. Of the superblock: superblock, checksum, reserved, unknown-feature, truncated, \
                 inode-count. Of the structure: feature-missing, inode, directory, directory-order, \
                 directory-loop, dots, file-type, link-count, bounds, metadata-overlap, data-overlap, xattr, \
                 xattr-hidden, inode-zero, map, compressed-data, blocks, symlink. Files of equal content may \
                 share blocks from the first on, and one of them can have its end behind its inode; chunks \
                 and pclusters may be shared from their first byte on; every other overlap is a finding, \
                 also with indexes and shared attributes. Of dm-verity: verity, signature.",
            ),
            Text(
                "What Linux reads without an error, and gives out wrong or not at all, is found as well: \
                 attributes that it lists and has no value for (xattr-hidden: a name filter that hides them, \
                 two of one name, those of users at symbolic links), ACLs and file capabilities that it \
                 refuses (xattr), names that lead to inode number 0, which readdir(3) leaves out \
                 (inode-zero), entries of an index from which another extent is found than from the start of \
                 the file (map), LZMA data that goes on behind its end, and data that refers farther back \
                 than the superblock says (compressed-data).",
            ),
            Text("Lines that begin with warning do not make an image wrong, and change no exit status:"),
            Item(
                "root-zero",
                "The root directory has inode number 0: listings have no . and .. that lead to it.",
            ),
            Item(
                "sub-page-extents",
                "With blocks below 4096 bytes, a page of a file with a fingerprint has its bytes in several \
                 places. Mounted with inode_share, Linux 7.2 and 7.3 read such a file wrong, or crash. \
                 mkfs.erofs makes them with --chunksize=1024.",
            ),
            Item(
                "xattr-misread",
                "Inodes in the metabox have shared attributes outside of it: Linux 6.17 to 7.2 may take \
                 other bytes for them. mkfs.erofs -m makes such images; -x-1 or -x0 avoids them.",
            ),
            Text(
                "A hash tree has to cover the whole file system; what is behind it is no part of the image. Certificates are \
                 held to their purpose: digitalSignature or nonRepudiation in a key usage, codeSigning or \
                 anyExtendedKeyUsage in an extended key usage, also in that of authorities, where they have them; no \
                 critical extension that is not known; RSA keys of at least 2048 bits. Their dates are told, and held to \
                 with --require-valid-dates.",
            ),
            Text("Of fingerprints, which are made again from the content:"),
            Item(
                "fingerprint-missing",
                "The image announces fingerprints, and a file with content has none.",
            ),
            Item("fingerprint-wrong", "It is not that of the content."),
            Item("fingerprint-duplicate", "There are several; the kernel takes the first."),
            Item("fingerprint-length", "It is empty, longer than a block, or not as long as its tag wants."),
            Item(
                "fingerprint-hexadecimal",
                "The digest is in hexadecimal digits, so it equals no other image's.",
            ),
            Item(
                "fingerprint-alias",
                "The same name in another namespace, or hidden, has a fingerprint as well.",
            ),
            Item(
                "fingerprint-on-empty, fingerprint-on-other",
                "It is that of an empty file, or of no regular file.",
            ),
            Item("fingerprint-filtered", "The name filter hides it from the kernel."),
            Item("fingerprint-conflict", "Equal values stand for different contents in this image."),
            Item("domain-conflict", "The same in two images, with --domain."),
            Text(
                "Values of a form that is not known here, and those of --ishare-digest=uuid without --ishare-namespace, cannot be \
                 made again. They are counted, and contents with equal values are compared. Differences to fsck.erofs: it \
                 does not look at overlaps, link counts, the number of inodes, reserved bytes, features that are used without being \
                 announced (images of mkfs.erofs --tar=i do so), missing and doubled fingerprints.",
            ),
            Item(
                "not-core",
                "With --profile: a feature beyond chunked_file and xattr_prefixes is announced.",
            ),
            Item(
                "not-canonical",
                "With --profile hardened: no checksum, bytes that mean nothing and are not 0, directory blocks that are not full, \
                 attributes in another order than the fingerprint and then by name, features that nothing makes use of.",
            ),
            Item(
                "not-fingerprinted",
                "With --profile hardened: no fingerprints, or one that cannot be made again.",
            ),
        ],
    },
    Section {
        title: "LIMITS",
        blocks: &[
            Text(
                "An image can claim far more than it has: holes of any length, files that refer to the same \
                 blocks, data that decodes to a thousand times its length. All verbs have one limit for \
                 that, which grows with the image and its devices. Of contents, holes included, 1 TiB and 64 \
                 times the length of the image are read: verify leaves files beyond that out and says so \
                 (exit status 8), simulate --verify and index end with an error; extract counts no holes, \
                 and leaves files out as well; cat writes what it is asked for. As many bytes are decoded. \
                 Of directories, as many bytes are read as the image has; if it has compressed data, 256 \
                 times as many and 16 MiB, and twice as many entries as it has bytes and 65536. All paths \
                 together have 1 GiB and 128 times the length of the image. Tables of chunks and indexes of \
                 compressed files are no longer than the image and 4096 bytes together, or 16 times as long \
                 and 4 MiB where inodes are compressed; 256 of their entries are looked at for each byte of \
                 the image, and 16777216.",
            ),
            Text(
                "The companion of an image has its contents on an extra device. Where --device does not \
                 give it, ls, inspect and simulate work, and whatever needs contents ends with one line that \
                 names the UUID of the image.",
            ),
        ],
    },
    Section {
        title: "LIVE MACHINES",
        blocks: &[
            Text(
                "measure, trace and doctor look at the running machine; the other verbs never do. measure and trace need root, \
                 because to others mincore says that everything is in memory.",
            ),
            Text(
                "A sharing file has two sets of pages: those of everybody who shares it, which read and mmap use and \
                 mincore shows, and its own, which sendfile and splice fill and cachestat shows. measure counts the first \
                 once for all files of equal domain and fingerprint, and the second for each file. The kernel shows the \
                 domain of no mount: without --domain all mounts with inode_share are taken to be in one. With --frames \
                 the numbers of the page frames are counted instead, which needs nobody's word.",
            ),
            Text(
                "Looking at a mount looks its files up, and a file that is looked up joins those that share its pages. A \
                 directory is read when it is listed; its pages are counted before that. The image is read for the \
                 prediction after everything is measured.",
            ),
        ],
    },
    Section {
        title: "DOCTOR",
        blocks: &[
            Text("Findings have these identifiers in JSON. Of the kernel:"),
            Item("kernel-version-unknown", "Its release does not begin with a version."),
            Item("erofs-off, share-off", "It is built without EROFS, or without sharing."),
            Item("kernel-too-old", "It is older than Linux 7.0, the first that shares."),
            Item("kernel-back-port", "It is older, but its configuration has the feature."),
            Item("config-unknown", "Its configuration was not found."),
            Item(
                "module-not-loaded, module-missing, module-unknown",
                "The module erofs is not loaded yet; does not exist; or it is not known whether it exists.",
            ),
            Text("Of mounts:"),
            Item("mount-does-not-share", "It has no inode_share."),
            Item("mount-compressed-cache", "Compressed data stays in memory besides the shared files."),
            Item(
                "loop-buffered, file-buffered",
                "The image file is in memory a second time, because the loop device has no direct I/O, or the mount no directio.",
            ),
            Item("mount-small-blocks", "It shares and has blocks below 4096 bytes."),
            Item(
                "device-mounted-twice",
                "The options of the second mount of a block device count for nothing.",
            ),
            Item("mixed-backends", "Some mounts that share are of image files, and some of block devices."),
            Text("Of the secrecy of a domain_id:"),
            Item("domain-in-process-list", "It is in the command line of a process."),
            Item("domain-in-file", "It is in /etc/fstab or a unit."),
            Text("Of defects that versions of Linux are known to have:"),
            Item(
                "undelimited-key",
                "domain_id and fingerprint are joined without a mark between them, so that two domains can meet (before 7.2.7).",
            ),
            Item(
                "directio-use-after-free",
                "Reading through a mount of an image file with directio can crash the kernel (CVE-2026-23224).",
            ),
            Item(
                "sub-page-extents",
                "Shared files of which a page has its bytes in several places are read wrong or crash the kernel.",
            ),
            Item("remount-oops", "A remount that adds inode_share without domain_id crashes the kernel."),
            Item("remount-unchecked", "A remount ignores a new domain_id, and checks nothing."),
            Item("private-splice", "sendfile, splice and the copy-up of overlayfs fill private copies."),
            Item("direct-io-refused", "Shared files cannot be opened with O_DIRECT."),
            Item(
                "meters-blind",
                "cachestat, uprobes, leases and SEEK_HOLE do not work on shared files, mincore for root only.",
            ),
            Item(
                "compressed-cache",
                "Shared files are read ahead by 128 KiB only, and compressed data stays in memory.",
            ),
            Item("fragments-cost", "The packed inode of fragments is in memory for each mount."),
        ],
    },
    Section {
        title: "SIMULATE",
        blocks: &[
            Text(
                "What simulate says is what Linux does, page for page, without memory pressure. Not known to the model are parts \
                 of compressed files, which are read in whole pclusters, and khugepaged, which brings in more of private files \
                 that stay mapped. metadata is what each mount takes beside the data of files if \
                 everything in it is looked up and read: directories, pages of the device that hold superblock, inodes, \
                 attributes and the ends of files, packed inodes. Compressed data that stays in memory is not counted.",
            ),
            Text("The reasons for which bytes are not shared have these codes in JSON:"),
            Item(
                "no_feature",
                "The image does not announce fingerprints. It is an error without --allow-unshared.",
            ),
            Item("no_key", "The file has no fingerprint, or one that is longer than a block of its image."),
            Item(
                "other_size, other_class",
                "The first file that was looked up with this fingerprint has another size; or one of both is compressed, or they are \
                 not compressed and only one is on a block device.",
            ),
            Item(
                "first_comer",
                "As before, but with an earlier such file it would share if that had come first.",
            ),
            Item("other_domain", "The same content is in memory for another domain."),
            Item(
                "splice",
                "The file is read by sendfile or splice, which make private copies on this kernel.",
            ),
            Text("Advice, which says what could be done, has these codes in JSON:"),
            Item(
                "sub_page_extents",
                "Pages of files have their bytes in several places, which kernels that share read wrong.",
            ),
            Item("wrong_fingerprint", "Files have the fingerprint of another content (with --verify)."),
            Item("several_sizes", "A fingerprint stands for files of several sizes."),
            Item("no_feature", "Images announce no fingerprints."),
            Item("no_fingerprint", "Files have no fingerprint, in images that announce them."),
            Item("mixed_kinds", "A domain has fingerprints of several kinds, such as sha256 and blake3."),
            Item("mixed_backends", "Some mounts are from block devices and some from files."),
            Item("compressed_in_one", "Files are compressed in one image and not in another."),
            Item(
                "build_stamp",
                "Files differ from those of another image in a few bytes, such as a build time (with --verify).",
            ),
            Item("same_size", "Files have path and size of one of another image, and other content."),
            Item(
                "unmatched",
                "Files have the content of another file and not its fingerprint (with --verify).",
            ),
            Item("other_domain", "Files are in memory for another domain as well."),
            Item("splice", "Files are read by a call that makes private copies."),
            Item("image_files_cached", "Image files are in memory as well."),
            Item("packed_inode", "Packed inodes and compressed metadata are in memory for each mount."),
            Item("unread", "Contents could not be read."),
            Item("paths_left_out", "There are more paths than are remembered."),
            Text(
                "docs/json.md lists the fields of the object of --json. --csv has a line for \
                 each image: image, domain, files, pages, marginal_bytes.",
            ),
        ],
    },
    Section {
        title: "SCENARIOS",
        blocks: &[
            Text(
                "A scenario is a TOML file with title, a table images of names and paths relative to the file, and a list of events \
                 that happen in order. Everything is checked before anything is run, and what is wrong is named with line and \
                 column. What the kernel refuses, such as inode_share without a domain, is not an error: the event says so.",
            ),
            Code(
                "title = \"a second reader costs nothing\"\nevent = [\n  { do = \"mount\", mount = \"m1\", image = \"a\", domain = \"prod\" },\n  \
                 { do = \"mount\", mount = \"m2\", image = \"b\", domain = \"prod\", backend = \"loop\" },\n  { do = \"read-all\", mount = \"m1\" },\n  \
                 { do = \"read\", mount = \"m2\", path = \"/bin/sh\", length = 4096 },\n]\n[images]\na = \"a.img\"\nb = \"b.img\"",
            ),
            Item(
                "mount",
                "mount, image; and backend (block, loop, loop-buffered, verity, file, file-directio), device (a name, where several \
                 mounts are of one device), domain, inode_share (true if there is a domain), devices (names of images), options, \
                 window_kib.",
            ),
            Item("remount, umount", "mount; and inode_share for remount, lazy for umount."),
            Item("overlay", "mount (its name), lower (a mount); and over (a mount with metadata only)."),
            Item("list, stat-all, read-all", "mount; and method for read-all."),
            Item("stat, map, unmap", "mount, path."),
            Item("open, close", "mount, path; and stream (a name for this open file)."),
            Item(
                "read",
                "mount, path; and offset, length (to the end without it), method (read, mmap, exec, willneed, sendfile, splice, \
                 copy-up), call (bytes per call, 65536), syscall, stream (the name of an open file that is read through; the kernel \
                 reads ahead for each open file on its own).",
            ),
            Item("dontneed", "mount, path; and offset, length."),
            Item(
                "drop-caches",
                "value (1, 2 or 3). 2 drops every file that is not in use, as a machine in use does.",
            ),
            Item("window", "kib: the readahead window of shared pages."),
            Text(
                "The memory of the whole is the most that is there at any time; that of a domain or mount what was brought in \
                 through it.",
            ),
        ],
    },
    Section {
        title: "TRACES",
        blocks: &[
            Text(
                "A trace is a list of accesses without times, one in a line, in the order in which they happen. Fields are separated \
                 by blanks or tabs: image, path, offset, length, method, and where they are not 65536 the bytes per call. Empty lines and \
                 lines that begin with # say nothing.",
            ),
            Code(
                "# image path offset length method\napp.img /usr/bin/app 0 - exec\napp.img /etc/a\\040b 0 4096 read 512",
            ),
            Text(
                "The image is a path of the command line, absolute or as it was given, or a path whose last name is that of \
                 one, so that lists of trace and of other machines are read as they are. In image and path a backslash begins an \
                 escape: one to three octal digits, x and two hexadecimal ones, or one of the letters and signs of C. The length may be - for \
                 up to the end. Methods are those of a scenario, and pages: exactly these pages were in memory, and nothing \
                 was read ahead. A range that ends outside of its file is an error.",
            ),
            Text(
                "--access strace:FILE reads a log of strace, with --mountpoint for each directory at which an image was mounted \
                 when it was written; --trace-out writes the trace that it stands for. Descriptors are followed through dup, fork, exec \
                 and working directories, symbolic links inside the images are followed. A mapping counts with its whole length, because strace \
                 does not see which pages of it are used; io_uring and the interpreter of a program are not seen at all.",
            ),
            Code("strace -f -o log -e trace=%file,%desc,%process redis-server redis.conf"),
            Code(
                "erofs-ishare simulate redis-1.img redis-2.img --access=strace:log --mountpoint=/mnt/redis=redis-1.img",
            ),
        ],
    },
    Section {
        title: "EXIT STATUS",
        blocks: &[
            Item("0", "Done."),
            Item(
                "1",
                "Something could not be done: the image is malformed or cannot be read, or a path is not in it. Each has its line on stderr.",
            ),
            Item(
                "2",
                "The command line is wrong, or a scenario or trace that it names: line and place are said. \
                 An image that is missing, that cannot be read, or that announces no fingerprints ends \
                 simulate with 1. An output that is also an input, or another output, is a wrong command \
                 line, whatever links or mounts lead to it. How an output replaces an older file is described in \
                 mkfs-erofs(1), under OUTPUT.",
            ),
            Item("3", "A limit given to simulate is not kept, or doctor found something to change."),
        ],
    },
    Section {
        title: "EXAMPLES",
        blocks: &[
            Text("What an image is, and whether its files can share memory:"),
            Code("erofs-ishare inspect app.img"),
            Text("Sign a golden image for systemd, with a key at hand and with one elsewhere:"),
            Code(
                "erofs-ishare sign app.raw --verity app.verity --key key.pem --certificate cert.pem -o app.roothash.p7s\n\
                 erofs-ishare sign --roothash app.roothash --to-be-signed app.tbs\n\
                 erofs-ishare sign --roothash app.roothash --join-signature app.sig --certificate cert.pem -o app.roothash.p7s",
            ),
            Text(
                "Two images before they are mounted in one domain, and a golden image from its signature to its contents:",
            ),
            Code(
                "erofs-ishare verify --domain app-1.img app-2.img\n\
                 erofs-ishare verify --profile hardened --verity=app.verity --certificate ca.pem app.raw",
            ),
            Text("A domain whose identifier nobody else sees, and a mount in it:"),
            Code(
                "erofs-ishare domain new -o /etc/erofs/apps\n\
                 erofs-ishare domain mount --domain-file /etc/erofs/apps -o directio app.img /mnt/app",
            ),
            Text("Fingerprints for an image that has none, and the pair mounted:"),
            Code(
                "erofs-ishare index vendor.img -o vendor.meta\n\
                 original=$(losetup --find --show --read-only --direct-io=on vendor.img)\n\
                 companion=$(losetup --find --show --read-only --direct-io=on vendor.meta)\n\
                 mount -t erofs -o ro,inode_share,domain_id=NAME,device=$original $companion /mnt",
            ),
            Text("One file of it, and all of them:"),
            Code("erofs-ishare cat app.img /etc/os-release\nerofs-ishare extract --output copy app.img"),
            Text("What three images cost in memory, with a page to look at, and a limit for a pipeline:"),
            Code(
                "erofs-ishare simulate --domain apps app-1.img app-2.img app-3.img --html report.html\n\
                 erofs-ishare simulate app-1.img app-2.img --fail-under 30 --max-marginal 40M",
            ),
        ],
    },
    Section { title: "SEE ALSO", blocks: &[Text("mkfs-erofs(1), fsck.erofs(1), dump.erofs(1)")] },
];
