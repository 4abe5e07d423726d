#!/bin/sh
# The relay of the foreign meter: power.sh on|off PIDFILE
case "$1" in
    on) kill -USR2 "$(cat "$2")" ;;
    off) kill -USR1 "$(cat "$2")" ;;
    *) echo "power.sh: on or off, not $1" >&2; exit 2 ;;
esac
