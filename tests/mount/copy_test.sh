# An image out of one mount and into another, by cp, rsync and tar; rm -r of versions.
source "$(dirname "$0")/lib.sh"
start one
start two
"$CKPTFS" doctor --store "$dir/one.store" | grep -q "^yes  *checkpointer criu" ||
  skip "criu does not work here"
cp "$dir/one/keys/self.pub" "$dir/two/keys/trusted/one.pub" || fail "trust"
cp "$dir/two/keys/self.pub" "$dir/one/keys/trusted/two.pub" || fail "trust"
(cd "$dir" && "$CKPTFS" run --mount "$dir/one" sim -- sleep 1000) 2>&1 |
  cat >"$dir/run" || fail "run"
grep -q "^job sim: pid [0-9]*, output in sim.out" "$dir/run" || fail "run says $(cat "$dir/run")"
pids+=("$(sed 's/.*pid \([0-9]*\).*/\1/' "$dir/run")")
for _ in 1 2 3 4; do
  put "checkpoint full" "$dir/one/jobs/sim/ctl" || fail "$(cat "$dir/one/jobs/sim/error_log")"
done
from=$dir/one/images/sim
to=$dir/two/images/sim
is_version() { [[ $(stat -c %Y "$to/$1" 2>/dev/null) == $(stat -c %Y "$from/$1") ]] &&
  ! grep -q "^incoming sim/$1 " "$dir/two/status"; }

[[ $(readlink "$from/latest") == 4 ]] || fail "latest"
mkdir "$to" || fail "mkdir"
cp -a "$from/1" "$to/" || fail "cp -a"
wait_until is_version 1
for name in manifest manifest.minisig main.img; do
  cmp "$from/1/$name" "$to/1/$name" || fail "$name differs"
done
if command -v rsync >/dev/null; then
  rsync -a "$from/2" "$to/" || fail "rsync"
else
  cp -r "$from/2" "$to/" || fail "cp -r"
fi
wait_until is_version 2
tar -C "$from" -cf - 3 | tar -C "$to" -xf - || fail "tar"
wait_until is_version 3
refused "Read-only file system" cp -a "$from" "$dir/two/images/"  # 1 to 3 are there already
wait_until is_version 4
rm -r "$to" || fail "rm -r of the folder"
cp -a "$from" "$dir/two/images/" || fail "cp -a of the whole folder"
for version in 1 2 3 4; do wait_until is_version "$version"; done
[[ $(readlink "$to/latest") == 4 ]] || fail "latest of the copy"

# A version never changes.
refused "Read-only file system" put x "$to/1/manifest"
refused "Read-only file system" touch "$to/1/new"

# A torn copy is no version, and is said.
cp -a "$from/4" "$dir/torn" && truncate -s -100 "$dir/torn/main.img" || fail "truncate"
mkdir "$to/9" && cp "$dir/torn"/* "$to/9/"
is_said() { grep -q "^incoming sim/9 " "$dir/two/status"; }
wait_until is_said
rm -r "$to/9" || fail "rm -r of an incoming image"
[[ -e $to/9 ]] && fail "it is still there"

# rm: one file only hides, the whole folder deletes.
refused "Directory not empty" rmdir "$to/3"
rm "$to/3/manifest" || fail "rm of a file"
[[ -e $to/3/manifest ]] && fail "it is not hidden"
grep -q "^store_versions 4\$" "$dir/two/status" || fail "a version is lost"
rm -r "$to/3" || fail "rm -r"
grep -q "^store_versions 3\$" "$dir/two/status" || fail "no version was deleted"
rm -r "$to" || fail "rm -r of all"
[[ -e $to ]] && fail "the folder is still there"
grep -q "^store_versions 0\$" "$dir/two/status" || fail "versions are left"
put kill "$dir/one/jobs/sim/ctl"
