#!/usr/bin/env bash
# A name server and a broker, messages sent and consumed, transactions, and what there is to look at.
#
#   scripts/quickstart.sh          goes on until Ctrl-C
#   scripts/quickstart.sh --once   ends after the demonstration
#
# Everything runs on 127.0.0.1, on the usual ports where they are free, and is gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
'' | --once) once=${1:-} ;;
*)
    echo "usage: scripts/quickstart.sh [--once]" >&2
    exit 2
    ;;
esac
. scripts/install.sh
need_rust
need curl curl

echo "building (the first time takes a few minutes)"
# All of it, so that the tests find everything built the same way.
cargo build --release --locked --workspace --bins --example quickstart --example transaction
bin=$CARGO_TARGET_DIR/release
home=$(mktemp -d -t arugula-XXXXXX)
pids=()

stop() {
    trap - EXIT INT TERM
    # The broker first: it says good-bye to the name server.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$home"
    echo "stopped, nothing left behind"
}
trap stop EXIT
trap 'exit 0' INT TERM

# usual PORT [NEIGHBOUR]: the port itself where it (and its neighbour) is free, 0 (any) otherwise.
usual() {
    local port
    for port in "$@"; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo 0
            return
        fi
    done
    echo "$1"
}

# start NAME FLAGS...: waits for the ready line and leaves it in $ready.
start() {
    local name=$1 out=$home/$1.out err=$home/$1.err
    shift
    # In a session of its own: Ctrl-C reaches this script only, which then stops the servers in their order.
    setsid "$bin/$name" --set bindAddress=127.0.0.1 "$@" >"$out" 2>"$err" &
    pids+=($!)
    for _ in $(seq 300); do
        ready=$(grep -m1 'boot success' "$out" || true)
        if [ -n "$ready" ]; then
            echo "  $ready"
            return
        fi
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name did not start:" >&2
    cat "$err" >&2
    exit 1
}

echo "starting both servers"
start mqnamesrv --set listenPort="$(usual 9876)" --set httpListenPort="$(usual 9877)" --set kvConfigPath="$home/kvConfig.json"
namesrv=$(sed -n 's/.* address \([^,]*\),.*/\1/p' <<<"$ready")
namesrv_http=$(sed -n 's/.* http \(.*\)$/\1/p' <<<"$ready")
start mqbroker -n "$namesrv" --set brokerName=broker-a --set brokerIP1=127.0.0.1 --set storePathRootDir="$home/store" \
    --set listenPort="$(usual 10911 10909)" --set haListenPort="$(usual 10912)" --set httpListenPort="$(usual 5557)" \
    --set transactionTimeOut=2000 --set transactionCheckInterval=1000
broker_http=$(sed -n 's/.* http \(.*\)$/\1/p' <<<"$ready")

topic=quickstart
echo
echo "the Rust client (client/examples/quickstart.rs) sends and consumes"
RUST_LOG=${RUST_LOG:-warn} "$bin/examples/quickstart" --namesrv "$namesrv" --topic "$topic"

echo
echo "transactional messages (client/examples/transaction.rs): coffee is committed, tea rolled back, and the producer of cake dies before"
echo "it says how that ended, so the broker asks another one (here after 2 s; by default after 6 s, looking every 30 s)"
RUST_LOG=${RUST_LOG:-warn} "$bin/examples/transaction" --namesrv "$namesrv"

echo
echo "GET http://$namesrv_http/api/v1/topics/$topic/route"
curl -sS --fail "http://$namesrv_http/api/v1/topics/$topic/route"
echo
echo
echo "GET http://$broker_http/metrics (some of it)"
metrics=$(curl -sS --fail "http://$broker_http/metrics")
grep -E '^rocketmq_(messages_(in|out)_total|consumer_lag_messages)' <<<"$metrics" | grep -v 'is_system="true"'
echo
cat <<TXT
where to look while both run
  clients            namesrvAddr=$namesrv
  cluster            curl http://$namesrv_http/api/v1/cluster
  broker             curl http://$broker_http/api/v1/status
  topics, groups     curl http://$broker_http/api/v1/topics ; curl http://$broker_http/api/v1/groups
  what waits         curl http://$broker_http/api/v1/transactions ; curl http://$broker_http/api/v1/timers
  logs and store     $home
  inside the store   $bin/mqadmin store ls --store $home/store
  the code           docs/architecture.md
TXT
if [ "$once" = --once ]; then
    exit 0
fi
echo
echo "both servers run; Ctrl-C stops them"
wait -n "${pids[@]}"
echo "a server ended by itself:" >&2
tail -n 5 "$home"/*.err >&2
exit 1
