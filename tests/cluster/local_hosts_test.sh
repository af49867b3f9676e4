#!/usr/bin/env bash
# The hosts of cluster/netns start twice, reach each other, can be cut off and slowed down, and leave nothing behind. Needs root; otherwise ends with 77 (skipped).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
net=$root/cluster/netns/net.sh
exec 9>/tmp/dmoerm-netns.lock
flock 9
fail() { echo "FAILED: $*" && exit 1; }

code=0
"$net" up || code=$?
((code == 0)) || exit "$code"
trap '"$net" down' EXIT
"$net" up # over what is there
[[ $("$net" run h2 hostname) == h2 ]] || fail "a host does not know its name"
[[ $("$net" run h2 'echo "a  b"') == "a  b" ]] || fail "a command's quoting is lost"

# A listener on h2 that prints how much it has received from bash on h1.
scratch=$(mktemp -d)
trap '"$net" down; rm -rf "$scratch"' EXIT
cat >"$scratch/listen.py" <<'PY'
import socket
connection = socket.create_server(("", 7001)).accept()[0]
heard = 0
while data := connection.recv(1 << 16):
    heard += len(data)
    print(heard, flush=True)
PY
heard() { # heard BYTES: sent from h1 to h2 within 3 s
  "$net" run h2 "python3 $scratch/listen.py >$scratch/heard" 9>&- &
  local listener=$!
  sleep 0.5
  "$net" run h1 "timeout 3 bash -c 'head -c $1 /dev/zero >/dev/tcp/h2/7001'" 2>/dev/null || true
  "$net" kill h2
  wait "$listener" 2>/dev/null || true
}
heard 1000
[[ $(tail -n 1 "$scratch/heard") == 1000 ]] || fail "h2 does not hear h1: $(cat "$scratch/heard")"
"$net" cut h2
heard 1000
[[ ! -s $scratch/heard ]] || fail "h2 hears h1 through a cut link"
"$net" mend h2
"$net" rate 1mbit # 3 s of it are less than 400 kB; 64 kB more may wait in buckets
heard 100000000
bytes=$(tail -n 1 "$scratch/heard")
((bytes > 1000 && bytes < 1000000)) || fail "a link of 1 Mbit/s carried $bytes bytes in 3 s"

"$net" down
"$net" down # nothing is there any more
[[ -z $(ip -o link | grep -E 'dmoerm-(net|h[123])[@:]' || true) && -z $(ip netns | grep -E '^dmoerm-h[123]' || true) ]] || fail "down leaves something behind"
echo "hosts and links: all checks passed"
