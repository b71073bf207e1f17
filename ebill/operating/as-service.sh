#!/bin/sh
# The command `ebill` for root: run by the service's own user, with the settings of its unit and of /etc/ebill/settings.
set -eu
export EBILL_STATES=/etc/ebill/states.toml EBILL_DATABASE_URL=sqlite:////var/lib/ebill/ebill.db
# Line by line, as systemd reads it: a `&` in a database's address is no shell's.
while IFS= read -r line || [ -n "$line" ]; do
  case $line in EBILL_*=*) export "$line" ;; esac
done < /etc/ebill/settings
exec runuser --user ebill -- /opt/ebill/.venv/bin/ebill "$@"
