#!/usr/bin/env bash
# Crashes the store on a simulated disk at every step, run after run, and says what it found.
#
#   scripts/sim.sh --hours N [--seed S]    as long as that (fractions work), on one core
#   scripts/sim.sh --runs N [--seed S]     so many runs; a violation names the seed of its own
#   scripts/sim.sh --faults                plants every known fault and says how it was noticed
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
need cc gcc libc6-dev

test=for_hours
while [ $# != 0 ]; do
    case $1 in
        --hours) SIM_SECONDS=$(awk -v hours="$2" 'BEGIN { printf "%d", hours * 3600 }') && export SIM_SECONDS && shift ;;
        --runs) export SIM_RUNS=$2 && shift ;;
        --seed) export SIM_SEED=$2 && shift ;;
        --faults) test=every_planted_fault_is_reported ;;
        *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
if [ "$test" = for_hours ] && [ -z "${SIM_SECONDS:-}${SIM_RUNS:-}" ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
exec cargo test --quiet --profile sim --locked -p store --features sim --test sim -- --include-ignored --exact "$test" --nocapture
