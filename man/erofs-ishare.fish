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
complete -c erofs-ishare -n "__fish_erofs_ishare_needs_command" -f -a "simulate" -d 'Say how much page cache a set of images takes on Linux, with sharing and without'
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
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l same-owner -d 'Restore owners and groups, and with them set-id bits (the default for root)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l no-same-owner -d 'Leave everything to the user who extracts, without set-id bits (the default for others than root)'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l no-xattrs -d 'Restore no extended attributes and no ACLs'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l quiet -d 'No summary'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -l json -d 'The summary as one JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand extract" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l domain -d 'A domain: its name alone, or with its images (may be repeated). Images of different domains share nothing' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l backend -d 'What lies under the mounts' -r -f -a "block\t'Block devices, loop devices and dm-verity among them'
file\t'The image files themselves'"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l kernel -d 'The kernel: 7.2 (from 7.2.7 on), 7.0 (before), or splice (kernels that share for sendfile too)' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l access -d 'How files are read' -r -f -a "read\t'By read, or mapped'
sendfile\t'By sendfile or splice'"
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l fail-under -d 'Exit with 3 if less than this share of the memory is saved' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l max-marginal -d 'Exit with 3 if the last image adds more than this' -r
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l json -d 'One JSON object'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -l csv -d 'One line per image, as comma-separated values'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "inspect" -d 'Print what an image is: superblock, features with the first kernel of each, devices, fingerprints, and counts'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "ls" -d 'List a directory of an image, or one file'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "cat" -d 'Write the content of files in an image to stdout'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "extract" -d 'Copy files out of an image'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "simulate" -d 'Say how much page cache a set of images takes on Linux, with sharing and without'
complete -c erofs-ishare -n "__fish_erofs_ishare_using_subcommand help; and not __fish_seen_subcommand_from inspect ls cat extract simulate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
