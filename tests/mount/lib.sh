# What the mount's shell tests share. Source it; then `start NAME` mounts a store of
# that name at $dir/NAME. Whatever happens, all is unmounted and removed at the end.
set -u

skip() { echo "$1"; exit 77; }
[[ -c /dev/fuse ]] || skip "there is no /dev/fuse here"
[[ $EUID == 0 ]] || skip "mounting needs root here"
[[ -x ${CKPTFS:?} ]] || skip "$CKPTFS has not been built"

dir=$(mktemp -d /var/tmp/ckptfs-mount-XXXXXX)
pids=()
names=()

clean_up() {
  local status=$? pid name
  exec 2>/dev/null  # bash would tell of each that it was killed
  for pid in "${pids[@]}"; do kill -KILL "$pid"; done
  for name in "${names[@]}"; do stop "$name"; done
  rm -rf "$dir"
  exit "$status"
}
trap clean_up EXIT

fail() { echo "FAILED (line ${BASH_LINENO[0]}): $*" >&2; exit 1; }
# Within 60 seconds.
wait_until() {
  local i
  for ((i = 0; i < 600; ++i)); do
    "$@" && return 0
    sleep 0.1
  done
  echo "FAILED (line ${BASH_LINENO[0]}): waited in vain: $*" >&2
  exit 1
}
# The daemon whose store is this test's NAME: its pid.
daemon_of() { grep -lsz "^$dir/$1.store\$" /proc/[0-9]*/cmdline | while read -r path; do
  path=${path%/cmdline}
  [[ $(tr '\0' ' ' <"$path/cmdline") == *ckptfs\ * ]] && echo "${path#/proc/}"
done; }
start() {
  mkdir -p "$dir/$1"
  names+=("$1")
  "$CKPTFS" mount --store "$dir/$1.store" --name "$1" --log-file "$dir/$1.log" "${@:2}" "$dir/$1" ||
    fail "no mount: $(cat "$dir/$1.log")"
}
stop() {
  local pid
  umount "$dir/$1" 2>/dev/null || umount -l "$dir/$1" 2>/dev/null
  for pid in $(daemon_of "$1"); do
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq 300); do [[ -d /proc/$pid ]] && sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null
  done
}
gone() { ! [[ -d /proc/$1 ]]; }
no_daemon() { [[ -z $(daemon_of "$1") ]]; }
# The command fails with these words on stderr.
refused() {
  local words=$1 output
  shift
  output=$("$@" 2>&1) && fail "$* succeeded"
  [[ $output == *"$words"* ]] || fail "$*: said '$output', not '$words'"
}
# One write(2), from a shell of its own so that its errno is said.
put() { bash -c 'printf "%s\n" "$1" > "$2"' - "$1" "$2"; }
