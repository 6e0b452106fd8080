# An upgrade runs the new program, by hand-over where the old one can, and leaves alone what somebody has switched off.
part_upgrade() {
    next_package 1
    local before handed_over=
    before=$(main_pid)
    catches_usr2 "$before" && handed_over=yes
    echo '# mine' >>/etc/streamgate/streamgate.toml
    [ -z "$handed_over" ] || load "an upgrade" http://127.0.0.1:8080/
    expect "the next version installs" apt-get install -y -q "$next"
    [ -z "$handed_over" ] || relieved "nobody is refused while it is upgraded"
    expect "the service runs" within 5 systemctl --quiet is-active streamgate
    differ "another process does" "$(main_pid)" "$before"
    same "and it is the new program" "$(readlink "/proc/$(main_pid)/exe")" /usr/bin/streamgate
    expect "the configuration is still the administrator's" grep -q '^# mine' /etc/streamgate/streamgate.toml
    default_configuration

    systemctl stop streamgate
    systemctl --quiet disable streamgate
    next_package 2
    expect "a version after that installs" apt-get install -y -q "$next"
    expect "what was stopped stays so" is ActiveState inactive
    same "what was disabled stays so" "$(systemctl is-enabled streamgate)" disabled
    systemctl --quiet enable streamgate
    systemctl start streamgate
}

# The same package again, with a higher version and another program file.
next_package() {
    local tree=$work/next.$1
    rm -rf "$tree"
    dpkg-deb -R "$package" "$tree"
    sed -i "s/^Version: .*/&+$1/" "$tree/DEBIAN/control"
    next=$work/streamgate_next_$1.deb
    dpkg-deb -Znone --build "$tree" "$next" >/dev/null
    rm -rf "$tree"
}
