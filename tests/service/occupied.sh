# A machine where the user's name is somebody's already and the port is in use: the package installs, and says what is wrong.
part_occupied() {
    apt-get purge -y -q streamgate >/dev/null 2>&1
    userdel streamgate 2>/dev/null
    useradd --create-home --shell /bin/sh streamgate
    systemd-run --quiet --unit=occupier python3 -m http.server --bind 127.0.0.1 8080
    within 10 curl --silent http://127.0.0.1:8080/
    expect "it is installed" apt-get install -y -q "$package"
    same "the package is whole" "$(dpkg-query -W -f '${db:Status-Abbrev}' streamgate)" "ii "
    expect "the service is not up" eval '! systemctl --quiet is-active streamgate'
    cursor=
    expect "the journal says why" grep -q '127.0.0.1:8080.*in use' <(said)
    systemctl stop occupier
    systemctl reset-failed streamgate 2>/dev/null
    expect "with the port free it starts" systemctl restart streamgate
    same "as that user" "$(stat -c %U "/proc/$(main_pid)")" streamgate
    expect "folders for certificates are there, for root and its group" eval '[ "$(stat -c "%U:%G %a" /etc/streamgate/certs)" = "root:streamgate 750" ]'
}
