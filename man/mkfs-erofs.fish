complete -c mkfs-erofs -l ishare-key -l ishare_key -l xattr-inode-digest -d 'Give every non-empty regular file a fingerprint in the extended attribute NAME [default NAME: erofs.fingerprint.v1, which mounts do not show]' -r
complete -c mkfs-erofs -l ishare-digest -d 'What the fingerprints are' -r -f -a "sha256\t'SHA-256 of the content, as mkfs.erofs writes it'
blake3\t'BLAKE3 of the content'
sha512\t'SHA-512 of the content'
uuid\t'a UUID made of the content and --ishare-namespace'
source\t'what the file of SOURCE has in the attribute NAME: nothing checks it'"
complete -c mkfs-erofs -l ishare-namespace -d 'The publisher\'s namespace for --ishare-digest=uuid' -r
complete -c mkfs-erofs -l tar -d 'Take a tar archive as SOURCE, or standard input without SOURCE; gzip, Zstandard, xz and lzip are recognised. --tar is the same as --tar=f, a full image; there are no other kinds in this version' -r
complete -c mkfs-erofs -l sort -d 'Order of contents: path, as those of a directory; or none, as in the archive, which is read once and not copied to a temporary file [default: path]' -r
complete -c mkfs-erofs -s b -d 'Size of a block: a power of two from 512 to 65536 [default: 4096]' -r
complete -c mkfs-erofs -s E -d 'Words that change the layout, separated by commas: force-inode-compact, force-inode-extended, force-chunk-indexes, force-inode-blockmap, nosbcrc, inline_data, ^inline_data, noinline_data, holes, ^holes, plain-xattr-prefixes, dot-omitted, ^dot-omitted, xattr-name-filter, ^xattr-name-filter, legacy-compress, ztailpacking, fragments[=BYTES], all-fragments, fragdedupe=full|inode|off, 48bit, dedupe, head2[=PERCENT], ^WORD' -r
complete -c mkfs-erofs -s L -d 'Volume label, at most 15 bytes' -r
complete -c mkfs-erofs -s U -d 'UUID of the volume: a UUID, `random`, or `clear` for zeros [default: derived from the contents]' -r
complete -c mkfs-erofs -s x -d 'Store an extended attribute once for all its files if more than N have it; below 0 none is taken from the source, from 2147483647 on none is shared [default: 2]' -r
complete -c mkfs-erofs -l xattr-prefix -d 'Another long prefix for names of extended attributes, such as trusted.overlay. (may be repeated)' -r
complete -c mkfs-erofs -l root-xattr-isize -d 'Room for the extended attributes of the root directory, at least' -r
complete -c mkfs-erofs -l chunksize -d 'Store regular files in chunks of this many bytes (a power of two, at least a block), equal chunks once' -r
complete -c mkfs-erofs -l dsunit -d 'Start the data of each file at a multiple of this many blocks' -r
complete -c mkfs-erofs -l fsalignblks -d 'Round the size of the image up to a multiple of this many blocks' -r
complete -c mkfs-erofs -l offset -d 'Leave this many bytes at the beginning of IMAGE alone' -r
complete -c mkfs-erofs -s z -d 'Compress files with ALG at LEVEL; more algorithms, for --compress-hints and -E head2, behind colons. `help` lists them' -r
complete -c mkfs-erofs -s C -d 'The largest pcluster: a multiple of the block size, up to 1M [default: the block size]' -r
complete -c mkfs-erofs -l compress-class -d 'Which files are stored compressed: those that get smaller, all of them, or none. Pages are shared only between images that agree' -r -f -a "auto\t''
always\t''
never\t''"
complete -c mkfs-erofs -l compress-hints -d 'Read from FILE which paths get another pcluster size and algorithm: lines of `BYTES [NUMBER] REGEX`' -r -F
complete -c mkfs-erofs -l max-extent-bytes -d 'The most bytes of a file in one pcluster [default: 8388608]' -r
complete -c mkfs-erofs -l memory -d 'Memory for contents on their way, in MiB, at most half of what is free [default: a quarter]' -r
complete -c mkfs-erofs -l zfeature-bits -d 'Switch words of -E on by number, as mkfs.erofs does: 1 legacy-compress, 2 ztailpacking, 4 fragments, 8 all-fragments, 16 dedupe, 32 fragdedupe, 64 48bit, 128 dot-omitted' -r
complete -c mkfs-erofs -l async-queue-limit -d 'Accepted for scripts: the queue is bounded by --memory' -r
complete -c mkfs-erofs -s m -d 'Store all inodes in one that is compressed, in pclusters of up to BYTES (Linux 6.17): with the first algorithm of -z, the one with number N there, or another one; without any the metadata stays uncompressed' -r
complete -c mkfs-erofs -l zD -d 'Compress directories (1), or leave them as they are (0, the default); needs -z' -r -f -a "0\t''
1\t''"
complete -c mkfs-erofs -l MZ -d 'Accepted for scripts: inodes (i) and directories (d) always stand together in one part of the image' -r
complete -c mkfs-erofs -l verity -d 'Make the dm-verity hash tree of the image, as veritysetup format does: behind the image, or in FILE' -r
complete -c mkfs-erofs -l verity-salt -d 'Salt of the hash tree, or - for none [default: derived from the UUID of the volume]' -r
complete -c mkfs-erofs -l verity-uuid -d 'UUID in the superblock of the hash tree [default: derived from the UUID of the volume]' -r
complete -c mkfs-erofs -l verity-roothash -d 'Write the root hash to FILE: 64 hexadecimal digits without an end of line, ready to be signed' -r -F
complete -c mkfs-erofs -l verity-sidecar -d 'Write what others look for beside IMAGE (may be repeated)' -r -f -a "systemd\t'X.verity with the tree and X.roothash, for X.raw'
containerd\t'IMAGE.dmverity, for a tree behind the image'
oci\t'IMAGE.annotations.json with org.erofs.dmverity.*, for a tree behind the image'"
complete -c mkfs-erofs -s T -d 'Build time in seconds since 1970; also the time of all files, unless --mkfs-time is given [default: `SOURCE_DATE_EPOCH` of the environment, else 0]' -r
complete -c mkfs-erofs -l force-uid -d 'Make UID the owner of everything' -r
complete -c mkfs-erofs -l force-gid -d 'Make GID the group of everything' -r
complete -c mkfs-erofs -l uid-offset -d 'Add N to every owner' -r
complete -c mkfs-erofs -l gid-offset -d 'Add N to every group' -r
complete -c mkfs-erofs -l exclude-path -d 'Leave out PATH, relative to SOURCE, and what is below it (may be repeated)' -r
complete -c mkfs-erofs -l exclude-regex -d 'Leave out every path, relative to SOURCE, in which REGEX is found, and what is below it (may be repeated)' -r
complete -c mkfs-erofs -l mount-point -d 'Accepted for scripts; changes nothing, because no option of this version looks at target paths' -r
complete -c mkfs-erofs -l workers -d 'Number of threads, at most 256; fewer work where the system starts no more or memory is short. The image does not depend on it [default: one per processor]' -r
complete -c mkfs-erofs -s d -d 'How much to say, 0 to 9: 0 is the same as --quiet' -r
complete -c mkfs-erofs -l strict -d 'Fail where otherwise a warning or the summary counts: a file of the source has an extended attribute that would be taken for its fingerprint, or an owner or group that this user namespace does not map'
complete -c mkfs-erofs -l no-file-dedupe -d 'Store every file, even if an equal one is stored already'
complete -c mkfs-erofs -l aufs -d 'Take whiteouts of AUFS and OCI layers (.wh.NAME, .wh..wh..opq) in the archive as those of overlayfs'
complete -c mkfs-erofs -l tar-lenient -d 'Take archives that GNU tar, bsdtar or Python read differently, and such without an end marker'
complete -c mkfs-erofs -l squeeze -d 'Try harder where the end of a file takes another block for a few bytes: smaller images, more time'
complete -c mkfs-erofs -l all-time -d 'Give all files the build time'
complete -c mkfs-erofs -l mkfs-time -d 'Keep the times of files, whatever the build time is'
complete -c mkfs-erofs -l ignore-mtime -d 'Give files the build time where their own would be all that makes a large inode necessary'
complete -c mkfs-erofs -l preserve-mtime -d 'Make inodes as large as the times of files need (the default)'
complete -c mkfs-erofs -l all-root -d 'Make root the owner and group of everything'
complete -c mkfs-erofs -l hard-dereference -d 'Give each name of a file with several an inode of its own'
complete -c mkfs-erofs -s q -l quiet -d 'Say nothing but errors'
complete -c mkfs-erofs -l json -d 'Print the summary as one JSON object, even with --quiet'
complete -c mkfs-erofs -l as-mkfs-erofs -d 'Read the command line as mkfs.erofs of erofs-utils 1.9.4 does, which is the rule under the name mkfs.erofs (docs/drop-in.md)'
complete -c mkfs-erofs -s h -l help -d 'Print help (-h is shorter)'
complete -c mkfs-erofs -s V -l version -d 'Print the version of the program and of the layout that it writes'
