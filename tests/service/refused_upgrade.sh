# An upgrade over a configuration that the new program refuses: what runs goes on, and the package is installed all the same.
part_refused_upgrade() {
    next_package 3
    local before begun=$SECONDS
    before=$(main_pid)
    mark
    # Not watched for the moment, so that the mistake is there at the upgrade and not told before it.
    echo 'nonsense = true' >>/etc/streamgate/streamgate.toml
    load "an upgrade that is refused" http://127.0.0.1:8080/
    expect "the next version installs" apt-get install -y -q "$next"
    note "$((SECONDS - begun)) s"
    relieved "nobody is refused meanwhile"
    same "the process that ran still does" "$(main_pid)" "$before"
    expect "the service is active" systemctl --quiet is-active streamgate
    same "the package is whole" "$(dpkg-query -W -f '${db:Status-Abbrev}' streamgate)" "ii "
    expect "the journal has the reason" grep -q 'unknown key `nonsense`' <(said)

    default_configuration
    expect "once mended it restarts" systemctl restart streamgate
    differ "with the new program" "$(main_pid)" "$before"
}
