#!/usr/bin/env bash
# Measures Arugula, a stub that stores nothing, and Apache RocketMQ 5.5.0 side by side on this machine, in alternating
# slots, and prints medians and ratios. Everything listens on 127.0.0.1 and lives below target/bench; nothing is pinned
# unless asked for. Ends only the processes it started.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh [options]
  --quick              one round, short slots: does it work, roughly how fast
  --rounds N           rounds of alternating slots (3)
  --duration SECONDS   measured time of a slot (4)
  --sync-flush         SYNC_FLUSH instead of ASYNC_FLUSH
  --body-size BYTES    bytes of a body (1024)
  --header FORM        json or rocketmq (json)
  --servers LIST       of ours,stub,reference (all)
  --tests LIST         of send,consume,e2e,transactions,timers,route,idle,startup (all); recovery only when asked for: time to
                       the first acknowledged send after a kill -9, on a store of --recover GIB
  --timers N           timers of that test, due over 30 s while 5,000 live messages a second flow (100000)
  --precision MS       timerPrecisionMs of the brokers (100)
  --recover GIB        bytes of that store (10)
  --shapes LIST        of sends, connections x in flight on each (1x1,1x64,64x1,4x64)
  --server-cpus LIST   pin the servers, as taskset -c does
  --bench-cpus LIST    pin the load generator
  --out DIR            where results go (target/bench/TIME)
Environment: ROCKETMQ_JARS folder with the jars of the reference (target/rocketmq-jars; fetched with mvn if absent),
CARGO_TARGET_DIR, and ARUGULA_BIN to use binaries that are built already.
TEXT
}

rounds=3 duration=4 warmup=1 idle=10 jit=10 fill=200000
flush=ASYNC_FLUSH body=1024 header=json
servers=ours,stub,reference tests=send,consume,e2e,transactions,timers,route,idle,startup
timers=100000 spread=30 lead=15 precision=100
server_cpus='' bench_cpus='' out='' recover=10 shapes=1x1,1x64,64x1,4x64
while [ $# -gt 0 ]; do
    case $1 in
        --quick) rounds=1 duration=2 warmup=1 idle=3 jit=5 fill=50000 timers=20000 spread=6 lead=8 ;;
        --rounds) rounds=$2; shift ;;
        --duration) duration=$2; shift ;;
        --sync-flush) flush=SYNC_FLUSH ;;
        --body-size) body=$2; shift ;;
        --header) header=$2; shift ;;
        --servers) servers=$2; shift ;;
        --tests) tests=$2; shift ;;
        --recover) recover=$2; shift ;;
        --timers) timers=$2; shift ;;
        --precision) precision=$2; shift ;;
        --shapes) shapes=$2; shift ;;
        --server-cpus) server_cpus=$2; shift ;;
        --bench-cpus) bench_cpus=$2; shift ;;
        --out) out=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
wants() { [[ ",$1," == *",$2,"* ]]; }

