# shellcheck shell=bash
# Sourced by tools/server: the kinds that are not fetched, but used where they are installed.

# The variable that names the base directory of KIND; nothing for kinds that are fetched.
variable_of() {
  case $1 in
    mysql-5.5) echo BINRELAY_SERVER_MYSQL_5_5 ;;
    mysql-5.7) echo BINRELAY_SERVER_MYSQL_5_7 ;;
  esac
}

# Sets `base` to the base directory of KIND, which is not fetched.
find_base() {
  local variable
  variable=$(variable_of "$1")
  base=${!variable:-}
  [[ -n $base ]] || die "$1 cannot be fetched: set $variable to the base directory of an installed server (see tools/server)"
  [[ -x $base/bin/mysqld ]] || die "$variable=$base: $base/bin/mysqld is not an executable file"
}

# Sets `words` to the argv that runs PROGRAM of a kind that is installed.
installed_words() {
  local kind=$1 program=$2 name base share
  find_base "$kind"
  case $program in
    server) name=mysqld ;;
    client) name=mysql ;;
    binlog) name=mysqlbinlog ;;
    dump) name=mysqldump ;;
    admin) name=mysqladmin ;;
    *) die "no such program: $program (there are: server client binlog dump admin)" ;;
  esac
  [[ -x $base/bin/$name ]] || die "$kind: $base/bin/$name is not an executable file"
  share=$(installed_share "$base")
  [[ -n $share ]] || die "$kind: $base/share has no character sets"
  words=("$base/bin/$name" --no-defaults "--character-sets-dir=$share/charsets")
  if [[ $program == server ]]; then
    words+=("--basedir=$base" "--lc-messages-dir=$share" "--plugin-dir=$base/lib/plugin" --secure-file-priv=
      --bind-address=127.0.0.1 --innodb-use-native-aio=0)
    if [[ $(id -u) == 0 ]]; then words+=(--user=root); fi
  fi
}

# Where the installed server whose base directory is BASE keeps its SQL scripts, messages and character sets.
installed_share() {
  local dir
  for dir in "$1"/share "$1"/share/mysql; do
    if [[ -d $dir/charsets ]]; then echo "$dir"; return; fi
  done
}
