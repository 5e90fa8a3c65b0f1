# Sourced by the other scripts: installs what is missing on a Debian or Ubuntu, and says so.
# shellcheck shell=bash

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need PROGRAM PACKAGE...: has the packages installed unless the program is there.
need() {
    local program=$1
    shift
    if command -v "$program" >/dev/null 2>&1; then
        return
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$program is missing, and there is no apt-get to install $* with" >&2
        exit 1
    fi
    echo "installing $* (for $program)"
    if [ -z "${apt_updated:-}" ]; then
        as_root apt-get update -qq
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# What building our own code needs.
need_rust() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    if ! command -v cargo >/dev/null 2>&1; then
        echo "cargo is missing: install a Rust toolchain ($(sed -n 's/^channel = //p' rust-toolchain.toml)) with rustup first" >&2
        exit 1
    fi
    need cc gcc libc6-dev
}

# Built things live outside the checkout, so that a fresh clone finds them again.
cache=${ARUGULA_CACHE:-$HOME/.cache/arugula}
mkdir -p "$cache"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
