# Removed and installed again, with the ports in systemd's hands: what was enabled is there again, and nothing stays masked.
part_reinstalled() {
    configure <<-'CONF'
	[[listen]]
	address = "systemd:http"
	[[route]]
	path = "/*"
	respond = { status = 200, body = "mine\n" }
	CONF
    systemctl stop streamgate
    systemctl --quiet enable --now streamgate-http.socket
    expect "it runs by its socket" systemctl start streamgate
    expect "it is removed" apt-get remove -y -q streamgate
    expect "it is installed again" apt-get install -y -q "$package"
    expect "the socket is enabled still" systemctl --quiet is-enabled streamgate-http.socket
    same "the other is not masked" "$(systemctl is-enabled streamgate.socket)" disabled
    same "it answers with the configuration of before" "$(asked http://127.0.0.1/)" mine
    same "which is for root and its group" "$(stat -c '%U:%G %a' /etc/streamgate/streamgate.toml)" "root:streamgate 640"
    systemctl --quiet disable --now streamgate-http.socket
}
