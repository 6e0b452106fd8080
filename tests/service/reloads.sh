# A reload is taken up whole or not at all, and cuts nothing.
part_reloads() {
    backend
    configure <<-'CONF'
	[[listen]]
	address = "127.0.0.1:8080"
	[upstream.demo]
	servers = ["https://127.0.0.1:9443"]
	tls = { verify = false }
	[[route]]
	path = "/clock"
	upstream = "demo"
	[[route]]
	path = "/*"
	respond = { status = 200, body = "first\n" }
	CONF
    local before
    before=$(main_pid)
    expect "a good configuration is reloaded" systemctl reload streamgate
    same "it is in force" "$(asked http://127.0.0.1:8080/)" first
    same "by the same process" "$(main_pid)" "$before"

    curl --silent --no-buffer http://127.0.0.1:8080/clock >"$work/clock" &
    local client=$!
    expect "an event stream flows" within 10 grep -q '^data:' "$work/clock"
    sed -i 's/first/second/' /etc/streamgate/streamgate.toml
    expect "a change is reloaded" systemctl reload streamgate
    same "the change is in force" "$(asked http://127.0.0.1:8080/)" second
    local seen
    seen=$(wc -l <"$work/clock")
    expect "the event stream goes on" within 10 sh -c "[ \$(wc -l <'$work/clock') -gt $seen ]"

    sed -i 's/second/third/; s/respond/respont/' /etc/streamgate/streamgate.toml
    mark
    if systemctl reload streamgate >"$work/reload" 2>&1; then not_ok "a bad one is refused"; else ok "a bad one is refused"; fi
    same "what was in force is still" "$(asked http://127.0.0.1:8080/)" second
    expect "the journal has the line and a hint" grep -q 'did you mean `respond`' <(said)
    expect "the service runs on" systemctl --quiet is-active streamgate
    expect "the event stream is still there" kill -0 "$client"
    kill "$client"
}
