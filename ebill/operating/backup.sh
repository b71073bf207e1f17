# Back the store up, encrypted for those whose keys /etc/ebill/backup-recipients lists, and drop what is old.
# Needs age. RUNTIME_DIRECTORY is where the plain copy may be for a moment: in memory, readable by its owner alone.
set -eu
umask 077
ebill=${EBILL:-/opt/ebill/.venv/bin/ebill}
folder=${EBILL_BACKUPS:-/var/backups/ebill}
recipients=${EBILL_BACKUP_RECIPIENTS:-/etc/ebill/backup-recipients}
plain=$RUNTIME_DIRECTORY/plain
kept=$folder/$(date -u +%Y-%m-%dT%H%M%SZ).age
trap 'rm -f "$plain" "$kept.part"' EXIT
"$ebill" db backup "$plain"
age --encrypt --recipients-file "$recipients" --output "$kept.part" "$plain"
sync "$kept.part"
mv "$kept.part" "$kept"
find "$folder" -name '*.age' -mtime "+${EBILL_BACKUP_DAYS:-35}" -delete
echo "$kept"
