_mkfs__erofs() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="mkfs__erofs"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        mkfs__erofs)
            opts="-b -E -L -U -x -z -C -m -T -d -q -h -V --ishare_key --xattr-inode-digest --ishare-key --ishare-digest --ishare-namespace --strict --no-file-dedupe --tar --aufs --sort --tar-lenient --xattr-prefix --root-xattr-isize --chunksize --dsunit --fsalignblks --offset --compress-class --squeeze --compress-hints --max-extent-bytes --memory --zfeature-bits --async-queue-limit --zD --MZ --verity --verity-salt --verity-uuid --verity-roothash --verity-sidecar --all-time --mkfs-time --ignore-mtime --preserve-mtime --all-root --force-uid --force-gid --uid-offset --gid-offset --exclude-path --exclude-regex --hard-dereference --mount-point --workers --quiet --json --as-mkfs-erofs --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --ishare-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ishare_key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --xattr-inode-digest)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ishare-digest)
                    COMPREPLY=($(compgen -W "sha256 blake3 sha512 uuid source" -- "${cur}"))
                    return 0
                    ;;
                --ishare-namespace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tar)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sort)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -b)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -E)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -L)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -U)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -x)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --xattr-prefix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root-xattr-isize)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --chunksize)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dsunit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fsalignblks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --offset)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -z)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -C)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --compress-class)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                --compress-hints)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                --max-extent-bytes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --memory)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --zfeature-bits)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --async-queue-limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -m)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --zD)
                    COMPREPLY=($(compgen -W "0 1" -- "${cur}"))
                    return 0
                    ;;
                --MZ)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --verity)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --verity-salt)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --verity-uuid)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --verity-roothash)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --verity-sidecar)
                    COMPREPLY=($(compgen -W "systemd containerd oci" -- "${cur}"))
                    return 0
                    ;;
                -T)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --force-uid)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --force-gid)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --uid-offset)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --gid-offset)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --exclude-path)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --exclude-regex)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mount-point)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --workers)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -d)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _mkfs__erofs -o nosort -o bashdefault -o default mkfs-erofs
else
    complete -F _mkfs__erofs -o bashdefault -o default mkfs-erofs
fi
