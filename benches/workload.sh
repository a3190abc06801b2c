#!/usr/bin/env bash
# workload.sh DIR [PAIR...]: how much page cache two neighbouring versions of real software share while they work: measured
# on a real kernel, and predicted by erofs-ishare from a trace.
#
# DIR is that of pairs.sh, which makes the images. In a virtual machine the program is started in each of the two images
# as in a container, and a client of the same image works with it; twice without sharing, to see how exactly that repeats
# itself, and once with it. DIR keeps what was measured; a second call makes only what is missing. Writes docs/pairs.md
# anew, with the table of workloads behind that of pairs.sh.
#
#   EROFS_PROGRAMS  a folder with erofs-ishare and erofs-lab (default: release builds of this workspace)
#   EROFS_TABLE     the document to write (default docs/pairs.md)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
# shellcheck source=tools/beside.sh
source "$here/../tools/beside.sh"

[ $# -ge 1 ] || die "usage: workload.sh DIR [PAIR...]"
[ -d "$1" ] || die "$1 is not there: make it with pairs.sh"
dir=$(realpath "$1")
shift
root=$(realpath "$here/..")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
programs=${EROFS_PROGRAMS:-$target/release}
[ -n "${EROFS_PROGRAMS:-}" ] ||
    cargo build --quiet --release --manifest-path "$root/Cargo.toml" --package mkfs-erofs --package erofs-lab
ishare=$programs/erofs-ishare lab=$programs/erofs-lab
pairs=(redis nginx postgres)

# What packages do when they are configured: accounts. `as USER COMMAND...` runs a command as one of them.
# shellcheck disable=SC2016
common='
set -eu
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
[ -e /var/run ] || ln -s /run /var/run
account() {
    echo "$1:x:100:100::/var/lib/$1:/bin/sh" >>/etc/passwd
    echo "$1:x:100:" >>/etc/group
}
as() {
    user=$1
    shift
    setpriv --reuid "$user" --regid "$user" --init-groups "$@"
}
# Tries a command until it succeeds.
wait_for() {
    n=0
    until "$@" >/run/answer 2>&1; do
        n=$((n + 1))
        [ $n -lt 600 ] || { cat /run/answer; exit 1; }
        sleep 0.1
    done
}
'

# script PAIR: what runs in the images.
# shellcheck disable=SC2016
script() {
    printf '%s\n' "$common"
    case $1 in
        redis) printf '%s\n' '
account redis
mkdir -p /run/redis /var/lib/redis /var/log/redis
chown redis:redis /run/redis /var/lib/redis /var/log/redis
as redis redis-server /etc/redis/redis.conf --daemonize no --supervised no &
server=$!
wait_for redis-cli ping
redis-cli set greeting hello
[ "$(redis-cli get greeting)" = hello ]
redis-cli eval "return redis.call(\"get\", KEYS[1])" 1 greeting
redis-benchmark -q -n 2000 -c 10 -t set,get,lpush,lrange_100,zadd >/dev/null
redis-cli save
redis-cli shutdown
wait $server || true
' ;;
        nginx) printf '%s\n' '
ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default
mkdir -p /var/www/html /var/log/nginx
ln -s /usr/share/nginx/html/index.html /var/www/html/index.html
nginx -t
nginx
get() { /run/busybox wget -q -O - "http://127.0.0.1/$1"; }
wait_for get ""
n=0
while [ $n -lt 50 ]; do
    get "" >/dev/null
    n=$((n + 1))
done
if get missing 2>/dev/null; then exit 1; fi
nginx -s quit
wait_for [ ! -e /run/nginx.pid ]
' ;;
        postgres) printf '%s\n' '
account postgres
mkdir -p /var/lib/postgresql /run/postgresql /var/run/postgresql
chown postgres:postgres /var/lib/postgresql /run/postgresql /var/run/postgresql
PATH=/usr/lib/postgresql/15/bin:$PATH data=/var/lib/postgresql/data
cd /var/lib/postgresql
as postgres initdb --no-sync --auth trust -D $data >/run/initdb
as postgres pg_ctl -D $data -l /run/postgresql/log -o "-c fsync=off -c listen_addresses=127.0.0.1" -t 120 -w start ||
    { cat /run/postgresql/log; exit 1; }
as postgres psql -v ON_ERROR_STOP=1 -q postgres <<\SQL
create table words (id serial primary key, word text);
insert into words (word) select md5(n::text) from generate_series(1, 20000) n;
create index on words (word);
analyze words;
select count(*), min(word) from words where word like $$a%$$;
select upper(w.word) from words w join words v on v.id = w.id + 1 order by w.word limit 1;
SQL
as postgres pg_ctl -D $data -m fast -t 120 -w stop
' ;;
        mysql) printf '%s\n' '
account mysql
mkdir -p /var/lib/mysql /run/mysqld /var/log/mysql
chown mysql:mysql /var/lib/mysql /run/mysqld /var/log/mysql
mariadb-install-db --force --user=mysql --skip-test-db --auth-root-authentication-method=normal >/run/install 2>&1 ||
    { tail -n 20 /run/install; exit 1; }
mariadbd --user=mysql 2>/run/log &
server=$!
wait_for mariadb -e "select 1"
mariadb <<SQL
create database work;
use work;
create table words (id int auto_increment primary key, word varchar(40), key (word));
insert into words (word) select md5(seq) from seq_1_to_5000;
select count(*), min(word) from words where word like "a%";
select upper(w.word) from words w join words v on v.id = w.id + 1 order by w.word limit 1;
SQL
mariadb-admin shutdown
wait $server || true
' ;;
        *) die "found no workload $1, want one of: ${pairs[*]} mysql" ;;
    esac
}

# measure PAIR: runs it, and predicts what it shares.
measure() {
    local folder=$dir/$1
    [ -e "$folder/old.img" ] && [ -e "$folder/new.img" ] || die "$folder has no images: make them with pairs.sh"
    script "$1" >"$folder/workload.script"
    if [ ! -e "$folder/workload.json" ]; then
        "$lab" workload --dir "$target/lab" --memory "${LAB_MEMORY:-3072}" --timeout 3000 --each 600 \
            --script "$folder/workload.script" --trace "$folder/workload.trace" \
            "$folder/old.img" "$folder/new.img" >"$folder/workload.new"
        mv "$folder/workload.new" "$folder/workload.json"
    fi
    (cd "$folder" && "$ishare" simulate --json --domain one --access trace:workload.trace old.img new.img) \
        >"$folder/workload.predicted.json"
}

for pair in "${@:-${pairs[@]}}"; do measure "$pair"; done
python3 "$here/pairs-table.py" "$dir" "${EROFS_TABLE:-$root/docs/pairs.md}"
