# keys/trusted by every way in which people put files: cp, tee, echo, mv.
source "$(dirname "$0")/lib.sh"
start one
start two
trusted=$dir/one/keys/trusted
key=$dir/two/keys/self.pub
trusts() { grep -q "^trusted .*$1" "$dir/one/status"; }

cp "$key" "$trusted/cp.pub" && trusts cp || fail "cp"
cmp "$key" "$trusted/cp.pub" || fail "what is written is not what is read"
tee "$trusted/tee.pub" <"$key" >/dev/null && trusts tee || fail "tee"
cat "$key" >>"$trusted/append.pub" && trusts append || fail ">>"
(while read -r line; do echo "$line"; done <"$key") >"$trusted/lines.pub" && trusts lines ||
  fail "line by line"
cp "$key" "$trusted/new" && mv "$trusted/new" "$trusted/renamed.pub" && trusts renamed ||
  fail "mv within"
cp "$key" "$dir/file" && mv "$dir/file" "$trusted/moved.pub" && trusts moved || fail "mv from outside"
cp -a "$key" "$trusted/cp.pub" || fail "cp -a over a key"
mv "$trusted/cp.pub" "$trusted/other.pub" && trusts other && ! trusts " cp" || fail "mv of a key"

refused "Invalid argument" put "no key" "$trusted/bad.pub"
refused "Invalid argument" cp /etc/hostname "$trusted/bad.pub"
refused "Invalid argument" sh -c "head -c 60 '$key' >'$dir/part'; cp '$dir/part' '$trusted/bad.pub'"
refused "Invalid argument" cp "$key" "$trusted/a b.pub"
[[ -e $trusted/bad.pub ]] && fail "a refused key stayed"
grep -q "public key" "$dir/one/error_log" || fail "no words"

for name in tee append lines renamed moved other; do
  rm "$trusted/$name.pub" && ! trusts "$name" || fail "rm $name"
done
[[ -z $(ls "$trusted") ]] || fail "left: $(ls "$trusted")"
