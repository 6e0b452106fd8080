# A process that hangs is found by the watchdog, killed and started again; one that is well is left alone.
part_hangs() {
    same "the watchdog waits for" "$(systemctl show --property=WatchdogUSec --value streamgate)" 30s
    drop_in <<-'UNIT'
	[Service]
	WatchdogSec=3s
	UNIT
    systemctl restart streamgate
    local before
    before=$(main_pid)
    sleep 8
    same "one that is well is left alone" "$(main_pid)" "$before"
    kill -STOP "$before"
    expect "one that hangs is started again" within 20 eval '[ "$(main_pid)" != '"$before"' ] && asked'
    expect "the journal says why" grep -qi 'watchdog timeout' <(said)
}
