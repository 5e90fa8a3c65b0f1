#!/usr/bin/env bash
# Kills a broker under load some hundred times, and cuts the power of its disk, with consumers attached; after each blow everything
# that was acknowledged or seen is read and compared byte for byte. Then the same with messages that wait (delayed ones, transactions,
# message groups), that are sent again, and that go into several queues. Exit code 1 when anything is lost, altered, promised twice,
# early, delivered twice or against a recall or rollback.
#
#   scripts/crash.sh                          200 kills and 100 power cuts under each flush mode, then 100 and 25 for each kind
#   scripts/crash.sh --cycles 20 --images 10  fewer
#   scripts/crash.sh --loads timers,order     only these
#   scripts/crash.sh --seed 7                 the choices of an earlier run again
#   scripts/crash.sh --help                   all options
#
# Power cuts need mount, losetup, mkfs.ext4 and fsfreeze, and the right to use them; without it they are skipped by name.
# Environment: ARUGULA_BIN to use binaries that are built already, CARGO_TARGET_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

if [ -z "${ARUGULA_BIN:-}" ]; then
    need_rust
    # As the other scripts build, so that nothing is built twice.
    cargo build --release --locked --workspace --bins
    export ARUGULA_BIN=$CARGO_TARGET_DIR/release
fi
need mount mount
need mkfs.ext4 e2fsprogs
need fsfreeze util-linux
exec "$ARUGULA_BIN/crash" "$@"
