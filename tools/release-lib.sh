# shellcheck shell=bash
# shellcheck disable=SC2154 # the caller sets tools
# Runs one of the measuring programs (a [[test]] of Cargo.toml) with a relay that is built for release.

# run_with_release NAME ARGUMENT…
run_with_release() {
  local name=$1 relay=${BINRELAY:-}
  shift
  command -v cargo >/dev/null || { echo "cargo is missing: install Rust (https://rustup.rs)" >&2; exit 1; }
  case " $* " in *' --help '* | *' -h '*) relay=none ;; esac
  if [[ -z $relay ]]; then
    (cd "$tools/.." && cargo build --locked --release --bin binrelay)
    relay=$(cd "$tools/.." && realpath -m "${CARGO_TARGET_DIR:-target}")/release/binrelay
  elif [[ $relay != none ]]; then
    relay=$(realpath -- "$relay")
  fi
  cd "$tools/.."
  exec cargo test --quiet --locked --test "$name" -- --relay "$relay" "$@"
}
