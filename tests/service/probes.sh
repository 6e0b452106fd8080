#!/bin/sh
# Tries what a service that was broken into would try, and writes to $RUNTIME_DIRECTORY/probes what came of it.
result=$RUNTIME_DIRECTORY/probes
: >"$result"
try() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1 </dev/null; then echo "$name yes"; else echo "$name no"; fi >>"$result"
}
python() { try "$1" timeout 5 python3 -c "$2"; }

try may-write-its-state touch "$STATE_DIRECTORY/probe"
try may-write-its-runtime-folder touch "$RUNTIME_DIRECTORY/probe"
try may-read-its-configuration head -c 1 /etc/streamgate/streamgate.toml
python may-bind-a-low-port 'import socket; socket.socket().bind(("127.0.0.1", 81))'

try writing-etc touch /etc/streamgate/probe
try writing-usr touch /usr/local/lib/probe
try writing-var touch /var/lib/probe
try reading-home cat /home/somebody/file
try reading-shadow head -c 1 /etc/shadow
try running-what-it-wrote sh -c 'cp /bin/true "$STATE_DIRECTORY/program" && "$STATE_DIRECTORY/program"'
try seeing-other-processes cat /proc/1/status
try becoming-root setpriv --reuid 0 true
try new-user-namespaces unshare --user true
try mounting unshare --mount true
try setuid-files sh -c 'touch "$STATE_DIRECTORY/setuid" && chmod 4755 "$STATE_DIRECTORY/setuid"'
try realtime chrt --fifo 1 true
try hostname sh -c 'hostname "$(cat /proc/sys/kernel/hostname 2>/dev/null || hostname)"'
try devices head -c 1 /dev/tty0
python tracing 'import ctypes, os, sys
child = os.fork()
if child == 0:
    sys.exit(0 if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else 1)
sys.exit(os.waitpid(child, 0)[1] != 0)'
python raw-sockets 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'
python packet-sockets 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
python netlink 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)'
python writable-and-executable-memory 'import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)'
exit 0
