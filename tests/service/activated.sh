# The first connection starts the service, on the ports of both socket units.
part_activated() {
    install -d -m 750 -g streamgate /etc/streamgate/certs
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -out /etc/streamgate/certs/test.pem -keyout /etc/streamgate/certs/test.key 2>/dev/null
    chgrp streamgate /etc/streamgate/certs/*
    chmod 640 /etc/streamgate/certs/*
    configure <<-'CONF'
	[[listen]]
	address = "systemd:https"
	tls = true
	[[listen]]
	address = "systemd:http"
	redirect_to_https = true
	[[tls.certificate]]
	cert = "certs/test.pem"
	key = "certs/test.key"
	[[route]]
	path = "/*"
	respond = { status = 200, body = "activated\n" }
	CONF
    systemctl stop streamgate
    expect "both sockets start" systemctl start streamgate.socket streamgate-http.socket
    expect "the service does not run yet" is ActiveState inactive
    same "the first connection is answered" "$(curl -s --max-time 20 --insecure https://127.0.0.1/)" activated
    expect "by the service" systemctl --quiet is-active streamgate
    same "the other port redirects" "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: localhost' http://127.0.0.1/)" 308
    systemctl stop streamgate.socket streamgate-http.socket streamgate

    sed -i 's/systemd:https/[::]:443/; s/systemd:http/[::]:80/' /etc/streamgate/streamgate.toml
    expect "without the units it binds low ports by itself" systemctl start streamgate
    same "and is reached there" "$(curl -s --max-time 5 --insecure https://127.0.0.1/)" activated
}
