# SIGUSR2: a new process takes the sockets and systemd's attention; nobody is refused, and the old one drains.
part_hand_over() {
    if ! catches_usr2 "$(main_pid)"; then
        skip "hand-over: this program has none"
        return
    fi
    local before
    before=$(main_pid)
    load "a hand-over" http://127.0.0.1:8080/
    systemctl kill --kill-who=main --signal=SIGUSR2 streamgate
    expect "another process is the main one" within 60 eval '[ "$(main_pid)" != '"$before"' ] && systemctl --quiet is-active streamgate'
    same "it is systemd's own child" "$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$(main_pid)/status")" 1
    expect "the old one ends" within 60 eval "! kill -0 $before"
    relieved "nobody is refused while it is handed over"
    expect "the service is active" systemctl --quiet is-active streamgate
    same "systemd has not restarted anything" "$(systemctl show --property=NRestarts --value streamgate)" 0
    before=$(main_pid)
    expect "the new one reloads" systemctl reload streamgate
    kill -ABRT "$before"
    expect "the new one is started again after a crash" within 10 eval '[ "$(main_pid)" != '"$before"' ] && asked'

    before=$(main_pid)
    systemctl kill --kill-who=main --signal=SIGUSR2 streamgate
    expect "it is handed over again" within 60 eval '[ "$(main_pid)" != '"$before"' ] && ! kill -0 '"$before"
    mark
    expect "the new one stops" systemctl stop streamgate
    expect "in order" is Result success
    expect "and says so" grep -q '"message":"stopped"' <(said)
    stopped_while_both_drain
}

# `systemctl stop` while the old process still drains: both finish in order, and systemd waits for both.
stopped_while_both_drain() {
    local before url=http://127.0.0.1:8080/
    endless_events
    configure <<-'CONF'
	[[listen]]
	address = "127.0.0.1:8080"
	[server]
	drain_timeout = "6s"
	[upstream.events]
	servers = ["http://127.0.0.1:9444"]
	[[route]]
	path = "/*"
	upstream = "events"
	CONF
    systemctl start streamgate
    mark
    before=$(main_pid)
    curl --silent --no-buffer --max-time 60 "$url" >"$work/old-events" & local old=$!
    expect "a stream begins" within 5 grep -q data: "$work/old-events"
    systemctl kill --kill-who=main --signal=SIGUSR2 streamgate
    expect "another process follows" within 30 eval '[ "$(main_pid)" != '"$before"' ]'
    curl --silent --no-buffer --max-time 60 "$url" >"$work/new-events" & local new=$!
    expect "which serves a stream" within 5 grep -q data: "$work/new-events"
    expect "the service stops" systemctl stop streamgate
    expect "in order" is Result success
    expect "the new one's stream was ended and not cut" wait "$new"
    expect "so was the old one's" wait "$old"
    same "each was told when to come back" "$(grep -l '^retry:' "$work/old-events" "$work/new-events" | wc -l)" 2
    same "both processes came to their end" "$(said | grep -c '"message":"stopped"')" 2
    expect "systemd knew whose child the main process is" eval "! said | grep -q 'not our child'"
    systemctl stop streamgate-events
}

# A server whose responses are event streams without an end.
endless_events() {
    cat >"$work/events.py" <<-'PYTHON'
	import http.server, time
	class Events(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        self.send_response(200)
	        self.send_header("Content-Type", "text/event-stream")
	        self.end_headers()
	        while True:
	            self.wfile.write(b"data: now\n\n")
	            time.sleep(0.2)
	http.server.ThreadingHTTPServer(("127.0.0.1", 9444), Events).serve_forever()
	PYTHON
    systemd-run --quiet --unit=streamgate-events python3 "$work/events.py"
    within 10 eval 'exec 3<>/dev/tcp/127.0.0.1/9444'
}

catches_usr2() {
    case $(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status") in
        *[89a-f]??) true ;;
        *) false ;;
    esac
}
