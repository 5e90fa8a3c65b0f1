#!/usr/bin/env bash
# Everything that is tested, from nothing: installs what the tests need, builds, runs, and says how long each stage took.
#
#   scripts/test.sh             everything
#   scripts/test.sh STAGE...    only these (see the list at the end)
#
# Environment: ARUGULA_CACHE (built things; default ~/.cache/arugula), CARGO_TARGET_DIR.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
need_rust

export CARGO_TERM_COLOR=never RUST_BACKTRACE=${RUST_BACKTRACE:-0}
export ARUGULA_BIN=$CARGO_TARGET_DIR/release
export INTEROP_JAVA=$cache/interop-java INTEROP_GO=$cache/interop-go
venv=$cache/venv
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

install_all() {
    need python3 python3
    need java default-jdk-headless
    need javac default-jdk-headless
    need mvn maven
    need go golang-go
    need mount mount
    need mkfs.ext4 e2fsprogs
    need fsfreeze util-linux
    # --clear mends what an interrupted run left.
    if ! "$venv/bin/python" -c 'import pytest, xdist' 2>/dev/null; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || need no-python-venv python3-venv
        echo "installing pytest and pytest-xdist into $venv"
        python3 -m venv --clear "$venv" && "$venv/bin/python" -m pip install --quiet pytest==9.0.2 pytest-xdist==3.8.0
    fi
}

static_checks() { scripts/check.sh; }
build_release() { cargo build --release --locked --workspace --bins --example quickstart --example transaction; }
# The client's tests run at both makers' servers.
unit_tests() { ROCKETMQ_JARS=$INTEROP_JAVA/lib cargo test --workspace --exclude tests --locked --no-fail-fast; }
# 100,000 crash states, and every planted fault; seeded, so that each run is the same.
simulation() { cargo test --profile sim --locked -p store --features sim --test sim -- --nocapture; }
end_to_end() { cargo test -p tests --lib --test e2e --locked; }
build_clients() {
    mvn -B -q package -f tests/interop/java -Dinterop.build="$INTEROP_JAVA" || return
    echo # it leaves half a line of colour codes behind
    (cd tests/interop/go && go vet ./... && go build -o "$INTEROP_GO" .)
}
# Two at a time: each has a name server, a broker and a few clients of its own.
interop() { cargo test -p tests --test interop --locked -- --test-threads 2; }
conformance() {
    # Mostly waiting, so more workers than cores.
    ROCKETMQ_JARS=$INTEROP_JAVA/lib "$venv/bin/python" -m pytest -q -p no:cacheprovider --slow -n 4 --dist loadfile tests/conformance
}

stages=(install_all static_checks build_release build_clients unit_tests simulation end_to_end interop conformance)
chosen=("$@")
[ ${#chosen[@]} = 0 ] && chosen=("${stages[@]}")

times=() failed=()
for stage in "${chosen[@]}"; do
    if [[ " ${stages[*]} " != *" $stage "* ]]; then
        echo "no stage $stage; there are: ${stages[*]}" >&2
        exit 2
    fi
    echo "=== $stage"
    began=$SECONDS
    # A subshell, so that a stage can neither leave this script nor change its folder.
    ( set -e; "$stage" ) 2>&1 | tee "$logs/$stage"
    result=${PIPESTATUS[0]}
    times+=("$(printf '%-14s %4d s   %s' "$stage" $((SECONDS - began)) "$([ "$result" = 0 ] && echo ok || echo FAILED)")")
    if [ "$result" != 0 ]; then
        failed+=("$stage")
        # Nothing after these means anything.
        case $stage in install_all | build_release) break ;; esac
    fi
done

echo
echo "=== closing lines"
for stage in "${chosen[@]}"; do
    [ -f "$logs/$stage" ] && grep -hE '^(test result: .*|=*[ ]?[0-9]+ (passed|failed|xfailed|error).* in [0-9.]+s.*|skipped: .*)$' "$logs/$stage"
done
echo
echo "=== times"
printf '%s\n' "${times[@]}"
printf '%-14s %4d s\n' all $SECONDS
if [ ${#failed[@]} != 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
