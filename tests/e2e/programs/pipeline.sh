# Proves that a shell with a pipeline of children, and the data in its pipes, goes on.
out=$1
i=0
while :; do
  i=$((i + 1))
  echo "$i"
  sleep 0.02
done | while read -r line; do echo "step $line"; done | while read -r line; do
  echo "$line" >>"$out"
done
