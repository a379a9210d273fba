"""Cloud Storage and Secret Manager over REST, as an agent in Python would call them.

Usage: rest.py read|masked|write|refused|held NAME. The result goes to standard output; an error ends the
program as it ends any program, with its text on standard error.
"""

import sys

from google.cloud import secretmanager, storage


def main(step: str, name: str) -> None:
    if step == "masked":
        secrets = secretmanager.SecretManagerServiceClient(transport="rest")
        secret = "projects/acme-dev/secrets/db-password/versions/latest"
        answer = secrets.access_secret_version(name=secret)
        print(answer.payload.data.decode())
        return
    client = storage.Client(project="acme-dev")
    data = client.bucket("acme-dev-data")
    if step == "read":
        print(data.blob("hello.txt").download_as_text(), end="")
    elif step == "write":
        upload(data, name, f"written by {name}\n")
    elif step == "refused":
        data.blob("hello.txt").delete()
    elif step == "held":
        upload(client.bucket("acme-dev-artifacts"), name, f"held for {name}\n")
    else:
        sys.exit(f"no such step: {step}")


def upload(bucket: storage.Bucket, name: str, text: str) -> None:
    blob = bucket.blob(f"clients/{name}.txt")
    blob.upload_from_string(text)
    print(f"{blob.name} {blob.size}")


main(*sys.argv[1:])
