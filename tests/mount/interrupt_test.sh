# Ctrl-C in a blocked write and a blocked read; hundreds who wait, and the tree answers.
source "$(dirname "$0")/lib.sh"
start one
cd "$dir/one" || exit 1
mkdir jobs/sim
sleep 1000 & program=$!
pids+=("$program")
put "$program" jobs/sim/units/main/procs || fail "attach"

cat jobs/sim/wait >/dev/null 2>&1 & waiter=$!
sleep 0.3
kill -INT "$waiter" 2>/dev/null || kill "$waiter"
kill "$waiter" 2>/dev/null
wait_until gone "$waiter"

for _ in $(seq 500); do
  cat jobs/sim/wait >>"$dir/waited" 2>&1 & pids+=($!)
done
for _ in $(seq 50); do
  tail -n 0 -f events >>"$dir/followed" 2>/dev/null & pids+=($!)
done
all_wait() { [[ $(pgrep -fc "cat jobs/sim/wait") -ge 500 ]]; }
wait_until all_wait
for _ in $(seq 5); do
  timeout 30 ls -lR . >/dev/null || fail "ls -lR hangs"
  timeout 30 cat status jobs/sim/status >/dev/null || fail "cat status hangs"
done
timeout 30 bash -c 'echo suspend > jobs/sim/ctl; echo resume > jobs/sim/ctl' || fail "ctl hangs"
put kill jobs/sim/ctl || fail "kill"
all_know() { [[ $(grep -c "signal 9" "$dir/waited") == 500 ]]; }
wait_until all_know
cd /
