# shellcheck shell=bash
# Debian's packages of any suite, for tools/server and tools/trade, which source this: fetched by an apt of its own, which
# leaves the machine's alone. The caller defines say and die.

# Every "URI SUITE COMPONENT…" of the machine's apt configuration, from one-line and deb822 files alike.
# (`apt-get indextargets` would tell, but not on a machine that has never run `apt-get update`.)
apt_sources() {
  local etc list parts
  eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
  etc=$list
  for list in "$etc" "${parts%/}"/*.list; do
    if [[ -r $list ]]; then
      sed -nE 's/#.*//; s/^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]*)?//p' "$list"
    fi
  done
  for list in "${parts%/}"/*.sources; do
    # A blank line ends a stanza; a line that begins with a space continues the field before it.
    awk '
      function flush(  u, s, i, j) {
        if (tolower(f["enabled"]) !~ /^ *(no|false|0|off|without|disable)/ && f["types"] ~ /(^| )deb( |$)/) {
          split(f["uris"], u, " "); split(f["suites"], s, " ")
          for (i = 1; i in u; i++) for (j = 1; j in s; j++) print u[i], s[j], f["components"]
        }
        split("", f); key = ""
      }
      /^#/ { next }
      /^[ \t]*$/ { flush(); next }
      /^[^ \t]/ { key = tolower(substr($0, 1, index($0, ":") - 1)); sub(/^[^:]*:/, "") }
      { f[key] = f[key] " " $0 }
      END { flush() }' "$list"
  done
}

# The archives (`main`) or security archives (`security`) that the machine uses, one URI a line. Someone else's
# repository may look the same ("…/debian bookworm main"): it cannot pass for Debian's, since `open_suite` accepts only
# what Debian's keys signed, and then tries the next.
mirrors() {
  local uri suite components
  case $1 in
    main) if [[ -n ${BINRELAY_DEBIAN_MIRROR:-} ]]; then echo "$BINRELAY_DEBIAN_MIRROR"; return; fi ;;
    security) if [[ -n ${BINRELAY_DEBIAN_SECURITY_MIRROR:-} ]]; then echo "$BINRELAY_DEBIAN_SECURITY_MIRROR"; return; fi ;;
  esac
  apt_sources | while read -r uri suite components; do
    [[ " $components " == *' main '* && $uri != cdrom:* ]] || continue
    case $1:$suite in
      security:*-security | security:*/updates) echo "${uri%/}" ;;
      *-security | *-updates | *-backports | *-proposed* | */*) ;;
      main:*) echo "${uri%/}" ;;
    esac
  done | awk '!seen[$0]++'
}

# Writes DIR/apt.conf and fetches the suite's package lists into DIR: an apt of its own, with an empty dpkg status, so
# that it neither reads nor writes anything of the machine's but the mirror, proxy and credentials settings.
open_suite() {
  local dir=$1 suite=$2 keyring='' main security arch k
  # Signatures are checked for every suite: one keyring holds the keys of all of them, sid's included (it is signed
  # with the keys of the newest stable release).
  for k in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
    if [[ -r $k ]]; then keyring=$k; break; fi
  done
  [[ -n $keyring ]] || die "Debian's keys are missing (package debian-archive-keyring)"
  arch=$(dpkg --print-architecture)
  mkdir -p "$dir"/{lists,archives}/partial
  : >"$dir/status"
  # Read with -c, hence last: it overrides the machine's files. The hooks must go, since they act on the machine's own
  # cache (docker-clean deletes from it); so must pins and a default release that mean the machine's own suite.
  cat >"$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$dir";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
Dir::Log "$dir";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
APT::Keep-Downloaded-Packages "true";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
CONF
  # As root apt would hand downloads to the user _apt, who cannot write here.
  if [[ $(id -u) == 0 ]]; then echo 'APT::Sandbox::User "root";' >>"$dir/apt.conf"; fi

  read -r security < <(mirrors security) || security=''
  while read -r main; do
    # The security archive may be missing (sid has none) or have been closed: then the release alone will do.
    for s in ${security:+"$security"} ''; do
      if [[ -n $s && $suite == sid ]]; then continue; fi
      {
        echo "deb [arch=$arch signed-by=$keyring] $main $suite main"
        if [[ -n $s ]]; then echo "deb [arch=$arch signed-by=$keyring] $s $suite-security main"; fi
      } >"$dir/sources.list"
      if apt-get -qq -c "$dir/apt.conf" update >"$dir/update.log" 2>&1; then return; fi
    done
    say "no $suite at $main: $(grep -m1 '^E:' "$dir/update.log" || tail -n 1 "$dir/update.log")"
  done < <(mirrors main)
  die "no Debian mirror with $suite was found in apt's configuration; name one in BINRELAY_DEBIAN_MIRROR"
}

unpack_package() {
  dpkg-deb --fsys-tarfile "$1" | tar -x --no-same-owner --keep-directory-symlink -C "$2" \
    --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/lintian' --exclude='./etc'
}
