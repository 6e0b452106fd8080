# Keys and tokens that root alone can read reach the service, and nobody else.
part_credentials() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -out /etc/streamgate/test.pem -keyout "$work/test.key" 2>/dev/null
    chmod 644 /etc/streamgate/test.pem
    printf 'of-root-alone' >"$work/token"
    chmod 600 "$work/test.key" "$work/token"
    configure <<-'CONF'
	[[listen]]
	address = "127.0.0.1:8443"
	tls = true
	[[tls.certificate]]
	cert = "test.pem"
	key = "${CREDENTIALS_DIRECTORY}/test.key"
	[[route]]
	path = "/*"
	respond = 204
	headers.response.set = { X-Token = { credential = "token" } }
	CONF
    if systemctl restart streamgate 2>/dev/null; then not_ok "without them it does not start"; else ok "without them it does not start"; fi
    drop_in <<-UNIT
	[Service]
	LoadCredential=test.key:$work/test.key
	LoadCredential=token:$work/token
	UNIT
    systemctl reset-failed streamgate
    expect "with them it starts" systemctl restart streamgate
    expect "the token and the key are used" grep -qi '^x-token: of-root-alone' \
        <(curl --silent --insecure --include --max-time 5 https://127.0.0.1:8443/)
    expect "no log has the token" test -z "$(said | grep of-root-alone)"
    if runuser -u nobody -- ls "/run/credentials/streamgate.service" >/dev/null 2>&1; then
        not_ok "others cannot see them"
    else
        ok "others cannot see them"
    fi
}
