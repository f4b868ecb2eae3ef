# ckptfs run JOB [--] COMMAND: what is the job's name, what is ours, what is the command's.
source "$(dirname "$0")/lib.sh"
start one
export CKPTFS_MOUNT=$dir/one
# Through a pipe: output that goes to a file would stay there.
run() { (cd "$dir" && "$CKPTFS" run "$@") 2>&1 | cat >"$dir/said"; return "${PIPESTATUS[0]}"; }
# JOB's output is these words.
prints() { [[ $(cat "$dir/$1.out" 2>/dev/null) == "$2" ]]; }
at_end() { [[ $(cat "$dir/one/jobs/$1/wait") == "$2" ]]; }

run job1 -- /bin/echo a b || fail "run: $(cat "$dir/said")"
wait_until prints job1 "a b"
at_end job1 "exit 0" || fail "job1 did not end well"
run job2 /bin/echo a b || fail "without --: $(cat "$dir/said")"
wait_until prints job2 "a b"

# The command's options are the command's, those before it ours.
run job3 echo --wait --mount /nowhere -n x -- y || fail "options: $(cat "$dir/said")"
wait_until prints job3 "--wait --mount /nowhere -n x -- y"
run job4 sleep --help || fail "sleep --help: $(cat "$dir/said")"
wait_until grep -q "^Usage: .*sleep NUMBER" "$dir/job4.out"
run --wait --mount "$dir/one" job5 sh -c 'exit 7'
[[ $? == 7 ]] || fail "--wait before JOB: $(cat "$dir/said")"
run job6 --wait "--mount=$dir/one" -- sh -c 'exit 8'
[[ $? == 8 ]] || fail "--wait after JOB: $(cat "$dir/said")"
[[ $(ls "$dir/one/jobs" | tr '\n' ' ') == "job1 job2 job3 job4 job5 job6 " ]] ||
  fail "jobs: $(ls "$dir/one/jobs")"

# Asked wrongly: exit code 2, and no job.
for words in "" "job7" "-- echo x" "job7 --" "--no-such job7 echo x" "a/b echo x" "--mount"; do
  run $words
  [[ $? == 2 ]] || fail "run $words: $(cat "$dir/said")"
done
run job1 echo again && fail "a second job1"
grep -q "there is a job job1 already" "$dir/said" || fail "said $(cat "$dir/said")"
run job7 /no/such/program
[[ $? == 127 ]] || fail "no program: $(cat "$dir/said")"
[[ -e $dir/one/jobs/job7 ]] && fail "a job was left"
"$CKPTFS" run --help | grep -q "^Usage: ckptfs run \[OPTIONS\] JOB COMMAND" || fail "--help"
