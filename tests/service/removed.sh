# Removed: the program goes, the configuration stays. Purged: nothing stays.
part_removed() {
    systemctl stop streamgate-backend 2>/dev/null
    fresh
    local before
    before=$(main_pid)
    echo '# mine' >>/etc/streamgate/streamgate.toml
    expect "it is removed" apt-get remove -y -q streamgate
    expect "its process has ended" eval "! kill -0 $before"
    expect "its program is gone" test ! -e /usr/bin/streamgate
    expect "its configuration is there" grep -q '^# mine' /etc/streamgate/streamgate.toml
    expect "it is installed again" apt-get install -y -q "$package"
    expect "it is enabled and runs with the old configuration" eval 'systemctl --quiet is-enabled streamgate && grep -q "^# mine" /etc/streamgate/streamgate.toml && within 5 asked'
    expect "it is purged" apt-get purge -y -q streamgate
    local path
    for path in /usr/bin/streamgate /etc/streamgate /var/lib/streamgate /run/streamgate /usr/lib/systemd/system/streamgate.service \
        /etc/systemd/system/multi-user.target.wants/streamgate.service /etc/systemd/system/streamgate.service; do
        if [ -e "$path" ] || [ -L "$path" ]; then not_ok "nothing is left: $path"; else ok "nothing is left: $path"; fi
    done
    same "systemd has forgotten it" "$(systemctl show --property=LoadState --value streamgate)" not-found
}
