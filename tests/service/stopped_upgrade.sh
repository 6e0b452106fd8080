# An upgrade leaves alone what has failed or is masked, and a downgrade is an upgrade to another version.
part_stopped_upgrade() {
    systemctl stop streamgate
    echo 'nonsense = true' >>/etc/streamgate/streamgate.toml
    systemctl start streamgate 2>/dev/null
    expect "it has failed" within 5 is ActiveState failed
    next_package 4
    expect "a version installs over it" apt-get install -y -q "$next"
    same "the package is whole" "$(dpkg-query -W -f '${db:Status-Abbrev}' streamgate)" "ii "
    default_configuration
    systemctl reset-failed streamgate
    expect "once mended it starts" systemctl start streamgate

    systemctl stop streamgate
    systemctl --quiet mask streamgate
    next_package 5
    expect "a version installs over a masked one" apt-get install -y -q "$next"
    same "what was masked stays so" "$(systemctl is-enabled streamgate)" masked
    expect "and does not run" is ActiveState inactive
    systemctl --quiet unmask streamgate
    systemctl start streamgate

    local before
    before=$(main_pid)
    load "a downgrade" http://127.0.0.1:8080/
    expect "the version of before installs" apt-get install -y -q --allow-downgrades "$package"
    relieved "nobody is refused while it is downgraded"
    differ "another process runs" "$(main_pid)" "$before"
    expect "the service is active" systemctl --quiet is-active streamgate
}
