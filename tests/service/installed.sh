# Installed, enabled, running, and harmless.
part_installed() {
    expect "the package installs" apt-get install -y -q "$package"
    expect "the service is enabled" systemctl --quiet is-enabled streamgate
    expect "the service runs" within 5 systemctl --quiet is-active streamgate
    cp /etc/streamgate/streamgate.toml "$work/conffile"
    expect "it answers on loopback" asked http://127.0.0.1:8080/
    same "it listens nowhere else" "$(ss -Hltnp | grep streamgate | awk '{print $4}' | sort -u | paste -sd' ')" 127.0.0.1:8080
    same "its configuration is for root and its group" "$(stat -c '%U:%G %a' /etc/streamgate/streamgate.toml)" "root:streamgate 640"
    same "its process has a user of its own" "$(stat -c %U "/proc/$(main_pid)")" streamgate
    same "its status is told" "$(systemctl show --property=StatusText --value streamgate)" serving
    expect "no socket unit is enabled" test "$(systemctl is-enabled streamgate.socket streamgate-http.socket | sort -u)" = disabled
    expect "the units are in order" silent systemd-analyze verify --man=no streamgate.service streamgate.socket streamgate-http.socket
    expect "the configuration passes for its own user" runuser -u streamgate -- streamgate check /etc/streamgate/streamgate.toml
}

silent() { local said; said=$("$@" 2>&1) && [ -z "$said" ] || { echo "$said"; false; }; }