out=${out:-target/bench/$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/work.XXXXXX")
runs=$out/runs.jsonl
: > "$runs"

# --- processes: every one is ended by its id ------------------------------------------------------------------------
pids=()
end_process() { # PID
    kill -TERM "$1" 2> /dev/null || return 0
    for _ in $(seq 300); do
        kill -0 "$1" 2> /dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2> /dev/null || true
}
finish() {
    local pid
    for pid in "${pids[@]}"; do end_process "$pid"; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

started=0
start() { # LOG COMMAND…: its id goes to $started; returns when it has said that it is up
    local log=$1; shift
    : > "$log" # Here, not in the background: the ready line of an earlier start must be gone.
    "${server_pin[@]}" "$@" >> "$log" 2>&1 < /dev/null &
    started=$!
    pids+=("$started")
    for _ in $(seq 1200); do
        grep -q 'boot success' "$log" && return 0
        kill -0 "$started" 2> /dev/null || break
        sleep 0.1
    done
    echo "bench.sh: no ready line from: $*" >&2
    tail -n 30 "$log" >&2
    exit 1
}
stop() { # PID
    local kept=() pid
    end_process "$1"
    wait "$1" 2> /dev/null || true
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    pids=("${kept[@]}")
}

next_port=$((20000 + $$ * 37 % 12000)) # Below the ports the system gives to outgoing connections.
port=0
free_port() { # the result goes to $port; the four below it are free too
    local p busy
    while :; do
        next_port=$((20000 + (next_port - 20000 + 10) % 12000))
        busy=0
        for p in $(seq $((next_port - 4)) "$next_port"); do
            if (exec 3<> "/dev/tcp/127.0.0.1/$p") 2> /dev/null; then busy=1; fi
        done
        [ $busy = 0 ] && break
    done
    port=$next_port
}

server_pin=() bench_pin=()
[ -z "$server_cpus" ] || server_pin=(taskset -c "$server_cpus")
[ -z "$bench_cpus" ] || bench_pin=(taskset -c "$bench_cpus")

# --- binaries and jars ----------------------------------------------------------------------------------------------
if [ -n "${ARUGULA_BIN:-}" ]; then
    bin=$(cd "$ARUGULA_BIN" && pwd)
    unset ARUGULA_BIN # The servers would take it for a key of their configuration.
else
    packages=(-p mqbench)
    if wants "$servers" ours; then packages+=(-p nameserver -p broker); fi
    . scripts/install.sh
    need_rust
    cargo build --release "${packages[@]}"
    bin=$(cd "$CARGO_TARGET_DIR/release" && pwd)
fi
mkdir "$work/bin"
for name in mqbench mqnamesrv mqbroker; do # Copies: a build in between changes nothing.
    if [ $name = mqbench ] || wants "$servers" ours; then cp "$bin/$name" "$work/bin/"; fi
done
bin=$work/bin
mqbench=("${bench_pin[@]}" "$bin/mqbench")

jars=${ROCKETMQ_JARS:-target/rocketmq-jars}
if wants "$servers" reference; then
    for tool in java mvn; do
        command -v $tool > /dev/null && continue
        [ $tool = mvn ] && ls "$jars"/rocketmq-broker-5.5.0.jar > /dev/null 2>&1 && continue
        echo "bench.sh: installing a JDK and Maven with apt-get, for the reference"
        apt-get install -y openjdk-17-jdk-headless maven
        break
    done
    if ! ls "$jars"/rocketmq-broker-5.5.0.jar > /dev/null 2>&1; then
        echo "bench.sh: fetching Apache RocketMQ 5.5.0 to $jars"
        mkdir -p "$jars" "$work/pom"
        {
            echo '<project><modelVersion>4.0.0</modelVersion><groupId>bench</groupId><artifactId>reference</artifactId>'
            echo '<version>1</version><packaging>pom</packaging><dependencies>'
            for artifact in namesrv broker tools; do
                echo "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>rocketmq-$artifact</artifactId><version>5.5.0</version></dependency>"
            done
            echo '</dependencies></project>'
        } > "$work/pom/pom.xml"
        mvn -q -f "$work/pom/pom.xml" dependency:copy-dependencies -DoutputDirectory="$(cd "$jars" && pwd)"
    fi
    jars=$(cd "$jars" && pwd)
fi

java_args=(-Xms1g -Xmx1g -Xmn512m -XX:MaxDirectMemorySize=2g -XX:+UseG1GC)
for package in java.nio sun.nio.ch java.lang java.util java.net jdk.internal.ref java.lang.reflect; do
    java_args+=("--add-opens=java.base/$package=ALL-UNNAMED")
done

# --- servers --------------------------------------------------------------------------------------------------------
declare -A namesrv namesrv_pid broker broker_pid
namesrv_conf() { # NAME
    mkdir -p "$work/$1/conf" "$work/$1/tmp"
    printf '%s\n' "listenPort=$port" "kvConfigPath=$work/$1/kv.json"
    if [ "$1" = reference ]; then echo "rocketmqHome=$work/$1"; else printf '%s\n' httpListenPort=0 bindAddress=127.0.0.1; fi
}
broker_conf() { # NAME STORE
    printf '%s\n' brokerClusterName=DefaultCluster "brokerName=$1" brokerId=0 brokerIP1=127.0.0.1 brokerIP2=127.0.0.1 \
        "listenPort=$port" "haListenPort=$((port - 1))" "namesrvAddr=${namesrv[$1]}" "storePathRootDir=$2" \
        "storePathCommitLog=$2/commitlog" "flushDiskType=$flush" autoCreateTopicEnable=true \
        cleanFileForciblyEnable=false diskSpaceWarningLevelRatio=100 "timerPrecisionMs=$precision"
    if [ "$1" = reference ]; then echo "rocketmqHome=$work/$1"; else printf '%s\n' httpListenPort=0 bindAddress=127.0.0.1; fi
}
start_namesrv() { # NAME
    free_port
    namesrv_conf "$1" > "$work/$1.namesrv.conf"
    if [ "$1" = reference ]; then
        start "$out/$1.namesrv.log" java "${java_args[@]}" "-Duser.home=$work/$1" "-Djava.io.tmpdir=$work/$1/tmp" -cp "$jars/*" \
            org.apache.rocketmq.namesrv.NamesrvStartup -c "$work/$1.namesrv.conf"
    else
        start "$out/$1.namesrv.log" "$bin/mqnamesrv" -c "$work/$1.namesrv.conf"
    fi
    namesrv[$1]=127.0.0.1:$port
    namesrv_pid[$1]=$started
}
broker_command() { # NAME CONF: the words go to $words
    if [ "$1" = reference ]; then
        words=(env "ROCKETMQ_HOME=$work/$1" java "${java_args[@]}" "-Duser.home=$work/$1" "-Djava.io.tmpdir=$work/$1/tmp" -cp "$jars/*"
            org.apache.rocketmq.broker.BrokerStartup -c "$2")
    else
        words=("$bin/mqbroker" -c "$2")
    fi
}
start_broker() { # NAME: on a new store
    rm -rf "$work/$1/store"
    mkdir -p "$work/$1"
    if [ "$1" = stub ]; then
        start "$out/stub.log" "$bin/mqbench" stub
        broker[stub]=$(sed -n 's/.*address \([^,]*\),.*/\1/p' "$out/stub.log")
        namesrv[stub]=${broker[stub]}
        namesrv_pid[stub]=$started
    else
        free_port
        broker_conf "$1" "$work/$1/store" > "$work/$1.broker.conf"
        broker_command "$1" "$work/$1.broker.conf"
        start "$out/$1.broker.log" "${words[@]}"
        broker[$1]=127.0.0.1:$port
    fi
    broker_pid[$1]=$started
}
# The reference keeps running, or its compiled code would be lost; ours and the stub begin every slot anew.
renew() { # NAME
    [ "$1" = reference ] && return 0
    stop "${broker_pid[$1]}"
    start_broker "$1"
}

# --- runs -----------------------------------------------------------------------------------------------------------
record() { # SERVER TEST ROUND JSON
    printf '{"server":"%s","test":"%s","round":%s,"report":%s}\n' "$1" "$2" "$3" "$4" >> "$runs"
}
bench() { # SERVER TEST ROUND SUBCOMMAND…
    local server=$1 test=$2 round=$3 line
    shift 3
    sync # What one slot left to be written does not burden the next.
    line=$("${mqbench[@]}" "$@" --quiet --header "$header") || echo "bench.sh: $server, $test: see faults in $runs" >&2
    line=$(tail -n 1 <<< "$line")
    [ -n "$line" ] || { echo "bench.sh: $server, $test gave nothing" >&2; exit 1; }
    record "$server" "$test" "$round" "$line"
    printf '  %-10s %-12s round %s: %s\n' "$server" "$test" "$round" \
        "$(sed -n 's/.*"messages_per_second":\([0-9.]*\).*/\1 per second/p' <<< "$line")"
}
# How near a SYNC_FLUSH slot came to what the disk allows: everything in flight waits for half a sync and a whole one.
sync_share() { # NAME IN_FLIGHT REPORT
    local address sync rate
    address=$(sed -n 's/.*boot success.*http \([0-9.:]*\).*/\1/p' "$out/$1.broker.log" | tail -n 1)
    exec 3<> "/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET /api/v1/status HTTP/1.0\r\n\r\n' >&3
    sync=$(sed -n 's/.*"meanSyncMicros":\([0-9]*\).*/\1/p' <&3)
    exec 3>&-
    rate=$(sed -n 's/.*"messages_per_second":\([0-9.]*\).*/\1/p' <<< "$3")
    awk -v flight="$2" -v sync="$sync" -v rate="$rate" 'BEGIN {
        limit = flight / (1.5 * sync) * 1e6
        printf "  %d in flight, a sync takes %d µs: %d per second if nothing else took time, %.0f %% of it reached\n",
            flight, sync, limit, 100 * rate / limit }' | tee -a "$out/syncs.txt"
}
rss_anon_mib() { awk '/^RssAnon:/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

echo "== servers: $servers, $flush, $body-byte bodies, $rounds rounds of $duration s, results in $out"
{
    echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "command: scripts/bench.sh with rounds=$rounds duration=$duration flush=$flush body=$body header=$header servers=$servers tests=$tests timers=$timers precision=$precision server_cpus=$server_cpus bench_cpus=$bench_cpus"
    echo "commit: $(git rev-parse HEAD 2> /dev/null || echo none)"
    echo "kernel: $(uname -r)"
    echo "cpu: $(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1)"
    echo "memory: $(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
    echo "store on: $(df --output=source,fstype "$work" | tail -n 1)"
} | tee "$out/machine.txt"

list=()
for name in ours reference stub; do wants "$servers" $name && list+=("$name"); done
for name in "${list[@]}"; do
    [ "$name" = stub ] || start_namesrv "$name"
    start_broker "$name"
done

if wants "$tests" idle; then
    echo "== idle for $idle s"
    sleep "$idle"
    for name in "${list[@]}"; do
        [ "$name" = stub ] && continue
        record "$name" idle 0 "{\"broker RssAnon MiB\":$(rss_anon_mib "${broker_pid[$name]}"),\"name server RssAnon MiB\":$(rss_anon_mib "${namesrv_pid[$name]}")}"
    done
fi

if wants "$servers" reference; then
    echo "== the reference compiles its hot code"
    for load in '-c 1 -w 1' '-c 1 -w 64' '-c 64 -w 1' '-c 4 -w 64'; do
        # shellcheck disable=SC2086 # words are wanted
        "${mqbench[@]}" produce --broker "${broker[reference]}" $load --warmup 0 --duration "$jit" --quiet > /dev/null || true
    done
    if wants "$tests" consume; then
        "${mqbench[@]}" consume --broker "${broker[reference]}" --fill "$fill" --duration "$jit" --quiet > /dev/null || true
    fi
    if wants "$tests" transactions; then
        "${mqbench[@]}" transactions --broker "${broker[reference]}" -c 4 -w 64 --warmup 0 --duration "$jit" --quiet > /dev/null || true
    fi
    if wants "$tests" route; then
        "${mqbench[@]}" route --broker "${broker[reference]}" --namesrv "${namesrv[reference]}" -c 4 -w 16 --warmup 0 \
            --duration "$jit" --quiet > /dev/null || true
    fi
fi

for round in $(seq "$rounds"); do
    echo "== round $round of $rounds"
    if wants "$tests" send; then
        for shape in ${shapes//,/ }; do
            for name in "${list[@]}"; do
                renew "$name"
                bench "$name" "send $shape" "$round" produce --broker "${broker[$name]}" -c "${shape%x*}" -w "${shape#*x}" \
                    --body-size "$body" --warmup "$warmup" --duration "$duration" --server-pid "${broker_pid[$name]}"
                if [ "$flush$name" = SYNC_FLUSHours ]; then
                    sync_share ours $((${shape%x*} * ${shape#*x})) "$(tail -n 1 "$runs")"
                fi
            done
        done
    fi
    for name in "${list[@]}"; do
        [ "$name" = stub ] && continue
        if wants "$tests" consume; then
            renew "$name"
            bench "$name" consume "$round" consume --broker "${broker[$name]}" --body-size "$body" --fill "$fill" \
                --warmup "$warmup" --duration "$duration" --server-pid "${broker_pid[$name]}"
        fi
        if wants "$tests" e2e; then
            renew "$name"
            bench "$name" 'e2e 500/s' "$round" e2e --broker "${broker[$name]}" --body-size "$body" --rate 500 \
                --warmup "$warmup" --duration "$duration" --server-pid "${broker_pid[$name]}"
        fi
    done
    if wants "$tests" transactions; then
        for shape in 1x64 4x64; do
            for name in "${list[@]}"; do
                [ "$name" = stub ] && continue
                renew "$name"
                bench "$name" "transactions $shape" "$round" transactions --broker "${broker[$name]}" -c "${shape%x*}" \
                    -w "${shape#*x}" --body-size "$body" --warmup "$warmup" --duration "$duration" --server-pid "${broker_pid[$name]}"
            done
        done
    fi
    if wants "$tests" timers; then
        for name in "${list[@]}"; do
            [ "$name" = stub ] && continue
            renew "$name"
            bench "$name" "timers" "$round" timers --broker "${broker[$name]}" --timers "$timers" --spread "$spread" --lead "$lead" \
                --body-size "$body" --timeout 40 --server-pid "${broker_pid[$name]}"
        done
    fi
    if wants "$tests" route; then
        for shape in 1x1 4x16; do
            for name in "${list[@]}"; do
                bench "$name" "route $shape" "$round" route --broker "${broker[$name]}" --namesrv "${namesrv[$name]}" \
                    -c "${shape%x*}" -w "${shape#*x}" --warmup "$warmup" --duration "$duration" \
                    --server-pid "${namesrv_pid[$name]}"
            done
        done
    fi
    if wants "$tests" startup; then
        for name in "${list[@]}"; do
            [ "$name" = stub ] && continue
            free_port
            rm -rf "$work/$name/startup"
            # Under a name of its own, so that its end does not take the other broker's routes away.
            broker_conf "$name" "$work/$name/startup" | sed "s/^brokerName=.*/brokerName=$name-startup/" > "$work/$name.startup.conf"
            broker_command "$name" "$work/$name.startup.conf"
            line=$("${mqbench[@]}" startup --broker "127.0.0.1:$port" -- "${words[@]}" 2>> "$out/startup.log" | tail -n 1) ||
                { tail -n 20 "$out/startup.log" >&2; exit 1; }
            record "$name" startup "$round" "$line"
            rm -rf "$work/$name/startup"
        done
    fi
done

if wants "$tests" recovery; then
    for name in "${list[@]}"; do
        [ "$name" = stub ] && continue
        echo "== $name: $recover GiB, then kill -9"
        renew "$name"
        "${mqbench[@]}" produce --broker "${broker[$name]}" -c 4 -w 64 --body-size "$body" --warmup 0 \
            --count $((recover * 1073741824 / (body + 220))) --quiet > /dev/null
        du -sh --apparent-size "$work/$name/store/commitlog"
        kill -KILL "${broker_pid[$name]}"
        wait "${broker_pid[$name]}" 2> /dev/null || true
        broker_command "$name" "$work/$name.broker.conf"
        line=$("${mqbench[@]}" startup --broker "${broker[$name]}" -- "${words[@]}" 2>> "$out/recovery.log" | tail -n 1) ||
            { tail -n 20 "$out/recovery.log" >&2; exit 1; }
        record "$name" "recovery of $recover GiB" 0 "$line"
    done
fi

echo "== medians of $rounds rounds"
"$bin/mqbench" compare "$runs" --json "$out/results.json" | tee "$out/results.txt"
echo "results: $out"
