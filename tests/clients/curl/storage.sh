#!/bin/sh
# Cloud Storage and Secret Manager by curl, as an agent in a shell would call them.
#
# Usage: storage.sh read|masked|write|refused|held NAME, with the file of the agent's token in TOKEN_FILE.
set -eu
step=$1
name=$2
google() {
    curl --silent --show-error --fail-with-body -H "Authorization: Bearer $(cat "$TOKEN_FILE")" "$@"
}
storage=https://storage.googleapis.com
upload() {
    google -H 'Content-Type: text/plain' --data-binary "$2" \
        "$storage/upload/storage/v1/b/$1/o?uploadType=media&name=clients/$name.txt&fields=name,size"
}
case $step in
read) google "$storage/storage/v1/b/acme-dev-data/o/hello.txt?alt=media" ;;
masked)
    google https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access
    ;;
write) upload acme-dev-data "written by $name" ;;
refused) google -X DELETE "$storage/storage/v1/b/acme-dev-data/o/hello.txt" ;;
held) upload acme-dev-artifacts "held for $name" ;;
*) echo "no such step: $step" >&2 && exit 2 ;;
esac
