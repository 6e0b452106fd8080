# The drop-in for systemd 253 and newer: `systemctl reload` waits for the process's own word.
part_notify_reload() {
    if [ "$systemd" -lt 253 ]; then
        skip "notify-reload: systemd $systemd does not have it"
        return
    fi
    drop_in </usr/share/doc/streamgate/notify-reload.conf
    systemctl restart streamgate
    same "the type is taken up" "$(systemctl show --property=Type --value streamgate)" notify-reload
    sed -i 's/streamgate runs/by notify-reload/' /etc/streamgate/streamgate.toml
    expect "a reload returns" timeout 20 systemctl reload streamgate
    expect "and is in force then" grep -q by-notify-reload <(asked | tr ' ' -)
    expect "the service is active again" is ActiveState active
}
