# Every file of the tree with the tools people use: cat, echo, tail -f, wc, cp, grep.
source "$(dirname "$0")/lib.sh"
start one
cd "$dir/one" || exit 1
mkdir jobs/sim jobs/sim/units/second

ls -lR . >"$dir/listing" || fail "ls -lR"
for name in README status events error_log metrics wait ctl policy self.pub procs; do
  grep -q " $name\$" "$dir/listing" || fail "$name is not listed"
done
# What ls says, cat can read, and every text ends in a newline (wait would block).
find . -type f ! -name wait | while read -r file; do
  text=$(cat "$file"; echo x) || fail "cat $file"
  [[ $text == x || $text == *$'\nx' ]] || fail "$file does not end in a newline"
  if LC_ALL=C grep -qP '[^\x00-\x7f]' "$file"; then fail "$file is not ASCII"; fi
done || exit 1
[[ $(wc -c <README) == $(cat README | wc -c) ]] || fail "wc"
[[ $(stat -c %s README) == $(cat README | wc -c) ]] || fail "the size of README"
cp README "$dir/copy" && cmp README "$dir/copy" || fail "cp"
[[ $(tail -n 1 README) == $(cat README | tail -n 1) ]] || fail "tail"
grep -q "^node one\$" status || fail "grep status"

# policy: what is read can be written; only the written keys change.
before=$(cat jobs/sim/policy)
put "keep 3" jobs/sim/policy || fail "policy"
diff <(echo "$before") jobs/sim/policy | grep -q '^> keep 3' || fail "keep was not changed"
echo "interval 60" >>jobs/sim/policy || fail ">>"
grep -q "^keep 3\$" jobs/sim/policy || fail "keep went"
cat jobs/sim/policy >"$dir/policy" && cp "$dir/policy" jobs/sim/policy || fail "policy back in"
refused "Invalid argument" put "colour blue" jobs/sim/policy
cmp "$dir/policy" jobs/sim/policy || fail "a refused policy changed something"
grep -q colour jobs/sim/error_log || fail "no words"

# Bad input.
refused "Invalid argument" put nonsense jobs/sim/ctl
printf 'suspend\nresume\n' >"$dir/two-lines"  # bash writes a line at a time, cat does not
refused "Invalid argument" bash -c "cat '$dir/two-lines' >jobs/sim/ctl"
printf '%5000s\n' x >"$dir/long"
refused "File too large" bash -c "cat '$dir/long' >jobs/sim/ctl"
refused "Permission denied" put x README
refused "No such process" put 4194303 jobs/sim/units/main/procs
refused "Invalid argument" mkdir "jobs/a b"
refused "File exists" mkdir jobs/sim
refused "Operation not permitted" touch jobs/sim/file
refused "Operation not permitted" mkdir nodir
refused "Operation not permitted" rm jobs/sim/ctl
grep -q "allowed: checkpoint" jobs/sim/error_log || fail "no words"

# events: cat ends, tail -f follows.
cat events >/dev/null || fail "cat events"
tail -n 0 -f events >"$dir/followed" &
pids+=($!)
sleep 1.5
sleep 100 & program=$!
pids+=("$program")
put "$program" jobs/sim/units/main/procs || fail "attach"
put suspend jobs/sim/ctl || fail "suspend"
put resume jobs/sim/ctl || fail "resume"
wait_until grep -q "suspend" "$dir/followed"

# procs lists what was written; wait ends with the job.
[[ $(head -n 1 jobs/sim/units/main/procs) == "$program" ]] || fail "procs"
cat jobs/sim/wait >"$dir/waited" & waiter=$!
pids+=("$waiter")
sleep 0.3
if [[ -s $dir/waited ]]; then fail "wait did not"; fi
put kill jobs/sim/ctl || fail "kill"
wait "$waiter" || fail "wait"
grep -q "signal 9" "$dir/waited" || fail "the line of wait: $(cat "$dir/waited")"

rmdir jobs/sim || fail "rmdir"
if [[ -e jobs/sim ]]; then fail "the job is still there"; fi
cd /
