# What the unit forbids is forbidden. A probe runs as ExecStartPre=, in the service's own sandbox; the same command, as the
# same user with root's capabilities outside of it, has to succeed, or the probe would say nothing.
part_confined() {
    local exposure
    exposure=$(systemd-analyze security streamgate.service | sed -n 's/.*exposure level for streamgate.service: \([0-9.]*\).*/\1/p')
    note "systemd-analyze security: $exposure"
    expect "exposure is at most 1.5" awk -v found="$exposure" 'BEGIN { exit !(found != "" && found <= 1.5) }'

    install -d -m 755 /home/somebody && echo secret >/home/somebody/file && chmod 644 /home/somebody/file
    install -m 755 probes.sh /usr/local/lib/streamgate-probes.sh
    rm -rf /run/probes-outside && mkdir /run/probes-outside
    RUNTIME_DIRECTORY=/run/probes-outside STATE_DIRECTORY=/run/probes-outside /usr/local/lib/streamgate-probes.sh
    drop_in <<-'UNIT'
	[Service]
	ExecStartPre=/usr/local/lib/streamgate-probes.sh
	UNIT
    expect "it starts with the probes before it" systemctl restart streamgate
    local name outside inside
    while read -r name outside; do
        inside=$(sed -n "s/^$name //p" /run/streamgate/probes)
        case $name in
            may-*) same "it $name" "$inside" yes ;;
            *) if [ "$outside" = yes ]; then same "no $name" "$inside" no; else skip "$name: not possible here for anybody"; fi ;;
        esac
    done </run/probes-outside/probes
    local status=/proc/$(main_pid)/status
    same "one capability, for low ports" "$(sed -n 's/^CapEff:\t*//p' "$status")" 0000000000000400
    same "no new privileges" "$(sed -n 's/^NoNewPrivs:\t*//p' "$status")" 1
    same "system calls are filtered" "$(sed -n 's/^Seccomp:\t*//p' "$status")" 2
    rm -rf /home/somebody /usr/local/lib/streamgate-probes.sh /run/probes-outside
}
