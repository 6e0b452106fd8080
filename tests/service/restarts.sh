# systemd holds the port: a restart keeps clients waiting, and refuses none. Without, the same restart refuses some.
part_restarts() {
    configure <<-'CONF'
	[server]
	drain_timeout = "1s"
	[[listen]]
	address = "systemd:http"
	[[route]]
	path = "/*"
	respond = { status = 200, body = "here\n" }
	CONF
    systemctl stop streamgate
    expect "the socket unit starts" systemctl start streamgate-http.socket
    expect "the service takes its socket" systemctl start streamgate
    load "3 restarts" http://127.0.0.1/
    local round
    for round in 1 2 3; do
        expect "restart $round" systemctl restart streamgate
    done
    relieved "nobody is refused while it restarts"
}
