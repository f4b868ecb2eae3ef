# The mount comes up, refuses what it must, recovers, and goes, whoever waits.
source "$(dirname "$0")/lib.sh"
command -v fuser >/dev/null || true
mount_of() { "$CKPTFS" mount --store "$dir/$1.store" --name one --log-file "$dir/log" "${@:2}"; }

start one
[[ $(findmnt -no FSTYPE,SOURCE "$dir/one" | tr -s ' ') == "fuse.ckptfs $dir/one.store" ]] ||
  fail "findmnt: $(findmnt -no FSTYPE,SOURCE "$dir/one")"
mkdir "$dir/other"
refused "is in use by the ckptfs with pid" mount_of one "$dir/other"
refused "is mounted at" mount_of second "$dir/one"
refused "mkdir" mount_of second "$dir/missing"
refused "unknown option" mount_of second -o no_such_option "$dir/other"
[[ -z $(ls -A "$dir/other") ]] || fail "something was mounted"

# Killed: the mount is dead, and mounting again replaces it, jobs and all.
mkdir "$dir/one/jobs/sim"
kill -KILL "$(daemon_of one)"
wait_until no_daemon one
refused "not connected" ls "$dir/one"
mount_of one "$dir/one" || fail "no recovery"
[[ -d $dir/one/jobs/sim ]] || fail "the job is lost"
[[ $(findmnt -rno TARGET "$dir/one" | wc -l) == 1 ]] || fail "the dead mount is still there"

# umount is refused while someone waits; SIGTERM answers all who wait.
sleep 100 & program=$!
pids+=("$program")
put "$program" "$dir/one/jobs/sim/units/main/procs" || fail "attach"
waiters=()
for _ in 1 2 3; do
  cat "$dir/one/jobs/sim/wait" >/dev/null 2>&1 & waiters+=($!)
done
pids+=("${waiters[@]}")
sleep 0.5
refused "busy" umount "$dir/one"
daemon=$(daemon_of one)
kill -TERM "$daemon"
wait_until gone "$daemon"
for waiter in "${waiters[@]}"; do wait_until gone "$waiter"; done
findmnt "$dir/one" >/dev/null && fail "still mounted"
kill -0 "$program" || fail "the job ended with the mount"

# A lazy umount ends it too, and so does a plain one.
mount_of one "$dir/one" || fail "no mount"
cat "$dir/one/jobs/sim/wait" >/dev/null 2>&1 & waiter=$!
pids+=("$waiter")
sleep 0.5
umount -l "$dir/one" || fail "umount -l"
wait_until no_daemon one
wait_until gone "$waiter"
mount_of one "$dir/one" || fail "no mount"
umount "$dir/one" || fail "umount"
wait_until no_daemon one
ls /run/ckptfs.* /dev/shm/ckptfs.* 2>/dev/null | while read -r folder; do
  [[ $folder == *.$(stat -c '%d-%i' "$dir/one.store") ]] && fail "$folder was left"
done

# fsck of what is no store makes none.
refused "is no store" "$CKPTFS" fsck --store "$dir/typo"
[[ -e $dir/typo ]] && fail "fsck made a store"
mkdir "$dir/empty"
refused "is no store" "$CKPTFS" fsck --rebuild --store "$dir/empty"
[[ -z $(ls -A "$dir/empty") ]] || fail "fsck made something"
"$CKPTFS" fsck --store "$dir/one.store" | grep -q "^the store is good" || fail "fsck"

# As mount(8) and fstab call us.
ln -s "$CKPTFS" "$dir/mount.fuse.ckptfs"
"$dir/mount.fuse.ckptfs" "$dir/one.store" "$dir/one" -o rw,name=one,_netdev,nofail,noatime ||
  fail "mount.fuse.ckptfs"
grep -q "^node one\$" "$dir/one/status" || fail "status"
umount "$dir/one" || fail "umount"
wait_until no_daemon one
"$CKPTFS" "ckptfs#$dir/one.store" "$dir/one" -o allow_other || fail "ckptfs#"
grep -q allow_other /proc/self/mounts || fail "allow_other"
umount "$dir/one" || fail "umount"
