#!/bin/sh
# gate-io.sh up | set LINE 0|1 | see LINE | go COUNTS | watch: the gate's board of the boot test, lines of the kernel's simulated GPIO chips. No box has this.
set -eu

lines=$(echo /sys/devices/platform/gpio-sim.0/gpiochip*)
# What the shell does itself: every program that it starts takes its time under emulation.
set_line() { if [ "$2" = 1 ]; then echo pull-up; else echo pull-down; fi >"$lines/sim_gpio$1/pull"; }
see() { read -r level 2>/dev/null <"$lines/sim_gpio$1/value" || level=gone; }

case $1 in
    up)
        modprobe configfs
        mountpoint -q /sys/kernel/config || mount -t configfs config /sys/kernel/config
        insmod /usr/local/lib/gpio-sim.ko
        mkdir -p /sys/kernel/config/gpio-sim/gate/bank
        echo 8 >/sys/kernel/config/gpio-sim/gate/bank/num_lines
        echo 1 >/sys/kernel/config/gpio-sim/gate/live
        udevadm settle
        echo 0 >/run/belt
        ;;
    set) set_line "$2" "$3" ;;
    see) see "$2" && echo "$level" ;;
    go)
        # The belt goes forward, count by count and no faster than top_speed_mm_s; prints how often the gate was open.
        at=$(cat /run/belt) end=$(($(cat /run/belt) + $2)) open=0
        while [ "$at" -lt "$end" ]; do
            case $((at % 4)) in 0) set_line 0 1 ;; 1) set_line 1 1 ;; 2) set_line 0 0 ;; 3) set_line 1 0 ;; esac
            at=$((at + 1))
            sleep 0.1
            see 4
            if [ "$level" = 1 ]; then open=$((open + 1)); fi
        done
        echo "$at" >/run/belt
        echo "$open"
        ;;
    watch)
        # Until something removes it, notes whether the gate was open.
        : >/run/gate.watched
        while [ -e /run/gate.watched ]; do
            # Another chip may be there than when this began.
            lines=$(echo /sys/devices/platform/gpio-sim.0/gpiochip*)
            see 4
            if [ "$level" = 1 ]; then echo open >>/run/gate.watched; fi
            sleep 0.2
        done
        ;;
esac
