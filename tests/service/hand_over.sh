# SIGUSR2: a new process takes the sockets and systemd's attention; nobody is refused, and the old one drains.
part_hand_over() {
    if ! catches_usr2 "$(main_pid)"; then
        skip "hand-over: this program has none"
        return
    fi
    local before
    before=$(main_pid)
    load "a hand-over" http://127.0.0.1:8080/
    systemctl kill --kill-who=main --signal=SIGUSR2 streamgate
    expect "another process is the main one" within 60 eval '[ "$(main_pid)" != '"$before"' ] && systemctl --quiet is-active streamgate'
    expect "the old one ends" within 60 eval "! kill -0 $before"
    relieved "nobody is refused while it is handed over"
    expect "the service is active" systemctl --quiet is-active streamgate
    same "systemd has not restarted anything" "$(systemctl show --property=NRestarts --value streamgate)" 0
    before=$(main_pid)
    expect "the new one reloads" systemctl reload streamgate
    kill -ABRT "$before"
    expect "the new one is started again after a crash" within 10 eval '[ "$(main_pid)" != '"$before"' ] && asked'

    before=$(main_pid)
    systemctl kill --kill-who=main --signal=SIGUSR2 streamgate
    expect "it is handed over again" within 60 eval '[ "$(main_pid)" != '"$before"' ] && ! kill -0 '"$before"
    mark
    expect "the new one stops" systemctl stop streamgate
    expect "in order" is Result success
    expect "and says so" grep -q '"message":"stopped"' <(said)
}

catches_usr2() {
    case $(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status") in
        *[89a-f]??) true ;;
        *) false ;;
    esac
}
