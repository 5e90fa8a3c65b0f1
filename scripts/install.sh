# Sourced by the other scripts: installs what is missing on a Debian or Ubuntu, and says so.
# shellcheck shell=bash

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_for WHAT PACKAGE...
install_for() {
    local what=$1
    shift
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$what is missing, and there is no apt-get to install $* with" >&2
        exit 1
    fi
    echo "installing $* (for $what)"
    if [ -z "${apt_updated:-}" ]; then
        as_root apt-get update -qq
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need PROGRAM PACKAGE...: has the packages installed unless the program is there.
need() {
    command -v "$1" >/dev/null 2>&1 || install_for "$@"
}

# What building our own code needs.
need_rust() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    if ! command -v cargo >/dev/null 2>&1; then
        echo "cargo is missing: install a Rust toolchain ($(sed -n 's/^channel = //p' rust-toolchain.toml)) with rustup first" >&2
        exit 1
    fi
    need cc gcc libc6-dev
    need_rocksdb
}

# RocksDB is C++ that takes minutes to compile. It is built once for each of its versions, outside the checkout: every
# profile and every clone links the same archive. Without these two variables cargo builds it for each profile by itself.
need_rocksdb() {
    need g++ g++
    if [ -z "${LIBCLANG_PATH:-}" ] && ! compgen -G '/usr/lib*/llvm-*/lib/libclang.so' >/dev/null &&
        ! compgen -G '/usr/lib*/libclang.so' >/dev/null; then
        install_for "libclang, which reads the header of RocksDB" libclang-dev
    fi
    if [ -n "${ROCKSDB_LIB_DIR:-}" ]; then
        return # The caller has one.
    fi
    local version
    version=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/^version = "|"$/, ""); print }' Cargo.lock)
    build_rocksdb "$cache/rocksdb-$version" || exit
    export ROCKSDB_LIB_DIR=$cache/rocksdb-$version ROCKSDB_STATIC=1
}

# build_rocksdb DIR: leaves librocksdb.a there, unless it is there already.
build_rocksdb() (
    [ ! -f "$1/librocksdb.a" ] || exit 0
    exec 9>"$cache/rocksdb.lock"
    if ! flock --nonblock 9; then
        echo "waiting for another script, which builds RocksDB"
        flock 9
        [ ! -f "$1/librocksdb.a" ] || exit 0
    fi
    echo "building RocksDB, once for all later builds: 10 to 15 minutes on two cores"
    CARGO_TARGET_DIR=$cache/rocksdb-build cargo build --release --locked -p librocksdb-sys &
    cargo=$!
    while sleep 15 && kill -0 $cargo 2>/dev/null; do
        compiled=$(find "$cache/rocksdb-build" -path '*/librocksdb-sys-*/out/*' -name '*.o' 2>/dev/null | wc -l)
        echo "  $((SECONDS / 60)) min $((SECONDS % 60)) s: $compiled of about 340 files"
    done
    wait $cargo || exit
    mkdir -p "$1"
    # Renamed into place: an interrupted copy must not look like an archive.
    cp "$(find "$cache/rocksdb-build" -path '*/librocksdb-sys-*/out/librocksdb.a' | head -n 1)" "$1/librocksdb.a.new" &&
        mv "$1/librocksdb.a.new" "$1/librocksdb.a" || exit
    rm -rf "$cache/rocksdb-build"
)

# Built things live outside the checkout, so that a fresh clone finds them again.
cache=${ARUGULA_CACHE:-$HOME/.cache/arugula}
mkdir -p "$cache"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
