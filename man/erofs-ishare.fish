# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_erofs_ishare_global_optspecs
    string join \n h/help V/version
end

function __fish_erofs_ishare_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_erofs_ishare_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_erofs_ishare_using_subcommand
    set -l cmd (__fish_erofs_ishare_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -s V -l version -d 'Print version'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "inspect" -d 'Print what an image is: superblock, features with the first kernel of each, devices, fingerprints, and counts'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "ls" -d 'List a directory of an image, or one file'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "cat" -d 'Write the content of files in an image to stdout'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "extract" -d 'Copy files out of an image'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "index" -d 'Make the companion of an image: metadata with fingerprints, and no contents'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "simulate" -d 'Say how much page cache a set of images takes on Linux, with sharing and without'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "measure" -d 'Say what of live mounts is in memory, file by file, and hold it against what simulate says of the same images'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "trace" -d 'Write down which parts of the files of live mounts are in memory, as a list of accesses'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "doctor" -d 'Say whether this machine can share page cache between images, and what to change on it'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "sign" -d 'Sign the root hash of an image\'s dm-verity hash tree'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "domain" -d 'Make, check and use identifiers of domains'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "verify" -d 'Check images: their structure, and their fingerprints against their contents'
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand inspect" -l device -d 'An extra device of the image, in the order of its device table; give all of them or none' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand inspect" -l offset -d 'Where the image starts in its file, in bytes' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand inspect" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -l device -d 'An extra device of the image, in the order of its device table; give all of them or none' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -l offset -d 'Where the image starts in its file, in bytes' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -s l -l long -d 'One line with mode, links, owner, group, size or device number, time (UTC), and name'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -s R -l recursive -d 'Everything below as well, with whole paths'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -l xattrs -d 'Extended attributes, each on a line of its own; those that the kernel hides are marked'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -s 0 -l null -d 'Names as they are, each ended by a NUL byte'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -l json -d 'One JSON object with a list of entries'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand cat" -l device -d 'An extra device of the image, in the order of its device table; give all of them or none' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand cat" -l offset -d 'Where the image starts in its file, in bytes' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l device -d 'An extra device of the image, in the order of its device table; give all of them or none' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l offset -d 'Where the image starts in its file, in bytes' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -s o -l output -d 'The directory to extract into; it is made if it does not exist' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l overwrite -d 'Replace existing files, and put files into existing directories'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l same-owner -d 'Restore owners and groups, and with them set-id bits and capabilities of programs (the default for root)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l no-same-owner -d 'Leave everything to the user who extracts, without set-id bits and capabilities, which would give programs the rights of another owner than their own (the default for others than root; GNU tar restores both for root)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l no-xattrs -d 'Restore no extended attributes and no ACLs'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -s q -l quiet -d 'No summary'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l json -d 'The summary as one JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -s o -l output -d 'The companion, to be made or replaced' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l ishare-key -d 'The attribute that carries the fingerprints' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l ishare-digest -d 'What the fingerprints are' -r -f -a "sha256\t''
blake3\t''
sha512\t''
uuid\t''"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l ishare-namespace -d 'The publisher\'s namespace for --ishare-digest=uuid' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -s m -l metadata -d 'Compress the metadata with ALG, in pclusters of up to BYTES, which Linux 6.17 and newer read [default: 32768:zstd, or a block where that is more, and none with --overlay]' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l workers -d 'How many threads compute fingerprints, at most 256; the companion does not depend on it [default: one per processor]' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l overlay -d 'Make a layer for overlayfs instead, whose files name their contents in a layer below that is for data only; it has no fingerprints, because its own files are holes'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l plain-metadata -d 'Leave the metadata uncompressed: companions get about twice as long where ends of files are copied'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -s q -l quiet -d 'Say nothing but errors and warnings'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand index" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l domain -d 'A domain: its name alone, or with its images (may be repeated). Images of different domains share nothing' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l device -d 'An extra device of an image, in the order of its device table: what a companion META refers to. Of a single image the device alone will do' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l backend -d 'What lies under the mounts' -r -f -a "block\t'Block devices'
loop\t'Loop devices with direct I/O'
loop-buffered\t'Loop devices without direct I/O, so that image files are cached as well'
dm-verity\t'dm-verity devices'
file\t'The image files themselves, which are cached as well'
file-directio\t'The image files themselves, with the mount option directio'"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l kernel -d 'The kernel: 7.2 (from 7.2.7 on), 7.0 (before), or splice (kernels that share for sendfile too)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l access -d 'How files are read: all of them by read (all, read), mmap or sendfile, or as trace:FILE or strace:FILE says' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l mountpoint -d 'Where an image was mounted when strace ran (may be repeated)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l trace-out -d 'Write the accesses as a trace, which is shorter than strace\'s log and tells nothing else' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l scenario -d 'What is mounted and what happens, in order' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l fail-under -d 'Exit with 3 if less than this share of the memory is saved' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l max-marginal -d 'Exit with 3 if the last image adds more than this' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l html -d 'Write a page with tables and charts, for a browser; it needs no network and has no scripts' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l allow-unshared -d 'Take images that announce no fingerprints as well; they share nothing'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l verify -d 'Read the contents: duplicates are those of content, fingerprints are compared with it, and files that differ in a few bytes are named'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l csv -d 'One line per image, as comma-separated values'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -l image -d 'The image of a mount, where the kernel does not show it (may be repeated)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -l domain -d 'The domain of a mount, which the kernel does not show; all mounts that share are taken to be in one (may be repeated)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -l top -d 'How many of the files with most pages in memory are named' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -l frames -d 'Count page frames: which memory it is, proved, not concluded. Maps every page that is in memory; needs root'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand measure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -s o -l output -d 'The list; - is stdout' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -l image -d 'The name of a mount\'s image in the list, if not that of the file that the kernel shows (may be repeated)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -l method -d 'How the list says that the pages came into memory, which the page cache does not tell' -r -f -a "pages\t'Not said: the model takes these pages and reads nothing ahead'
read\t'By read'
mmap\t'Through mappings'"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -l interval -d 'Look again and again, with so many seconds between, and add what is new' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -l duration -d 'Stop after so many seconds; the list is complete after every look' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand doctor" -l root -d 'Look at the machine whose files, /proc and /sys among them, are below this directory' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand doctor" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l roothash -d 'Sign the root hash in FILE, hexadecimal digits, without looking at any image' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l verity -d 'The file that holds the hash tree of IMAGE' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l key -d 'The private key in PEM: RSA of 2048 bits or more, P-256 or P-384, not encrypted' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l certificate -d 'The certificate of the key in PEM; more may follow it in the file' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -s o -l output -d 'The signature' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l to-be-signed -d 'Write to FILE the bytes that the key has to sign by SHA-256 (PKCS#1 v1.5 for RSA), and end' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l join-signature -d 'Take the signature in FILE, which a key elsewhere made of those bytes, instead of making one' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -l embed-certificates -d 'Put the certificates into the signature, so that `verify --certificate CA.pem` finds them there, as registries want it; dm-verity and systemd have their own'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand sign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "new" -d 'Make an identifier of 256 random bits, as 64 hexadecimal digits'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "check" -d 'Say what is wrong with identifiers: short, guessable, related to each other, readable by others'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "mount" -d 'Mount an image in a domain without showing the identifier to other users'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "mount-command" -d 'Print the command that mounts an image in a domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "unit" -d 'Print a systemd unit that mounts an image in a domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and not __fish_seen_subcommand_from new check mount mount-command unit help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from new" -s o -l output -d 'A file that is not there yet: only its owner will read it' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from check" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount" -l domain-file -d 'The file with the identifier, as `domain new --output` makes it' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount" -s o -l options -d 'Options of the mount, separated by commas: those of EROFS such as directio, and nosuid, nodev, noexec' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount-command" -l domain-file -d 'The file with the identifier, as `domain new --output` makes it' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount-command" -s o -l options -d 'Options of the mount, separated by commas: those of EROFS such as directio, and nosuid, nodev, noexec' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from mount-command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from unit" -l domain-file -d 'The file with the identifier, as `domain new --output` makes it' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from unit" -s o -l options -d 'Options of the mount, separated by commas: those of EROFS such as directio, and nosuid, nodev, noexec' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from unit" -l program -d 'Where the program is on the machine that mounts' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from unit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make an identifier of 256 random bits, as 64 hexadecimal digits'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say what is wrong with identifiers: short, guessable, related to each other, readable by others'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "mount" -d 'Mount an image in a domain without showing the identifier to other users'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "mount-command" -d 'Print the command that mounts an image in a domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "unit" -d 'Print a systemd unit that mounts an image in a domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand domain; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l device -d 'An extra device of an image, in the order of its device table; give all of them or none. Of several images, META is the one that it belongs to' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l offset -d 'Where the image starts in its file, in bytes' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l profile -d 'What the images have to keep to beyond the format' -r -f -a "core\t'Only flat and chunk-based files on one device, nothing compressed, 32-bit addresses'
hardened\t'That in canonical form, with a checksum, and with a right fingerprint of every file with content'"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l ishare-namespace -d 'The publisher\'s namespace, without which fingerprints of --ishare-digest=uuid can only be compared' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l verity -d 'Check the image against its dm-verity hash tree: the one behind it, or in FILE' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l roothash -d 'The root hash that is trusted: 64 hexadecimal digits, or the file that holds them' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l certificate -d 'Check the signature over the root hash: it has to be of one of these certificates, or of one that they issued and that the signature brings along (`sign --embed-certificates`) or is given as well' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l signature -d 'The signature [default: IMAGE.roothash.p7s, without a .raw at the end of IMAGE]' -r -F
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l domain -d 'Hold the images against each other as well: equal fingerprints of different contents are wrong in one domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l require-valid-dates -d 'Hold the certificates of the signature to their dates, which Linux does not do'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -l junit -d 'XML as test runners write it, with a test for each part of the check'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "inspect" -d 'Print what an image is: superblock, features with the first kernel of each, devices, fingerprints, and counts'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "ls" -d 'List a directory of an image, or one file'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "cat" -d 'Write the content of files in an image to stdout'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "extract" -d 'Copy files out of an image'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "index" -d 'Make the companion of an image: metadata with fingerprints, and no contents'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "simulate" -d 'Say how much page cache a set of images takes on Linux, with sharing and without'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "measure" -d 'Say what of live mounts is in memory, file by file, and hold it against what simulate says of the same images'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "trace" -d 'Write down which parts of the files of live mounts are in memory, as a list of accesses'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "doctor" -d 'Say whether this machine can share page cache between images, and what to change on it'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "sign" -d 'Sign the root hash of an image\'s dm-verity hash tree'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "domain" -d 'Make, check and use identifiers of domains'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "verify" -d 'Check images: their structure, and their fingerprints against their contents'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract index simulate measure trace doctor sign domain verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and __fish_seen_subcommand_from domain" -f -a "new" -d 'Make an identifier of 256 random bits, as 64 hexadecimal digits'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and __fish_seen_subcommand_from domain" -f -a "check" -d 'Say what is wrong with identifiers: short, guessable, related to each other, readable by others'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and __fish_seen_subcommand_from domain" -f -a "mount" -d 'Mount an image in a domain without showing the identifier to other users'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and __fish_seen_subcommand_from domain" -f -a "mount-command" -d 'Print the command that mounts an image in a domain'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and __fish_seen_subcommand_from domain" -f -a "unit" -d 'Print a systemd unit that mounts an image in a domain'
