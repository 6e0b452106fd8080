# A crash is started again, a wrong configuration is not.
part_crashes() {
    local before
    before=$(main_pid)
    kill -ABRT "$before"
    expect "after a crash it is started again" within 10 eval '[ "$(main_pid)" != '"$before"' ] && asked'
    same "systemd has counted it" "$(systemctl show --property=NRestarts --value streamgate)" 1
    expect "the journal says what it was" grep -q 'code=.*ABRT' <(said)

    systemctl stop streamgate
    expect "it stops in order" is Result success
    echo 'nonsense = true' >>/etc/streamgate/streamgate.toml
    if systemctl start streamgate 2>/dev/null; then not_ok "it does not start"; else ok "it does not start"; fi
    expect "it has failed" within 5 is ActiveState failed
    same "with the exit code for configurations" "$(systemctl show --property=ExecMainStatus --value streamgate)" 78
    same "it is not tried again" "$(systemctl show --property=NRestarts --value streamgate)" 0
}
