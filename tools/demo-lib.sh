# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names shared with the caller
# The parts of tools/demo: starting and connecting servers, waiting, cleaning up.
# The caller has set: tools (this directory), kind, gtids (not empty: GTIDs and auto-position), keep.

# In /tmp and not in $TMPDIR: a unix socket's path has room for 107 characters.
work=$(mktemp -d /tmp/binrelay-demo.XXXXXX)
readonly password=not-a-secret
readonly servers=(m1 m2 s1 s2) masters=(m1 m2) replicas=(s1 s2)
declare -A pid port id=([m1]=86 [m2]=18 [s1]=101 [s2]=102)
server=() client=() admin=() # how these programs are started: argv, from tools/server

# ---------------------------------------------------------------------------------------------- messages

step=0
step() { step=$((step + 1)); printf '\n%d. %s\n' "$step" "$*"; }
tell() { printf '   %s\n' "$*"; }
indent() { sed 's/^/   | /'; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

# ---------------------------------------------------------------------------------------------- cleaning up

ended=failed # or: well, interrupted
fail() { trap - ERR; printf '\nFAILED: %s\n' "$*" >&2; exit 1; }

cleanup() {
  local status=$? name
  trap - EXIT ERR
  trap '' INT TERM HUP
  set +e
  if [[ $ended == failed ]]; then
    for name in "${servers[@]}"; do
      if alive "$name"; then errors_of "$name" | indent; fi
    done
    tail -qn 5 "$work"/{status,relay}.log 2>/dev/null | indent
  fi
  stop_all
  if [[ $ended == failed || -n $keep ]]; then
    printf '\nData and logs are in %s (*.log)\n' "$work"
  else
    rm -rf "$work"
  fi
  exit "$status"
}
# Set before anything is started.
trap cleanup EXIT
trap 'fail "line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR
trap 'ended=interrupted; trap - ERR; echo interrupted >&2; exit 130' INT TERM HUP

alive() { [[ -n ${pid[$1]:-} ]] && kill -0 "${pid[$1]}" 2>/dev/null; }

# Everything that was started is asked to end, then, after some seconds, made to: a mariadbd that is asked while it is
# still starting may never end.
stop_all() {
  local name deadline=$((SECONDS + 6))
  for name in "${!pid[@]}"; do kill "${pid[$name]}" 2>/dev/null; done
  for name in "${!pid[@]}"; do
    while alive "$name" && ((SECONDS < deadline)); do sleep 0.1; done
    kill -KILL "${pid[$name]}" 2>/dev/null
    wait "${pid[$name]}" 2>/dev/null
  done
}

# until_true SECONDS WHAT COMMAND…: polls. If it does not come true in time, or something that was started is gone,
# the demo fails, and names WHAT.
until_true() {
  local deadline=$((SECONDS + $1)) seconds=$1 what=$2 name
  shift 2
  until "$@"; do
    for name in "${!pid[@]}"; do
      alive "$name" || fail "$name has ended by itself; the end of its log:
$(tail -n 5 "$work/$name.log")"
    done
    ((SECONDS < deadline)) || fail "$what: not within $seconds s"
    sleep 0.1
  done
}

# ---------------------------------------------------------------------------------------------- servers

# Sets port[NAME] to a port on which nothing listens, below the range that outgoing connections are given.
choose_port() {
  local p
  while :; do
    p=$((10000 + RANDOM % 20000))
    if [[ " ${port[*]} " != *" $p "* ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then break; fi
  done
  port[$1]=$p
}

# Fetches the kind if need be and finds its programs.
get_servers() {
  local program words
  "$tools/server" get "$kind"
  # Assigned first, so that a failure ends the script, which one within <( … ) would not.
  for program in server client admin; do
    words=$("$tools/server" argv "$kind" "$program")
    mapfile -t "$program" <<<"$words"
  done
}

# sql NAME STATEMENTS [OPTION…]: as root, over the socket.
sql() { "${client[@]}" --socket="$work/$1.sock" --user=root --batch --skip-column-names "${@:3}" --execute="$2"; }
answers() { "${admin[@]}" --socket="$work/$1.sock" --user=root ping &>/dev/null; }

# Starts the server NAME, the first time with a fresh data directory. Its replication, if configured, starts too.
start_server() {
  local name=$1
  local -a options=(--datadir="$work/$name" --socket="$work/$name.sock" --pid-file="$work/$name.pid"
    --port="${port[$name]}" --server-id="${id[$name]}" --report-host="$name" --relay-log=relay
    --innodb-buffer-pool-size=64M)
  if [[ $name == m* ]]; then
    options+=(--log-bin=mysql-bin --binlog-format=mixed --log-slave-updates --replicate-do-db=test
      --auto-increment-increment=2 --auto-increment-offset="${name#m}")
  fi
  # Without the performance schema a MySQL server takes a third of the memory.
  case $kind in mysql-*) options+=(--performance-schema=OFF) ;; esac
  if [[ -n $gtids ]]; then options+=(--gtid-mode=ON --enforce-gtid-consistency=ON); fi
  if [[ ! -d $work/$name ]]; then "$tools/server" init "$kind" "$work/$name"; fi
  "${server[@]}" "${options[@]}" >>"$work/$name.log" 2>&1 &
  pid[$name]=$!
  until_true 60 "$name starts" answers "$name"
}

# A crash: no warning, no clean end.
kill_server() {
  kill -KILL "${pid[$1]}"
  wait "${pid[$1]}" 2>/dev/null || true
  unset "pid[$1]"
}

# follow NAME UPSTREAM FILE: NAME becomes a replica of UPSTREAM; without GTIDs from the start of FILE. A master that
# died is tried again each second (MySQL's default is a minute); a MySQL replica of the relay gets only the options
# that it needs.
follow() {
  if [[ -z $gtids ]]; then
    sql "$1" "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${port[$2]}, MASTER_USER='repl',
      MASTER_PASSWORD='$password', MASTER_CONNECT_RETRY=1, MASTER_LOG_FILE='$3', MASTER_LOG_POS=4; START SLAVE"
  else
    sql "$1" "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=${port[$2]}, SOURCE_USER='repl',
      SOURCE_PASSWORD='$password', SOURCE_AUTO_POSITION=1
      $(if [[ $2 == m* ]]; then echo ', SOURCE_CONNECT_RETRY=1'; fi); START REPLICA"
  fi
}

replica_status() {
  sql "$1" "SHOW $(if [[ -n $gtids ]]; then echo REPLICA; else echo SLAVE; fi) STATUS" --vertical --column-names
}
replicates() { [[ $(replica_status "$1" | grep -cE '^ *(Slave|Replica)_(IO|SQL)_Running: Yes$') == 2 ]]; }
errors_of() { replica_status "$1" | sed -nE "s/^ *((Slave|Replica)_(IO|SQL)_Running: |Last_(IO|SQL)_Error: .)/$1: \1/p"; }

# The tables of the database `test` on NAME, one a line, with their checksums.
checksums() {
  local tables
  tables=$(sql "$1" "SELECT CONCAT('test.', table_name) FROM information_schema.tables
    WHERE table_schema='test' ORDER BY table_name")
  if [[ -n $tables ]]; then sql "$1" "CHECKSUM TABLE ${tables//$'\n'/, } EXTENDED"; fi
}
all_equal() {
  local name first
  first=$(checksums m1)
  for name in m2 s1 s2; do [[ -n $first && $(checksums "$name") == "$first" ]] || return 1; done
}
