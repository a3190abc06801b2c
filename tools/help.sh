# shellcheck shell=bash
# help.sh: sourced by scripts before they do anything: with -h or --help as their first argument they print what their head
# says, and end.
case ${1:-} in
-h | --help)
    awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
