# Sourced by the other scripts, after `cd` to the repository's root.
# shellcheck shell=bash

# Where rustup puts cargo, for shells that have not read its profile yet.
export PATH="$PATH:$HOME/.cargo/bin"

# What a script starts on this machine is asked directly, whatever proxy the machine has.
: "${no_proxy:=${NO_PROXY:-}}"
export no_proxy="127.0.0.1,localhost,::1${no_proxy:+,$no_proxy}"
export NO_PROXY=$no_proxy

judged=target/release/judged

say() {
    if [[ -t 2 ]]; then
        printf '\033[1m==> %s\033[0m\n' "$*" >&2
    else
        printf '==> %s\n' "$*" >&2
    fi
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# stage NAME COMMAND…: runs the command and says how long it took.
stage() {
    local name=$1 started=$SECONDS
    shift
    say "$name"
    "$@" || die "$name failed after $((SECONDS - started)) s"
    say "$name: done in $((SECONDS - started)) s"
}

# start_daemon EXECUTABLE LOG [ARGUMENT…]: starts `judged serve` and waits until
# it listens, be it without a model. Sets daemon, judge_addr and control_addr; the
# daemon is stopped when the script ends.
start_daemon() {
    local executable=$1 addresses end=$((SECONDS + 30))
    daemon_log=$2
    shift 2
    # An older one would tell older addresses.
    : >"$daemon_log"
    # In a session of its own: Ctrl-C reaches this script, which asks the daemon.
    setsid "$executable" serve --log info --log-format text "$@" 2>"$daemon_log" &
    daemon=$!
    trap stop_daemon EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    until addresses=$(grep -m1 -o 'judge_addr=.*' "$daemon_log"); do
        if ! kill -0 "$daemon" 2>/dev/null || ((SECONDS > end)); then
            cat "$daemon_log" >&2
            die "the daemon did not start"
        fi
        sleep 0.1
    done
    [[ $addresses =~ judge_addr=([^ ]+)\ control_addr=([^ ]+) ]]
    judge_addr=${BASH_REMATCH[1]}
    control_addr=${BASH_REMATCH[2]}
}

# await_model EXECUTABLE: until the daemon judges by its model.
await_model() {
    "$1" status --addr "$control_addr" --wait 600 >/dev/null || {
        cat "$daemon_log" >&2
        die "the daemon cannot judge by the model"
    }
}

# Gives the daemon's exit code.
stop_daemon() {
    [[ -n ${daemon:-} ]] || return 0
    local pid=$daemon
    daemon=
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid"
}
