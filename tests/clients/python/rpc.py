"""Secret Manager and Pub/Sub over gRPC, as an agent in Python would call them.

Usage: rpc.py read|publish|pull|write|refused|held NAME. The result goes to standard output; an error ends the
program as it ends any program, with its text on standard error.
"""

import queue
import sys

from google.cloud import pubsub_v1, secretmanager

PROJECT = "projects/acme-dev"


def main(step: str, name: str) -> None:
    if step == "publish":
        publisher = pubsub_v1.PublisherClient()
        publisher.publish(f"{PROJECT}/topics/clients", f"published by {name}".encode()).result()
        print("published")
        return
    if step == "pull":
        pull()
        return
    client = secretmanager.SecretManagerServiceClient()
    if step == "read":
        answer = client.access_secret_version(name=f"{PROJECT}/secrets/db-password/versions/latest")
        print(answer.payload.data.decode())
    elif step == "write":
        payload = {"data": f"written by {name}".encode()}
        print(client.add_secret_version(parent=f"{PROJECT}/secrets/api-token", payload=payload).name)
    elif step == "refused":
        client.delete_secret(name=f"{PROJECT}/secrets/db-password")
    elif step == "held":
        secret = {"replication": {"automatic": {}}}
        print(client.create_secret(parent=PROJECT, secret_id=f"held-for-{name}", secret=secret).name)
    else:
        sys.exit(f"no such step: {step}")


def pull() -> None:
    """Takes one message off a stream that is open both ways."""
    received = queue.Queue()
    subscriber = pubsub_v1.SubscriberClient()
    stream = subscriber.subscribe(f"{PROJECT}/subscriptions/clients", callback=received.put)
    with subscriber:
        try:
            message = received.get(timeout=30)
            message.ack_with_response().result(timeout=30)
            print(message.data.decode())
        finally:
            stream.cancel()
            stream.result(timeout=30)


main(*sys.argv[1:])
